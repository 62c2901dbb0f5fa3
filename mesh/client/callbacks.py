"""Callbacks: the thread in which users' callbacks run, so that none can stall the I/O thread."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable

LOGGER = logging.getLogger("mesh")


class Callbacks:
    """Runs callbacks one after the other; the thread starts with the first."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def call(self, callback: Callable[[], None]) -> None:
        """Run `callback` soon."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="mesh-callbacks", daemon=True)
            self._thread.start()
        self._queue.put(callback)

    def _run(self) -> None:
        while (callback := self._queue.get()) is not None:
            try:
                callback()
            except BaseException:  # sys.exit() in a callback ends that callback, and no other
                LOGGER.exception("a callback failed")

    def close(self) -> None:
        """Wait until all have run."""
        self._queue.put(None)
        if self._thread is not None and threading.current_thread() is not self._thread:
            self._thread.join()
