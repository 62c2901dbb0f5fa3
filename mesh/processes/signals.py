"""Signals: what the signals mean that come to a process which runs tasks."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from . import LEAVING_FILE
from .life import WARNINGS

#: What would end this process, and may mean that its worker is to leave.
ENDINGS = (signal.SIGTERM, *WARNINGS)

#: A worker that was told to leave as well has said so after this long: by a file, which is looked
#: for so often. In a handler of a signal nothing else can be waited for.
LEAVING_S = 1.0
LEAVING_EVERY_S = 0.02


class Signals:
    """Those of this process, a child of the worker of `folder`, which calls `interrupt` when the
    worker ends what runs.

    Attributes:
        interrupted: whether it has.
    """

    def __init__(self, folder: Path, interrupt: Callable[[], None]) -> None:
        self._folder, self._call = folder, interrupt
        self.interrupted = False
        self._mask: set[int] = set()
        signal.signal(signal.SIGINT, self._interrupt)
        for number in ENDINGS:
            signal.signal(number, self._terminate)
        os.register_at_fork(
            before=self._before_fork,
            after_in_parent=self._unmask,
            after_in_child=self._after_fork,
        )

    def _interrupt(self, number: int, frame: object) -> None:
        """The worker ends what runs: a chance to clean up."""
        self.interrupted = True
        self._call()

    def _terminate(self, number: int, frame: object) -> None:
        """One of ENDINGS. A manager tells every process of a job, the worker too: what becomes of
        what runs is its business then, and it says so. Any other means this process."""
        until = time.monotonic() + (0 if self.interrupted else LEAVING_S)
        while time.monotonic() < until:
            if (self._folder / LEAVING_FILE).exists():
                return
            time.sleep(LEAVING_EVERY_S)
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    # What a task forks dies of such a signal as others do, whenever it comes.

    def _before_fork(self) -> None:
        self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, ENDINGS)

    def _unmask(self) -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)

    def _after_fork(self) -> None:
        for number in ENDINGS:
            if signal.getsignal(number) == self._terminate:  # else it is the task's own
                signal.signal(number, signal.SIG_DFL)
        self._unmask()
