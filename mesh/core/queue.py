"""Queue: tasks that ask for the same and may run now, in order of priority, fairness and age.

Larger priorities go first; within one, sessions take turns, so that a client with a million tasks
does not keep another with ten from its results; within a session, the block that has waited
longest, with what has become ready in it meanwhile: it is taken in long runs then, and these travel
together. Entries are spans of blocks, not tasks. What ended meanwhile is left out when it is taken
(see `Block.queued_runs`), so spans may promise more than `take` gives.
"""

from __future__ import annotations

from bisect import insort
from collections import deque

from .block import Block

#: Of one session: blocks, whose `spans` are to be taken in their order, and what comes back.
_Line = deque[Block | tuple[Block, int, int]]


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
        line = lane.setdefault(block.session, deque())
        if first:
            line.appendleft((block, low, high))
        elif _add(block, low, high):
            line.append(block)
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
            block, low, high = _next(line)
            if next(block.queued_runs(low, high), None) is not None:
                return True
            self._pass(line, low, high)
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
            block, low, high = _next(line)
            run = next(block.queued_runs(low, high), None)
            if run is None:
                self._pass(line, low, high)
            else:
                run = run[0], min(run[1], run[0] + most)
                self._pass(line, low, run[1])
            if run is not None or not line:
                del lane[session]
            if run is not None and line:
                lane[session] = line  # to the back: the next session's turn
            if not lane:
                del self._lanes[priority], self._order[0]
            if run is not None:
                return block, *run
        return None

    def _pass(self, line: _Line, low: int, end: int) -> None:
        """Of the next span of a line, which begins at `low`, only what is behind `end` is left."""
        self.tasks -= end - low
        entry = line[0]
        if isinstance(entry, Block):
            if not _cut(entry, end):
                line.popleft()
            return
        block, _, high = entry
        if end < high:
            line[0] = (block, end, high)
        else:
            line.popleft()


def _next(line: _Line) -> tuple[Block, int, int]:
    """The next span of a line."""
    entry = line[0]
    if isinstance(entry, Block):
        spans = entry.spans
        assert spans is not None, "who has none is in no line"
        low, high = spans if isinstance(spans, tuple) else spans[0]
        return entry, low, high
    return entry


def _add(block: Block, low: int, high: int) -> bool:
    """Add a span to those of `block`; whether it is the first. Most have one, ever."""
    spans = block.spans
    if spans is None:
        block.spans = (low, high)
        return True
    if isinstance(spans, tuple):
        if spans[1] == low:
            block.spans = (spans[0], high)
        else:
            block.spans = deque((spans, (low, high)))
    elif spans[-1][1] == low:
        spans[-1] = (spans[-1][0], high)
    else:
        spans.append((low, high))
    return False


def _cut(block: Block, end: int) -> bool:
    """Leave of the first span of `block` what is behind `end`; whether it has any then."""
    spans = block.spans
    if isinstance(spans, deque):
        if end < spans[0][1]:
            spans[0] = (end, spans[0][1])
        else:
            spans.popleft()
        if spans:
            return True
    elif spans is not None and end < spans[1]:
        block.spans = (end, spans[1])
        return True
    block.spans = None
    return False
