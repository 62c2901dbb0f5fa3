"""An alarm: a test that hangs is ended."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def ended_within(test_s: float, again_s: float = 0.0) -> Iterator[None]:
    """What is done here ends by TimeoutError after `test_s` seconds, and every `again_s` from then
    on, should its leaving hang too."""

    def too_long(number: int, frame: object) -> None:
        raise TimeoutError(f"the test has not ended within {test_s} s")

    before = signal.signal(signal.SIGALRM, too_long)
    signal.setitimer(signal.ITIMER_REAL, test_s, again_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
