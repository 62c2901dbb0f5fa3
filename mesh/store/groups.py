"""Groups: their records, and the names that users gave them.

    group     group id                        → size, name, members that are older tasks, in runs of
                                                [index, session, first counter, count]
    named     digest of a name + group id     → a number that is larger the later it was given; of
                                                names from before there were such, nothing

Of a group that was submitted its older members are in `foreign`, as of all tasks; its record has
them where one group was made of another (see `core/roll.py`).
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

from ..task import key, unkey
from .rows import TEXT_ERRORS, pack, unpack
from .tables import Transaction

_DIGEST_BYTES = 16


def write(
    txn: Transaction,
    group: bytes,
    size: int,
    name: str | None,
    older: list[list[Any]] | None = None,
    old: bytes | None = None,
) -> None:
    """Record a group; `older` members are added to those that it has. The name of the `old` one in
    whose place it is goes over to it."""
    rows = {row[0]: row for row in [*_older(txn.get("group", group)), *(older or ())]}
    txn.put("group", group, pack([size, name, list(rows.values())]))
    txn.put("meta", b"last", group)
    if name is not None:
        if old is not None:
            txn.delete("named", _digest(name) + old)
        _give(txn, _digest(name) + group)


def _give(txn: Transaction, entry: bytes) -> None:
    """A group has a name. Told once more, it has it no later."""
    if txn.get("named", entry) is None:
        last = txn.get("meta", b"named")
        number = pack(1 if last is None else unpack(last) + 1)
        txn.put("meta", b"named", number)
        txn.put("named", entry, number)


def forget(txn: Transaction, group: bytes) -> None:
    """A group is no more."""
    raw = txn.get("group", group)
    name = None if raw is None else unpack(raw)[1]
    if name is not None:
        txn.delete("named", _digest(name) + group)
    txn.delete("group", group)


def name_all(txn: Transaction) -> None:
    """Names are found by: those of a store that did not know that yet."""
    for group, raw in list(txn.scan("group")):
        name = unpack(raw)[1]
        if name is not None:
            txn.put("named", _digest(name) + group, b"")


def named(txn: Transaction, name: str) -> tuple[str, int] | None:
    """The group that was given that name last."""
    prefix = _digest(name)
    given = txn.scan("named", prefix, prefix + b"\xff" * 16)
    newest = max(((unpack(raw) if raw else 0, entry) for entry, raw in given), default=None)
    return None if newest is None else unkey(newest[1][_DIGEST_BYTES:])


def group(txn: Transaction, group: bytes) -> dict[str, Any] | None:
    """A group's record: its size, its name, and its members that are older tasks."""
    raw = txn.get("group", group)
    if raw is None:
        return None
    size, name = unpack(raw)[:2]
    session, counter = unkey(group)
    first = counter + 1  # members follow their group's own id
    members = txn.scan("foreign", key(session, first), key(session, first + size))
    foreign: list[list[Any]] = []
    for member, task in members:  # in runs: a sweep that is found again is a single one
        i, (session, counter) = unkey(member)[1] - first, unkey(task)
        if foreign:
            run = foreign[-1]
            if [i, session, counter] == [run[0] + run[3], run[1], run[2] + run[3]]:
                run[3] += 1
                continue
        foreign.append([i, session, counter, 1])
    return {"size": size, "name": name, "foreign": sorted([*foreign, *_older(raw)])}


def _older(raw: bytes | None) -> list[list[Any]]:
    row = [] if raw is None else unpack(raw)
    return row[2] if len(row) > 2 else []


def _digest(name: str) -> bytes:
    return blake2b(name.encode("utf-8", TEXT_ERRORS), digest_size=_DIGEST_BYTES).digest()
