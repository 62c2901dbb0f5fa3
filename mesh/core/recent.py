"""Recent: how tasks ended a moment ago, and what was put: who takes that next need not wait until
the store has been asked. A client that submits what takes results of its last tasks would find
each of them ended, the slower it is let in the more.

What is here is what the store has, or will have with what is written now: whoever changes or
forgets a record there has it forgotten here.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from ..task import Kind

#: So many outcomes are remembered: some hundred bytes each.
RECENT_MAX = 16_384

_VALUE = int(Kind.VALUE)


class Recent:
    """Outcomes as the store has them, by task, the oldest first. `takes_tasks` is set once anybody
    has taken a task that had ended: until then those of tasks are not worth their time."""

    def __init__(self) -> None:
        self.takes_tasks = False
        self._outcomes: dict[bytes, bytes] = {}

    def put(self, task: bytes, outcome: bytes) -> None:
        """A client has put this."""
        self._outcomes[task] = outcome
        self._trim()

    def ended(self, outcomes: Iterable[tuple[bytes, bytes]]) -> None:
        """Tasks have succeeded. Of their results those in a store may go from there, or be lost:
        what becomes of them the store knows."""
        if self.takes_tasks:
            self._outcomes.update(each for each in outcomes if each[1][0] == _VALUE)
            self._trim()

    def _trim(self) -> None:
        if len(self._outcomes) > RECENT_MAX:
            for task in list(islice(self._outcomes, RECENT_MAX // 2)):
                del self._outcomes[task]

    def of(self, tasks: Iterable[bytes]) -> list[tuple[bytes, bytes]]:
        """Those of `tasks` that are known here, with their outcomes."""
        known = self._outcomes
        return [(task, known[task]) for task in tasks if task in known] if known else []

    def forget(self, task: bytes) -> None:
        """Its record is another one now, or gone."""
        self._outcomes.pop(task, None)

    def clear(self) -> None:
        """Many of them are gone."""
        self._outcomes.clear()
