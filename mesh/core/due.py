"""Due: the tasks that wait for their time, and how long a retry waits.

Times are the router's own clock: they are not recorded. A router that restarts has them wait anew.
"""

from __future__ import annotations

import heapq
import zlib
from collections.abc import Iterator

from ..task import State, key
from .block import Block, Tries

_WAITING = int(State.WAITING)

#: No retry waits longer, however often it was doubled.
PAUSE_S_MAX = 3600.0


def pause_s(base_s: float, errors: int, task: bytes) -> float:
    """How long a task waits after its so-manieth error: `base_s`, doubled with each.

    Spread over the upper half, so that what failed together does not come back together ("equal
    jitter", M. Brooker: Exponential Backoff and Jitter, AWS Architecture Blog, 2015). The core has
    no randomness: the task's id stands for it.
    """
    whole = min(base_s * 2.0 ** min(errors - 1, 40), PAUSE_S_MAX)
    return whole * (1 + zlib.crc32(task + errors.to_bytes(4, "big")) / 2**32) / 2


class Due:
    """Waiting tasks by the time at which they are ready."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Block, int]] = []
        self._added = 0  # in this order among equals: blocks cannot be compared

    @property
    def next(self) -> float:
        """When the next one is due."""
        return self._heap[0][0] if self._heap else float("inf")

    def add(self, block: Block, i: int, base_s: float, now: float) -> None:
        """`block`'s task `i` waits as its errors have it."""
        errors = block.tries[i].errors
        self.pause(block, i, pause_s(base_s, errors, key(block.session, block.first + i)), now)

    def pause(self, block: Block, i: int, seconds: float, now: float) -> None:
        """`block`'s task `i` waits for so long, whatever happened to it."""
        tries = block.tries.setdefault(i, Tries())
        tries.due = now + seconds
        self._added += 1
        heapq.heappush(self._heap, (tries.due, self._added, block, i))

    def pop(self, now: float) -> Iterator[tuple[Block, int]]:
        """Those that are due."""
        while self._heap and self._heap[0][0] <= now:
            at, _, block, i = heapq.heappop(self._heap)
            if block.states[i] == _WAITING and block.tries[i].due == at:  # else it went on without
                yield block, i
