"""Interrupts that come while something is ended: none keeps it from being done."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def put_off(hurry: Callable[[], None]) -> Iterator[None]:
    """Ctrl-C calls `hurry` while the block runs, and is raised at its end, unless another one is
    just being handled: one is enough.

    Only the main thread is interrupted, and who has a handler of his own keeps it.

    Raises:
        KeyboardInterrupt: one has come.
    """
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    came: list[int] = []

    def note(number: int, frame: object) -> None:
        came.append(number)
        hurry()

    signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if came and not isinstance(sys.exc_info()[1], KeyboardInterrupt):
        raise KeyboardInterrupt
