"""Queue: tasks that ask for the same and may run now, in order of priority, fairness and age.

Larger priorities go first; within one, sessions take turns, so that a client with a million tasks
does not keep another with ten from its results; within a session, the block that has waited
longest, with what has become ready in it meanwhile: it is taken in long runs then, and these travel
together. Entries are spans of blocks, not tasks. What ended meanwhile is left out when it is taken
(see `Block.queued_runs`), so spans may promise more than `take` gives.
"""

from __future__ import annotations

from bisect import insort
from collections import OrderedDict, deque

from .block import Block

#: Spans of each block of a session, low and high, in the order in which they are to be taken.
_Line = OrderedDict[Block, deque[tuple[int, int]]]


class Queue:
    """Spans of queued tasks."""

    def __init__(self) -> None:
        self._lanes: dict[int, dict[str, _Line]] = {}
        self._order: list[int] = []  # the priorities at hand, negated: ascending
        self.tasks = 0  # an upper bound: what was pushed and not taken

    def push(self, block: Block, low: int, high: int, *, first: bool = False) -> None:
        """Queue tasks [low, high) of `block`; `first` for what comes back after a loss."""
        priority = -block.priority
        lane = self._lanes.get(priority)
        if lane is None:
            lane = self._lanes[priority] = {}
            insort(self._order, priority)
        line = lane.setdefault(block.session, OrderedDict())
        spans = line.setdefault(block, deque())
        if first:
            spans.appendleft((low, high))
            line.move_to_end(block, last=False)
        elif spans and spans[-1][1] == low:
            spans[-1] = (spans[-1][0], high)
        else:
            spans.append((low, high))
        self.tasks += high - low

    @property
    def priority(self) -> int:
        """That of the next task: ask first whether there is one."""
        return -self._order[0]

    @property
    def sessions(self) -> list[str]:
        """Whose tasks are here."""
        return list(dict.fromkeys(session for lane in self._lanes.values() for session in lane))

    def has_any(self) -> bool:
        """Whether anything here is queued still. What has ended meanwhile, and would be next, is
        left out."""
        while self._order:
            priority = self._order[0]
            lane = self._lanes[priority]
            session, line = next(iter(lane.items()))
            block, spans = next(iter(line.items()))
            low, high = spans[0]
            if next(block.queued_runs(low, high), None) is not None:
                return True
            spans.popleft()
            self.tasks -= high - low
            if not spans:
                del line[block]
            if not line:
                del lane[session]
            if not lane:
                del self._lanes[priority], self._order[0]
        return False

    def take(self, most: int, least: int | None = None) -> tuple[Block, int, int] | None:
        """The next run of at most `most` queued tasks, all of one block; None if there is none, or
        none of `least` priority or more."""
        while self._order:
            priority = self._order[0]
            if least is not None and -priority < least:
                return None
            lane = self._lanes[priority]
            session, line = next(iter(lane.items()))
            block, spans = next(iter(line.items()))
            low, high = spans.popleft()
            self.tasks -= high - low
            run = next(block.queued_runs(low, high), None)
            if run is not None:
                start, end = run[0], min(run[1], run[0] + most)
                if end < high:
                    spans.appendleft((end, high))
                    self.tasks += high - end
            if not spans:
                del line[block]
            if run is not None or not line:
                del lane[session]
            if run is not None and line:
                lane[session] = line  # to the back: the next session's turn
            if not lane:
                del self._lanes[priority], self._order[0]
            if run is not None:
                return block, start, end
        return None
