"""Lines of jobs as they come: `--line-buffer`."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager

from .jobs import Ending, Job
from .printer import Printer, tag_of, tagged, write


class LivePrinter(Printer):
    """Prints whole lines while jobs run, of both their streams to standard output; and when it ends
    all of a job of which nothing was heard: one that was found.

    Args:
        tagged: see `Printer`.
        aside: see `Printer`.
    """

    def __init__(self, *, tagged: bool, aside: Callable[[], AbstractContextManager[None]]) -> None:
        super().__init__(in_order=False, tagged=tagged, aside=aside)
        self._lock = threading.Lock()
        self._tags: dict[str, bytes] = {}  # of tasks that were begun
        self._unknown: dict[str, bytes] = {}  # what was heard of tasks before that was said
        self._heard: set[str] = set()
        self._is_broken = False

    def begin(self, task: str, job: Job) -> None:
        """A job was begun, as this task."""
        with self._lock:
            self._tags[task] = tag_of(job) if self._tagged else b""
            text = self._unknown.pop(task, b"")
            if text:
                self._show(task, text)

    def show(self, task: str, text: str) -> None:
        """A task has printed lines; called by the mesh, in a thread of its own."""
        raw = text.encode("utf-8", "surrogateescape")
        with self._lock:
            if task in self._tags:
                self._show(task, raw)
            else:
                self._unknown[task] = self._unknown.get(task, b"") + raw

    def take(self, nth: int, task: str, job: Job, ending: Ending) -> None:
        """See `Printer.take`."""
        self.check()
        with self._lock:
            self._tags.pop(task, None)
            was_heard = task in self._heard
            self._heard.discard(task)
        if was_heard:
            ending = ending._replace(stdout=b"", stderr=b"")
        super().take(nth, task, job, ending)

    def check(self) -> None:
        """See `Printer.check`."""
        if self._is_broken:
            raise BrokenPipeError

    def _show(self, task: str, text: bytes) -> None:
        self._heard.add(task)
        try:
            with self._aside():
                write(sys.stdout.buffer, tagged(self._tags[task], text))
        except BrokenPipeError:  # this is the mesh's thread: `check` tells it in ours
            self._is_broken = True
