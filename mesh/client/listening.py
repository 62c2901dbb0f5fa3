"""Listening: who in this process hears what tasks print while they run.

The echo hears all tasks of this client, followers one each, of whichever client. What they listen
to is told to the router as one list.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ..protocol import messages as m
from ..protocol.shape import NUMBER_MAX
from .echo import Echo

#: What a follower is given: pieces, and None when the task has ended.
Pieces = queue.SimpleQueue["m.Printed | None"]


class Listening:
    """Of the client whose own tasks are those of `session`; `wake` has the I/O thread look."""

    def __init__(self, session: str, wake: Callable[[], None]) -> None:
        self._session, self._wake = session, wake
        self._echo: Echo | None = None
        self._lock = threading.Lock()
        self._followers: dict[tuple[str, int], list[Pieces]] = {}
        self._is_changed = False

    # -- for the threads of the script -------------------------------------------------------

    def show(self, echo: Echo) -> None:
        """From now on `echo` hears all own tasks."""
        self._echo = echo
        self._tell()

    def here(self) -> None:
        """What own tasks print is shown where this is called, from now on."""
        if self._echo is not None:
            self._echo.here()

    @contextmanager
    def follow(self, session: str, counter: int) -> Iterator[Pieces]:
        """What a task prints while this lasts, and what its run has printed before."""
        pieces: Pieces = queue.SimpleQueue()
        with self._lock:
            self._followers.setdefault((session, counter), []).append(pieces)
        self._tell()
        try:
            yield pieces
        finally:
            with self._lock:
                left = self._followers[session, counter]
                left[:] = [each for each in left if each is not pieces]
                if not left:
                    del self._followers[session, counter]
            self._tell()

    def shown(self) -> None:
        """What has been heard of own tasks is shown when this returns."""
        if self._echo is not None:
            self._echo.shown()

    def close(self) -> None:
        """Nothing is shown any more."""
        if self._echo is not None:
            self._echo.close()

    def _tell(self) -> None:
        self._is_changed = True
        self._wake()

    # -- for the I/O thread ------------------------------------------------------------------

    def take_changed(self) -> list[list[Any]] | None:
        """The rows of LISTEN, if they have changed."""
        if not self._is_changed:
            return None
        self._is_changed = False
        with self._lock:
            spans: list[list[Any]] = [[*task, 1] for task in self._followers]
        return spans if self._echo is None else [*spans, [self._session, 0, NUMBER_MAX]]

    def heard(self, message: m.Printed) -> None:
        """Some task has printed something."""
        if self._echo is not None and message.session == self._session:
            self._echo.heard(message)
        with self._lock:
            followers = list(self._followers.get((message.session, message.counter), ()))
        for each in followers:
            each.put(message)

    def ended(self, session: str, counters: list[int], bodies: list[Any]) -> None:
        """Tasks have ended; call before it is told to who waits for them."""
        if self._echo is not None and session == self._session:
            self._echo.ended(counters, bodies)
