"""The feed: between the thread that begins jobs and the one that hears how they ended.

The first takes them from where they come from, which may be slow or have no end, and begins no more
than are to be on their way. It may hang in a read for ever, so nothing waits for it.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from ..client.future import Future
    from .jobs import Job

#: Jobs that have ended and are not done with, because an earlier one has not ended.
KEPT_MAX = 8192

#: How many may be on their way is asked this often.
LOOK_S = 10.0


class Turn(NamedTuple):
    """A job that has ended: the how-manieth that was begun, from 0 on, the task as which it was
    begun, and its future, which may be that of an older task."""

    nth: int
    task: str
    job: Job
    future: Future


class Feed:
    """Begins `jobs` by `submit`, no more than `at_once` at a time.

    Attributes:
        begun: how many were begun, and how many of them have `ended`.
    """

    def __init__(
        self, jobs: Iterable[Job], submit: Callable[[Job], Future], at_once: Callable[[], int]
    ) -> None:
        self._jobs = jobs
        self._submit = submit
        self._at_once = at_once
        self._turns: queue.SimpleQueue[Turn | None] = queue.SimpleQueue()  # None: all were begun
        self._changed = threading.Condition()
        self._open: dict[int, Future] = {}
        self._over = False
        self._error: BaseException | None = None
        self.begun = self.ended = self._settled = 0

    def turns(self, every_s: float) -> Iterator[Turn | None]:
        """The jobs as they end; None when none has for so long.

        Raises:
            BaseException: what came of taking or submitting a job.
        """
        threading.Thread(target=self._feed, name="mesh-feed", daemon=True).start()
        while not (self._over and self.ended == self.begun):
            try:
                turn = self._turns.get(timeout=every_s)
            except queue.Empty:
                yield None
                continue
            if turn is None:
                self._over = True
                if self._error is not None:
                    raise self._error
                continue
            with self._changed:
                self.ended += 1
                del self._open[turn.nth]
                self._changed.notify()
            yield turn

    def settled(self, count: int) -> None:
        """So many in all are done with."""
        with self._changed:
            self._settled = count
            self._changed.notify()

    def stop(self) -> None:
        """Begin no more, and cancel what does not run yet."""
        with self._changed:
            self._over = True
            self._changed.notify()
        for future in reversed([*self._open.values()]):
            future.cancel()

    def _feed(self) -> None:
        try:
            for job in self._jobs:
                if not self._admitted():
                    return
                future = self._submit(job)
                turn = Turn(self.begun - 1, future.id, job, future)
                with self._changed:
                    self._open[turn.nth] = future
                future.add_done_callback(lambda _, turn=turn: self._turns.put(turn))  # type: ignore[misc]
        except BaseException as error:
            self._error = error
        finally:
            self._turns.put(None)

    def _admitted(self) -> bool:
        """Wait until one more may be begun, and count it; False if none may any more."""
        while True:
            at_once = self._at_once()
            with self._changed:
                if self._over:
                    return False
                on_way, unsettled = self.begun - self.ended, self.begun - self._settled
                if on_way < at_once and unsettled < at_once + KEPT_MAX:
                    self.begun += 1
                    return True
                self._changed.wait(LOOK_S)
