"""Shapes: what the fields of messages may hold, checked before anything else sees them.

Columns are checked as a whole (a set of types, a minimum), since a message may hold thousands.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..task import Kind

#: Counters and leases end here: they are eight bytes in a store's keys, and spans add to them.
NUMBER_MAX = 2**63 - 1

#: Maps nest no deeper: what is recorded or told on has to pack again.
DEPTH_MAX = 8

#: The types that a column may hold.
_INTS, _BLOBS = frozenset({int}), frozenset({bytes, memoryview})

_KINDS = bytes(Kind)

Check = Callable[[Any], bool]


def is_int(value: Any) -> bool:
    """A number that fits 64 bits."""
    return type(value) is int and 0 <= value <= NUMBER_MAX


def is_small(value: Any) -> bool:
    """A number that fits 31 bits."""
    return type(value) is int and 0 <= value < 2**31


def is_seconds(value: Any) -> bool:
    """A time that is left, perhaps without end."""
    return type(value) in (int, float) and value >= 0


def is_text(value: Any) -> bool:
    """A text of reasonable length."""
    return type(value) is str and len(value) <= 4096


def is_bytes(value: Any) -> bool:
    """A few bytes, perhaps none."""
    return type(value) is bytes and len(value) <= 64


def is_digest(value: Any) -> bool:
    """A digest: what stores and memory have things by. None of it is no key."""
    return type(value) is bytes and 0 < len(value) <= 64


def is_map(value: Any) -> bool:
    """A map."""
    return type(value) is dict and (not value or is_plain(value, DEPTH_MAX))


def is_plain(value: Any, depth: int) -> bool:
    """Plain data, nested at most so deep."""
    kind = type(value)
    if kind is dict:
        return depth > 0 and all(
            type(name) is str and is_plain(item, depth - 1) for name, item in value.items()
        )
    if kind is list:
        return depth > 0 and all(is_plain(item, depth - 1) for item in value)
    return kind in (str, int, float, bool, bytes, type(None))


def is_about(value: Any) -> bool:
    """What a worker says of itself: the router counts with some of it."""
    return (
        is_map(value)
        and is_small(value.get("slots", 0))
        and is_small(value.get("window", 0))
        and is_dicts(value.get("running", []))
        and type(value.get("versions", {})) is dict
        and all(map(is_text, value.get("versions", {}).values()))
        and is_seconds(value.get("clock_s", 0))
        and value.get("clock_s", 0) < NUMBER_MAX
        and is_ints(value.get("descriptors", []))
        and is_amounts(value.get("resources", {}))
        and maybe(is_seconds)(value.get("ends_s"))
    )


def is_amounts(value: Any) -> bool:
    """Amounts by name."""
    return type(value) is dict and all(map(is_int, value.values()))


def is_dicts(value: Any) -> bool:
    """A list of maps."""
    return type(value) is list and set(map(type, value)) <= {dict}


def is_any(value: Any) -> bool:
    """Anything."""
    return True


def is_blob(value: Any) -> bool:
    """Opaque bytes."""
    return isinstance(value, (bytes, memoryview))


def is_ints(value: Any) -> bool:
    """A column of numbers."""
    return (
        type(value) is list
        and _INTS.issuperset(map(type, value))
        and (not value or 0 <= min(value) <= max(value) <= NUMBER_MAX)
    )


def is_blobs(value: Any) -> bool:
    """A column of opaque bytes."""
    return type(value) is list and _BLOBS.issuperset(map(type, value))


def is_kinds(value: Any) -> bool:
    """A column of kinds, a byte each."""
    return type(value) is bytes and not value.strip(_KINDS)


def is_session(value: Any) -> bool:
    """The eight characters of a client's session."""
    return type(value) is str and len(value) == 8 and value.isascii()


def rows(*checks: Check) -> Check:
    """A check for lists of rows with these columns."""
    columns = len(checks)

    def check(value: Any) -> bool:
        if type(value) is not list:
            return False
        for row in value:
            if type(row) is not list or len(row) != columns:
                return False
            for good, cell in zip(checks, row):  # they are as many
                if not good(cell):
                    return False
        return True

    return check


def maybe(check: Check) -> Check:
    """A check for nil, or what `check` takes."""
    return lambda value: value is None or check(value)


def is_texts(value: Any) -> bool:
    """A list of texts."""
    return type(value) is list and all(map(is_text, value))


def is_dialled(value: Any) -> bool:
    """What came of each address: seconds, or why not."""
    return type(value) is dict and all(
        is_text(address) and (is_text(came) or is_seconds(came)) for address, came in value.items()
    )


def is_names(value: Any) -> bool:
    """A column of aliases, or nil."""
    return type(value) is list and all(
        type(name) is str and 0 < len(name) <= 256 or name is None for name in value
    )
