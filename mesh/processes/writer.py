"""The writer: the one thread that owns a process's LMDB, so that its loop never waits for a disk.

Group commit: whatever gathered during the commit before goes into the next one. Order is kept
throughout: writes are committed in the order they were handed over, and a lookup sees every write
handed over before it.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any

from ..core.events import Committed, Found
from ..transport.wake import Wake

Lookup = tuple[int, str, Any]


class Writer:
    """Runs `apply(writes)` and `look_up(what, about)` in a thread of its own.

    `done` gives the events to feed the core when `wake` says so. If the store fails, `done` raises
    the error in the loop: a router that cannot record must not go on.
    """

    def __init__(
        self,
        apply: Callable[[list[Any]], None],
        look_up: Callable[[str, Any], Any] | None,
        wake: Wake,
    ) -> None:
        self._apply = apply
        self._look_up = look_up
        self._wake = wake
        self._wanted = threading.Condition()
        self._writes: list[Any] = []
        self._lookups: list[Lookup] = []
        self._ticket = 0
        self._events: queue.SimpleQueue[Committed | Found] = queue.SimpleQueue()
        self._error: BaseException | None = None
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="mesh-writer", daemon=True)
        self._thread.start()

    def submit(self, ticket: int, writes: list[Any], lookups: list[Lookup]) -> None:
        """Hand over a turn's writes (under `ticket`) and lookups."""
        with self._wanted:
            if writes:
                self._writes += writes
                self._ticket = ticket
            self._lookups += lookups
            self._wanted.notify()

    def done(self) -> list[Committed | Found]:
        """What was committed and found since the last call.

        Raises:
            Exception: whatever the store raised.
        """
        if self._error is not None:
            raise self._error
        return [self._events.get_nowait() for _ in range(self._events.qsize())]

    def close(self) -> None:
        """Finish what was handed over and end the thread."""
        with self._wanted:
            self._closing = True
            self._wanted.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._wanted:
                while not (self._writes or self._lookups or self._closing):
                    self._wanted.wait()
                writes, self._writes = self._writes, []
                lookups, self._lookups = self._lookups, []
                ticket = self._ticket
            if not writes and not lookups:
                return
            try:
                if writes:
                    self._apply(writes)
                    self._events.put(Committed(ticket))
                for token, what, about in lookups:
                    assert self._look_up is not None
                    self._events.put(Found(token, self._look_up(what, about)))
            except BaseException as error:
                self._error = error
                self._wake.set()
                return
            self._wake.set()
