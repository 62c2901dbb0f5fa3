"""Unseen: failures of this script's tasks that nobody has looked at.

Who never asks for a result never sees an error: before the mesh is closed, and all is well as far
as can be seen, it is said how many there were, and why.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from ..task import SUCCESS, Kind, show
from .failures import CAUSES_SHOWN, Cause, cause_of

#: So many are remembered; the rest are counted.
KEPT_MAX = 10_000

#: How tasks end that nobody need look at: what was cancelled, somebody has.
_FINE = bytes([*SUCCESS, Kind.CANCELLED])


class Unseen:
    """Of the client whose own tasks are those of `session`."""

    def __init__(self, session: str) -> None:
        self._session = session
        self._causes: dict[int, tuple[str, str]] = {}  # of each the error, and where it came from
        self._more = 0

    def ended(self, counters: list[int], kinds: bytes, bodies: list[Any]) -> None:
        """Own tasks have ended. Called by the I/O thread, before anybody hears of it."""
        if not kinds.translate(None, _FINE):
            return
        for counter, kind, body in zip(counters, kinds, bodies, strict=True):
            if kind in _FINE:
                continue
            if len(self._causes) < KEPT_MAX:
                self._causes[counter] = cause_of(kind, body)[:2]
            else:
                self._more += 1

    def look(self, session: str, first: int, count: int = 1) -> None:
        """Somebody has seen how these tasks ended."""
        if session != self._session or not self._causes:
            return
        if count > len(self._causes):
            wanted = [each for each in list(self._causes) if first <= each < first + count]
            self._more = 0  # of a group so large: they were most likely its own
        else:
            wanted = list(range(first, first + count))
        for counter in wanted:
            self._causes.pop(counter, None)

    def words(self) -> str | None:
        """What to say of those that are left, if any are."""
        if not self._causes:
            return None
        counts: Counter[tuple[str, str]] = Counter()
        first: dict[tuple[str, str], int] = {}
        for counter, cause in sorted(self._causes.items()):
            counts[cause] += 1
            first.setdefault(cause, counter)
        told = ", ".join(
            str(Cause(*cause, count, show(self._session, first[cause]), ""))
            for cause, count in counts.most_common(CAUSES_SHOWN)
        )
        left = len(counts) - CAUSES_SHOWN
        told += f", and {left} other causes" if left > 0 else ""
        total = len(self._causes) + self._more
        many = "a task" if total == 1 else f"{total:,} tasks"
        return f"{many} failed, and nobody asked for the result: {told}"
