"""Initializers: what a mesh has run once in each process, before the first of its tasks there.

One comes with every function of its mesh, and is known by its digest. What it has left counts for
all functions of that mesh which come later: a function by value has globals of its own, so what the
initializer has set there, or may have changed in place, is put into those of the same module; and a
class that came with it stays as it is.

It runs as part of the task that came first, and threads that come meanwhile wait. What it has
raised is told each task of that mesh that comes after another: thousands may be in line, and a new
process takes longer than it takes to tell them all. When none comes any more, or one that is run
again, the process makes room for another, which begins anew: by then a file may be there that was
not.
"""

from __future__ import annotations

import select
import socket
import threading
import types
from typing import TYPE_CHECKING, Any

from ..protocol import functions
from ..protocol.context import Context
from ..protocol.parcel import Initializer
from . import failing

if TYPE_CHECKING:
    from .slot import Slot

#: A name that has one of these before and after was not touched: what comes counts.
_FIXED = (
    int, float, complex, bool, str, bytes, tuple, frozenset, type(None), type,
    types.FunctionType, types.BuiltinFunctionType, types.ModuleType,
)  # fmt: skip

_MISSING = object()

#: When nothing has come for so long there is no line: the next packet takes a fraction of it.
LINE_S = 0.5


class Run:
    """One initializer in this process: a `World`, of which its mesh's functions are. `error` is
    what it has raised."""

    def __init__(self) -> None:
        self.error: BaseException | None = None
        self.has_ended = False
        self._is_loading = True
        self._came: list[dict[str, Any]] = []  # the namespaces of itself
        self._classes: set[type] = set()
        self._left: dict[Any, dict[str, Any]] = {}  # module → what its names are by now

    def run(self, initializer: Initializer, slot: Slot) -> None:
        """Run it as part of what `slot` runs.

        Raises:
            BaseException: whatever it raises.
        """
        function = functions.load(initializer.call)
        self._is_loading = False
        before = [dict(names) for names in self._came]
        slot.call(function, (), {})
        for names, had in zip(self._came, before, strict=True):
            left = self._left.setdefault(names.get("__name__"), {})
            for name, value in names.items():
                is_same = had.get(name, _MISSING) is value
                if name != "__builtins__" and not (is_same and isinstance(value, _FIXED)):
                    left[name] = value

    def fills(self, made: type) -> bool:
        """See `World.fills`."""
        if self._is_loading:
            self._classes.add(made)
        return self._is_loading or made not in self._classes

    def complete(self, names: dict[str, Any]) -> None:
        """See `World.complete`."""
        if not self._is_loading:
            names.update(self._left.get(names.get("__name__"), {}))
        elif not any(names is each for each in self._came):
            self._came.append(names)


class Initializers:
    """Those of one process."""

    def __init__(self) -> None:
        self._has_failed = False
        self._changed = threading.Condition()
        self._runs: dict[bytes, Run] = {}

    def world(self, initializer: Initializer) -> Run | None:
        """What is known of it, if it has begun."""
        return self._runs.get(initializer.digest)

    def run(self, initializer: Initializer, slot: Slot) -> BaseException | None:
        """See that it has run in this process; what the task of `slot` fails with, or None."""
        digest = initializer.digest
        with self._changed:
            self._changed.wait_for(lambda: slot.is_struck() or self._is_free(digest))
            if slot.is_struck():
                return KeyboardInterrupt()
            known = self._runs.get(digest)
            run = known or self._runs.setdefault(digest, Run())
        if known is None:
            try:
                run.run(initializer, slot)
            except BaseException as error:
                if isinstance(error, KeyboardInterrupt) or slot.is_struck():
                    self._end(digest, None)  # it was the task that was interrupted
                    return error
                run.error, self._has_failed = error, True
            self._end(digest, run)
        return None if run.error is None else failing.by_initializer(run.error)

    def why_not(self, initializer: Initializer | None, told: Context) -> str | None:
        """Why tasks cannot run in this process, by what they are told; or None."""
        if initializer is None or not told.attempts:
            return None
        run = self._runs.get(initializer.digest)
        if run is None or run.error is None:
            return None
        return "its initializer has failed, and a task is run again"

    def should_leave(self, pair: socket.socket) -> bool:
        """Whether another process should have this place, since one has failed and nothing more
        comes on `pair`."""
        if not self._has_failed:
            return False
        line = select.poll()
        line.register(pair, select.POLLIN)
        return not line.poll(LINE_S * 1000)

    def wake(self) -> None:
        """A task that waits may be struck."""
        with self._changed:
            self._changed.notify_all()

    def _is_free(self, digest: bytes) -> bool:
        return digest not in self._runs or self._runs[digest].has_ended

    def _end(self, digest: bytes, run: Run | None) -> None:
        with self._changed:
            if run is None:
                del self._runs[digest]
            else:
                run.has_ended = True
            self._changed.notify_all()
