"""Lanes: slots that are threads of one process: for tasks that wait, or leave the interpreter to
others while they work.

Each lane is a slot with a socket pair of its own, so its worker speaks to it as to any other. What
belongs to a process they share: environment and folder by turns (turns.py), modules, functions,
and the loop of their coroutines (loop.py). The main thread runs no tasks: it waits for the worker,
which interrupts one lane by a note on its slate and a signal.

A thread cannot be ended. An interrupt reaches a lane when it next runs a line of Python, a
coroutine when it next awaits; what does not answer in time is ended with the process, and its
neighbours run again.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar, copy_context
from pathlib import Path
from types import CoroutineType
from typing import TYPE_CHECKING, Any, NoReturn

from ..protocol import functions, namespaces, packets
from ..protocol.parcel import Parcel
from . import running, spool
from .imports import Imports
from .initializers import Initializers, Run
from .outlet import HERE, Outlet, Stream
from .running import Running
from .signals import Signals
from .slot import Seat, Slot
from .surroundings import Surroundings
from .turns import Turn, Turns

if TYPE_CHECKING:
    from .loop import Errand, Loop

#: The lane whose task's code runs here; none in threads that are nobody's.
LANE: ContextVar[Lane | None] = ContextVar("lane", default=None)


class Shared:
    """What the lanes of a process share. `log` is where the worker's log is."""

    def __init__(self, folder: Path, log: int) -> None:
        self.log = log
        self.imports, self.initializers = Imports(), Initializers()
        shelter = spool.shelter(folder, os.getpid())
        self.turns = Turns(Surroundings(shelter, lambda text: _say(log, text)))
        self._lock = threading.Lock()
        self._functions: dict[tuple[bytes, bytes], Callable[..., Any]] = {}
        self._loop: Loop | None = None

    def load(self, parcel: Parcel) -> Callable[..., Any]:
        """The function in a parcel: one for all lanes, with what it keeps in its globals."""
        first = b"" if parcel.initializer is None else parcel.initializer.digest
        which = first, bytes(parcel.call)
        with self._lock:
            known = self._functions.get(which)
            if known is None:
                known = self._functions[which] = functions.load(parcel.call)
            return known

    def loop(self) -> Loop:
        """The loop of their coroutines, made for the first."""
        with self._lock:
            if self._loop is None:
                from .loop import Loop

                self._loop = Loop()
            return self._loop


