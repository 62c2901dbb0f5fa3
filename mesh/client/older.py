"""Older: which members of a group are older tasks, as runs of them: a sweep that was found again is
a single one."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator

#: Index, session, first counter, count.
Run = tuple[int, str, int, int]


class Older:
    """Runs of members, by index. One thread adds, any may look."""

    def __init__(self) -> None:
        self._runs: list[Run] = []

    def __iter__(self) -> Iterator[Run]:
        return iter(list(self._runs))

    def __len__(self) -> int:
        return len(self._runs)

    def add(self, index: int, session: str, counter: int, count: int = 1) -> None:
        """So many members from `index` on are these tasks."""
        if self.task(index) is not None:
            return  # it was told before
        at = bisect_right(self._runs, index, key=lambda run: run[0])
        if at:
            before, whose, first, length = self._runs[at - 1]
            if (before + length, whose, first + length) == (index, session, counter):
                self._runs[at - 1] = (before, whose, first, length + count)
                return
        self._runs.insert(at, (index, session, counter, count))

    def task(self, index: int) -> tuple[str, int] | None:
        """The session and counter of a member that is an older task."""
        runs = self._runs
        if not runs:
            return None
        at = bisect_right(runs, index, key=lambda run: run[0])
        if not at:
            return None
        first, session, counter, count = runs[at - 1]
        return (session, counter + index - first) if index - first < count else None
