"""Term: how long a worker stays: until its time ends, or as long as there is something to do.

What knows the time's end, be it a batch manager or a user, ends the worker then, whatever runs. So
it takes nothing more some time before: the *margin*. The first half of that is for what runs to
end; then it is interrupted and given back, and what has ended is handed over.

A manager may have given it more time meanwhile. It is asked once for that, shortly before there
would be no more tasks; and again before the end that it says then, if that is later.
"""

from __future__ import annotations

import math
from typing import Any

#: So much of the margin is for what runs, and so much for handing over what has ended. The rest is
#: for a process to end.
RUNS, HANDED_OVER = 0.5, 0.4

#: The same for a worker that is told to go, and whose time has no known end: managers kill half a
#: minute after SIGTERM, and what runs has most of that.
LAST_ROUND_S = 3.0

#: So long before it would take no more it has its manager asked: that answers sooner, or never.
ASKS_BEFORE_S = 15.0

#: What runs has so long at least, as none would mean that it is dropped: haste is for owners.
SHORTEST_S = 0.1


class Term:
    """When a worker is to go by itself. When what runs has had its time, there are `last_round_s`
    more for handing over what has ended meanwhile.

    Args:
        ends_at: when its time ends, in seconds of its clock; infinite: never.
        leave_before_s: the margin before that.
        idle_timeout_s: it goes when it has had nothing for so long.
        asks: whether somebody can be asked for more time.
    """

    def __init__(
        self,
        ends_at: float = math.inf,
        leave_before_s: float = 0.0,
        idle_timeout_s: float = math.inf,
        *,
        asks: bool = False,
    ) -> None:
        self.last_round_s = LAST_ROUND_S if ends_at == math.inf else leave_before_s * HANDED_OVER
        self._leave_before_s = leave_before_s
        self._end(ends_at)
        self._asks_at = self._leaves_at - ASKS_BEFORE_S if asks else math.inf
        self._idle_timeout_s = idle_timeout_s
        self._idle_at = math.inf  # when it has been idle for too long

    def _end(self, ends_at: float) -> None:
        self._leaves_at = ends_at - self._leave_before_s
        self._interrupts_at = ends_at - self._leave_before_s * (1 - RUNS)

    def asks(self, now: float) -> bool:
        """Whether to ask, just now, if there is more time; said once."""
        if now < self._asks_at:
            return False
        self._asks_at = math.inf
        return True

    def prolong(self, ends_at: float) -> None:
        """Who was asked says that its time ends then. If it is not worth the asking, not again."""
        later_s = ends_at - self._leave_before_s - self._leaves_at
        self._end(ends_at)
        if later_s > ASKS_BEFORE_S:
            self._asks_at = self._leaves_at - ASKS_BEFORE_S

    def told(self, now: float) -> dict[str, Any]:
        """What HELLO says: for how many seconds what begins now may run."""
        if self._interrupts_at == math.inf:
            return {}
        return {"ends_s": max(0.0, round(self._interrupts_at - now, 3))}

    def note(self, is_idle: bool, now: float) -> None:
        """Whether it has nothing, just now."""
        self._idle_at = min(self._idle_at, now + self._idle_timeout_s) if is_idle else math.inf

    def within(self, seconds: float, now: float) -> float:
        """`seconds` for what runs, or what is left of its time."""
        return min(seconds, max(SHORTEST_S, self._interrupts_at - now))

    def over(self, now: float) -> str | None:
        """Why it is to go, said once; None: it stays."""
        if now >= self._leaves_at:
            self._leaves_at = math.inf
            return "its time ends"
        if now >= self._idle_at:
            self._idle_timeout_s = self._idle_at = math.inf
            return "it had nothing to do"
        return None

    @property
    def deadline(self) -> float:
        """When to ask whether it is over."""
        return min(self._leaves_at, self._idle_at, self._asks_at)
