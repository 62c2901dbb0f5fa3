"""The writer: the one thread that owns a process's LMDB, so that its loop never waits for a disk.

Group commit: whatever gathered during the commit before goes into the next one. Order is kept
throughout: writes are committed in the order they were handed over, and a lookup sees every write
handed over before it.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from typing import Any

from ..core.events import Committed, Found, Stalled
from ..store.tables import NoRoom
from ..transport.wake import Wake

Lookup = tuple[int, str, Any]

#: Whether there is room again on a disk nobody tells: it is tried this often.
RETRY_S = 1.0
#: A store that nothing was written to for so long is at rest. Long enough that a busy mesh never
#: pays for it, short enough that most power cuts find an idle mesh's store whole.
REST_S = 5.0


class Writer:
    """Runs `apply(writes)`, which may tell how much room all takes then, and `look_up(what, about)`
    in a thread of its own, and `rest()` when there was nothing to write for REST_S.

    `done` gives the events to feed the core when `wake` says so. Where the disk has no room, writes
    are kept and tried again, the core is told, and lookups are answered by
    `look_up_amid(writes, lookups)`. If the store fails otherwise, `done` raises the error in the
    loop: a router that cannot record must not go on.
    """

    def __init__(
        self,
        apply: Callable[[list[Any]], int | None],
        look_up: Callable[[str, Any], Any] | None,
        wake: Wake,
        rest: Callable[[], None] | None = None,
        look_up_amid: Callable[[list[Any], list[tuple[str, Any]]], list[Any]] | None = None,
    ) -> None:
        self._apply = apply
        self._look_up = look_up
        self._look_up_amid = look_up_amid
        self._wake = wake
        self._rest = rest
        self._wanted = threading.Condition()
        self._writes: list[Any] = []
        self._lookups: list[Lookup] = []
        self._ticket = 0
        self._events: queue.SimpleQueue[Committed | Found | Stalled] = queue.SimpleQueue()
        self._error: BaseException | None = None
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="mesh-writer", daemon=True)
        self._thread.start()

    def submit(self, ticket: int, writes: list[Any], lookups: list[Lookup]) -> None:
        """Hand over a turn's writes (under `ticket`, or 0 if nobody waits) and lookups. Tickets
        rise: what is committed under one is all that was handed over under those before."""
        with self._wanted:
            if writes:
                assert not ticket or ticket > self._ticket, "what has an earlier one is not here"
                self._writes += writes
                self._ticket = ticket or self._ticket
            self._lookups += lookups
            self._wanted.notify()

    def done(self) -> list[Committed | Found | Stalled]:
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
        writes: list[Any] = []
        lookups: list[Lookup] = []
        at_rest = self._rest is None
        retry_at = 0.0
        while True:
            with self._wanted:
                in_time = True
                if writes:  # they found no room
                    wait_s = max(0.0, retry_at - time.monotonic())
                    self._wanted.wait_for(lambda: bool(self._closing or self._lookups), wait_s)
                else:
                    in_time = self._wanted.wait_for(self._has_work, None if at_rest else REST_S)
                last = self._closing
                held_back = bool(writes)
                writes += self._writes
                lookups += self._lookups
                self._writes, self._lookups = [], []  # and no other name: they are large
                ticket = self._ticket
            early = held_back and not last and time.monotonic() < retry_at
            if last and not writes and not lookups:
                return
            try:
                if not in_time and self._rest is not None:
                    self._rest()
                    at_rest = True
                if writes and not early:
                    if self._record(writes, ticket):
                        writes = []
                        at_rest = self._rest is None
                    elif last:  # they were not acknowledged: whoever sent them keeps them
                        return
                    retry_at = time.monotonic() + RETRY_S
                lookups = self._answer(writes, lookups)
            except BaseException as error:
                self._error = error
                self._wake.set()
                return
            self._wake.set()

    def _record(self, writes: list[Any], ticket: int) -> bool:
        """Whether there was room for `writes`."""
        try:
            used = self._apply(writes)
        except NoRoom as error:
            self._events.put(Stalled(str(error)))
            return False
        self._events.put(Committed(ticket, used or 0))
        return True

    def _answer(self, stuck: list[Any], lookups: list[Lookup]) -> list[Lookup]:
        """Answer lookups, before which `stuck` found no room; those that cannot be answered yet."""
        if stuck and lookups:
            assert self._look_up_amid is not None
            questions = [(what, about) for _, what, about in lookups]
            try:
                answers = self._look_up_amid(stuck, questions)
            except NoRoom:
                return lookups
            for (token, _, _), answer in zip(lookups, answers, strict=True):
                self._events.put(Found(token, answer))
            return []
        for token, what, about in lookups:
            assert self._look_up is not None
            self._events.put(Found(token, self._look_up(what, about)))
        return []

    def _has_work(self) -> bool:
        return bool(self._writes or self._lookups or self._closing)
