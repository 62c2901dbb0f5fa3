"""Packed functions, remembered as long as they are what they were.

Pickling a function by value costs a tenth of a millisecond, and a loop submits the same one
thousands of times. It is packed again when anything it refers to has changed: its closure, its
defaults, a global it names. Where that cannot be told cheaply (it refers to a mutable object), it
is packed each time: a stale function would be worse than a slow one.
"""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

from ..protocol import functions
from ..protocol.functions import Packed
from .task import ATTRIBUTE

#: What these hold cannot change under the same identity.
_CONSTANT = (
    int, float, complex, bool, str, bytes, type(None), type, types.BuiltinFunctionType,
)  # fmt: skip

#: Functions remembered; beyond it the oldest are forgotten.
KEPT_MAX = 256


_MISSING = object()


class Snapshot:
    """Everything a function by value would take along, and how to see that it is unchanged."""

    __slots__ = ("cells", "functions", "names")

    def __init__(self) -> None:
        self.functions: list[tuple[Any, Any, Any, Any]] = []  # with code, defaults, kwdefaults
        self.names: list[tuple[dict[str, Any], str, Any]] = []  # namespace, name, value
        self.cells: list[tuple[Any, Any]] = []  # cell, content

    def holds(self) -> bool:
        """Whether all is as it was."""
        for function, code, defaults, keywords in self.functions:
            if (
                function.__code__ is not code
                or function.__defaults__ is not defaults
                or function.__kwdefaults__ != keywords
            ):
                return False
        for namespace, name, value in self.names:
            if namespace.get(name, _MISSING) is not value:
                return False
        return all(_content(cell) is value for cell, value in self.cells)


class Packer:
    """Packs functions for one client."""

    def __init__(self) -> None:
        self._kept: dict[Any, tuple[Packed, Snapshot | None]] = {}

    def pack(self, function: Callable[..., Any]) -> Packed:
        """`function`, packed; see `functions.pack`."""
        try:
            kept = self._kept.get(function)
        except TypeError:  # not hashable: a callable object with __eq__
            return functions.pack(function)
        if kept is not None and (kept[1] is None or kept[1].holds()):
            return kept[0]
        packed = functions.pack(function)
        snapshot = None if packed.by_name else _snapshot(function)
        if packed.by_name or snapshot is not None:
            self._kept[function] = (packed, snapshot)
            if len(self._kept) > KEPT_MAX:
                del self._kept[next(iter(self._kept))]
        return packed


def _snapshot(function: Any) -> Snapshot | None:
    """The snapshot of `function`, or None if it refers to what can change in place."""
    snapshot = Snapshot()
    waiting = [function]
    seen: set[int] = set()
    while waiting:
        each = waiting.pop()
        if id(each) in seen or isinstance(each, _CONSTANT):
            continue
        seen.add(id(each))
        if not isinstance(each, types.FunctionType) or set(each.__dict__) - {ATTRIBUTE}:
            return None
        keywords = each.__kwdefaults__
        snapshot.functions.append(
            (each, each.__code__, each.__defaults__, None if keywords is None else dict(keywords))
        )
        waiting += [*(each.__defaults__ or ()), *(keywords or {}).values()]
        for cell in each.__closure__ or ():
            content = _content(cell)
            snapshot.cells.append((cell, content))
            if content is not _MISSING:
                waiting.append(content)
        if functions.is_installed(each.__module__):
            continue
        for code in functions.codes(each.__code__):
            for name in code.co_names:
                value = each.__globals__.get(name, _MISSING)
                snapshot.names.append((each.__globals__, name, value))
                if value is not _MISSING:
                    waiting.append(value)
    return snapshot


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return _MISSING  # not assigned yet
