"""Packed functions, remembered as long as they are what they were.

Pickling a function by value costs a tenth of a millisecond, and a loop submits the same one
thousands of times. It is packed again when anything it refers to has changed: its closure, its
defaults, a global it names. Where that cannot be told cheaply (it refers to a mutable object), it is
packed each time: a stale function would be worse than a slow one.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator
from typing import Any

from ..protocol import functions
from ..protocol.functions import Packed

#: What these hold cannot change under the same identity.
_CONSTANT = (
    int, float, complex, bool, str, bytes, type(None), type, types.ModuleType,
    types.BuiltinFunctionType,
)  # fmt: skip

#: Functions remembered; beyond it the oldest are forgotten.
KEPT_MAX = 256


class Packer:
    """Packs functions for one client."""

    def __init__(self) -> None:
        self._kept: dict[Any, tuple[Packed, tuple[Any, ...] | None]] = {}

    def pack(self, function: Callable[..., Any]) -> Packed:
        """`function`, packed; see `functions.pack`."""
        try:
            kept = self._kept.get(function)
        except TypeError:  # not hashable: a callable object with __eq__
            return functions.pack(function)
        if kept is not None:
            packed, seen = kept
            if seen is None or _same(seen, _refers_to(function)):
                return packed
        packed = functions.pack(function)
        if packed.by_name:
            self._keep(function, packed, None)
        else:
            refers = _refers_to(function)
            if refers is not None:
                self._keep(function, packed, refers)
        return packed

    def _keep(self, function: Any, packed: Packed, refers: tuple[Any, ...] | None) -> None:
        self._kept[function] = (packed, refers)
        if len(self._kept) > KEPT_MAX:
            del self._kept[next(iter(self._kept))]


def _same(seen: tuple[Any, ...], now: tuple[Any, ...] | None) -> bool:
    return (
        now is not None
        and len(seen) == len(now)
        and all(a is b for a, b in zip(seen, now, strict=True))
    )


def _refers_to(function: Any) -> tuple[Any, ...] | None:
    """Everything that `function` would take along, if none of it can change in place."""
    found: list[Any] = []
    waiting = [function]
    seen: set[int] = set()
    while waiting:
        each = waiting.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        found.append(each)
        if isinstance(each, _CONSTANT):
            continue
        if not isinstance(each, types.FunctionType) or each.__dict__:
            return None
        found.append(each.__code__)
        if not functions.is_installed(each.__module__):
            waiting += _parts(each)
    return tuple(found)


def _parts(function: types.FunctionType) -> Iterator[Any]:
    yield from function.__defaults__ or ()
    yield from (function.__kwdefaults__ or {}).values()
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:
            yield None  # not assigned yet
    namespace = function.__globals__
    for code in functions.codes(function.__code__):
        for name in code.co_names:
            if name in namespace:
                yield namespace[name]