class Lane(Slot):
    """One thread of a process."""

    def __init__(self, seat: Seat, shared: Shared, *, folder: Path, **about: Any) -> None:
        path = spool.output(folder, spool.name(os.getpid(), seat.number))
        outlet = Outlet(path, shared.log)
        turn = Turn(shared.turns, self)
        super().__init__(
            seat,
            folder=folder,
            capture=outlet,
            surroundings=turn,
            imports=shared.imports,
            initializers=shared.initializers,
            **about,
        )
        self._outlet, self._shared = outlet, shared
        self._lock = threading.Lock()
        self._struck = 0  # a lease that is to be interrupted
        self._is_calling = False
        self._errand: Errand | None = None
        self._ident = self._native = 0

    def serve(self) -> NoReturn:
        """Serve in this thread until the worker is gone, and end the process with it."""
        LANE.set(self)
        HERE.set(self._outlet)
        self._ident, self._native = threading.get_ident(), threading.get_native_id()
        super().serve()

    def load(self, parcel: Parcel) -> Callable[..., Any]:
        """The function in a parcel."""
        return self._shared.load(parcel)

    def is_struck(self) -> bool:
        """Whether what runs here is to end."""
        return self._struck == self._lease

    def admit(self, parcel: Parcel, packet: bytes) -> str | None:
        """Wait for the turn of the one task of a packet; why it cannot run here, or None."""
        [lease] = packets.leases_of(packet)
        place = self._context.env, self._context.cwd, parcel.home
        turns = self._shared.turns
        turns.take(self, place, parcel.sources, lambda: self._struck == lease)
        why = self._shared.imports.take(turns.sources)
        if why is not None:
            turns.leave(self)
        return why

    def make_room(self) -> bool:
        """Have the process replaced when all that it runs has ended."""
        self.pair.send(packets.pack_full())
        return False

    def call(self, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """What a task's function returns; of an ``async def`` at its end, on the loop of all."""
        try:
            with self._lock:
                if self._struck == self._lease:
                    raise KeyboardInterrupt
                self._is_calling = True
            value = function(*args, **kwargs)
        finally:
            self._called()
        return self._finish(value) if type(value) is CoroutineType else value

    def _called(self) -> None:
        """From here on no interrupt comes, nor one that was on its way."""
        while True:
            try:
                with self._lock:
                    self._is_calling = False
                    if self._struck == self._lease:
                        ctypes.pythonapi.PyThreadState_SetAsyncExc(
                            ctypes.c_ulong(self._ident), None
                        )
                return
            except KeyboardInterrupt:
                continue  # it came first

    def _finish(self, coroutine: CoroutineType[Any, Any, Any]) -> Any:
        with self._lock:
            if self._struck == self._lease:
                coroutine.close()
                raise KeyboardInterrupt
            errand = self._errand = self._shared.loop().begin(coroutine)
        try:
            return errand.result()
        finally:
            with self._lock:
                self._errand = None

    # -- for the main thread -----------------------------------------------------------------

    def look(self) -> None:
        """Interrupt what runs here, if the worker has noted that on the slate."""
        with self._lock:
            self._struck = self._slate.struck
            if self._struck and self._struck == self._lease:
                if self._is_calling:
                    ctypes.pythonapi.PyThreadState_SetAsyncExc(
                        ctypes.c_ulong(self._ident), ctypes.py_object(KeyboardInterrupt)
                    )
                    for child in _children_of(self._native):  # it may be waiting for them
                        with suppress(ProcessLookupError):
                            os.kill(child, signal.SIGINT)
                elif self._errand is not None:
                    self._errand.cancel()
        self._shared.turns.wake()
        self._shared.initializers.wake()


def serve(
    seats: list[Seat], take_paths: Callable[[], None], *, folder: Path, **about: Any
) -> NoReturn:
    """Serve on `seats`, a thread each, until the worker is gone."""
    log = os.dup(2)
    os.set_inheritable(log, False)
    shared = Shared(folder, log)
    lanes = [Lane(seat, shared, folder=folder, **about) for seat in seats]
    read, write = os.pipe()
    os.set_blocking(write, False)
    Signals(folder, lambda: None)
    signal.set_wakeup_fd(write)  # whichever thread the kernel interrupts, this one wakes
    sys.stdout = Stream("stdout", sys.stdout)
    sys.stderr = Stream("stderr", sys.stderr)
    running.ask, namespaces.ask = _running, _world
    _pass_context_on()
    take_paths()
    for lane in lanes:
        threading.Thread(target=lane.serve, name=f"mesh-lane-{lane.number}", daemon=True).start()
    while True:
        with suppress(InterruptedError):
            os.read(read, 4096)
        for lane in lanes:
            lane.look()


def _running() -> Running | None:
    lane = LANE.get()
    return None if lane is None else lane.running()


def _world() -> Run | None:
    lane = LANE.get()
    return None if lane is None else lane.world()


def _pass_context_on() -> None:
    """A thread that a task starts is that task's: what it prints, and what it is told of itself.
    Python does so by itself from 3.14 on, where threads have no common lock."""
    start = threading.Thread.start

    def started(thread: threading.Thread) -> None:
        context, run = copy_context(), thread.run
        thread.run = lambda: context.run(run)  # type: ignore[method-assign]
        start(thread)

    threading.Thread.start = started  # type: ignore[assignment, method-assign]


def _children_of(thread: int) -> list[int]:
    """The processes that a thread has started. Linux; elsewhere none are known."""
    try:
        return [*map(int, Path(f"/proc/self/task/{thread}/children").read_text().split())]
    except OSError:
        return []


def _say(log: int, text: str) -> None:
    os.write(log, f"{text}\n".encode())
