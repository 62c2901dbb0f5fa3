"""Recorded: which of a client's own tasks its router has acknowledged, as runs of counters.

What the router does not know and has acknowledged, it has forgotten; what it does not know and has
not acknowledged is still on its way.
"""

from __future__ import annotations

from bisect import bisect_right


class Recorded:
    """Counters, in as few runs as possible: mostly a single one."""

    def __init__(self) -> None:
        self._firsts: list[int] = []
        self._ends: list[int] = []

    def add(self, first: int, count: int) -> None:
        """`count` tasks from `first` on are recorded."""
        firsts, ends = self._firsts, self._ends
        end = first + count
        at = bisect_right(firsts, first)
        if at and ends[at - 1] >= first:
            at -= 1
            ends[at] = max(ends[at], end)
        else:
            firsts.insert(at, first)
            ends.insert(at, end)
        while at + 1 < len(firsts) and firsts[at + 1] <= ends[at]:
            ends[at] = max(ends[at], ends[at + 1])
            del firsts[at + 1], ends[at + 1]

    def __contains__(self, counter: int) -> bool:
        at = bisect_right(self._firsts, counter)
        return at > 0 and counter < self._ends[at - 1]
