"""Packed functions, remembered as long as they are what they were.

Pickling a function by value costs a tenth of a millisecond, and a loop submits the same one
thousands of times. It is packed again when anything it refers to has changed: its closure, its
defaults, a global it names. Where that cannot be told cheaply (it refers to a mutable object), it
is packed each time: a stale function would be worse than a slow one.
"""

from __future__ import annotations

import os
import time
import types
from collections.abc import Callable
from typing import Any

from ..protocol import functions
from ..protocol.functions import Packed
from ..protocol.parcel import Initializer, state_of
from .command import Command
from .stale import Stale
from .task import ATTRIBUTE

#: What these hold cannot change under the same identity.
_CONSTANT = (
    int, float, complex, bool, str, bytes, type(None), type, types.BuiltinFunctionType, Command,
)  # fmt: skip

#: Functions remembered; beyond it the oldest are forgotten.
KEPT_MAX = 256


_MISSING = object()


class Snapshot:
    """Everything a function by value would take along, and how to see that it is unchanged."""

    __slots__ = ("cells", "files", "functions", "names")

    def __init__(self) -> None:
        self.functions: list[tuple[Any, Any, Any, Any]] = []  # with code, defaults, kwdefaults
        self.names: list[tuple[dict[str, Any], str, Any]] = []  # namespace, name, value
        self.cells: list[tuple[Any, Any]] = []  # cell, content
        self.files: list[tuple[str, Any]] = []  # path, state

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
        if any(state_of(path) != state for path, state in self.files):
            return False
        return all(_content(cell) is value for cell, value in self.cells)


class Packer:
    """Packs functions for one client, with their modules unless it is told not to, and with its
    initializer. `warn` takes a line that the user should see."""

    def __init__(
        self,
        warn: Callable[[str], None],
        initializer: Initializer | None = None,
        *,
        with_modules: bool = True,
    ) -> None:
        self._initializer = initializer
        self.with_modules = with_modules
        self._kept: dict[Any, tuple[Packed, Snapshot | None]] = {}
        self._placed: dict[tuple[bytes, str], Packed] = {}
        self._stale = Stale(warn)

    def pack(self, function: Callable[..., Any]) -> Packed:
        """`function`, packed in the folder where this process is; see `functions.pack`."""
        packed = self._packed(function)
        if not packed.by_name:
            self._stale.look(time.monotonic())
        home = _here()
        placed = self._placed.get((packed.digest, home))
        if placed is None:
            if len(self._placed) >= KEPT_MAX:
                del self._placed[next(iter(self._placed))]
            placed = self._placed[packed.digest, home] = packed.at(home, self._initializer)
        return placed

    def _packed(self, function: Callable[..., Any]) -> Packed:
        """`function`, packed nowhere."""
        try:
            kept = self._kept.get(function)
        except TypeError:  # not hashable: a callable object with __eq__
            return self._new(function)
        if kept is not None and (kept[1] is None or kept[1].holds()):
            return kept[0]
        packed = self._new(function)
        snapshot = None if packed.by_name else _snapshot(function)
        if packed.by_name or snapshot is not None:
            if snapshot is not None:
                files = [each.path for each in packed.parcel.sources.values()]
                snapshot.files = [(path, state_of(path)) for path in files]
            self._kept[function] = (packed, snapshot)
            if len(self._kept) > KEPT_MAX:
                del self._kept[next(iter(self._kept))]
        return packed

    def _new(self, function: Callable[..., Any]) -> Packed:
        packed = functions.pack(function, with_modules=self.with_modules)
        self._stale.know(packed.modules)
        return packed


def _here() -> str:
    """The folder where this process is; "" if that is gone."""
    try:
        return os.getcwd()
    except OSError:
        return ""


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
        if functions.is_installed(each.__module__ or ""):
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
