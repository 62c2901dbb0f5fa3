"""Recent: how tasks ended a moment ago, and what was put: who takes that next need not wait until
the store has been asked. A client that submits what takes results of its last tasks would find
each of them ended, the slower it is let in the more.

What is here is what the store has, or will have with what is written now: whoever changes or
forgets a record there has it forgotten here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from ..task import Kind
from .generations import Generations

#: What is remembered takes so much at most: some ten thousand small results.
RECENT_BYTES = 4 * 1024 * 1024

#: What an outcome costs beside its bytes: two objects, and its place.
OVERHEAD_BYTES = 250

#: More sessions than that take from each other in no mesh: then the oldest is as good as any.
TAKEN_MAX = 4096

_VALUE = int(Kind.VALUE)


class Recent:
    """Outcomes as the store has them, by task."""

    def __init__(self) -> None:
        self._outcomes: Generations[bytes] = Generations(RECENT_BYTES)
        self._taken: dict[str, None] = {}

    def put(self, task: bytes, outcome: bytes) -> None:
        """A client has put this."""
        self._keep([(task, outcome)])

    def is_taken(self, session: str) -> None:
        """Somebody has taken a task of this client that had ended: others may be. Those of clients
        whose tasks nobody takes are not worth their time."""
        self._taken[session] = None
        if len(self._taken) > TAKEN_MAX:
            del self._taken[next(iter(self._taken))]

    def ended(self, session: str, outcomes: Iterable[tuple[bytes, bytes]]) -> None:
        """Tasks of a client have succeeded. Of their results those in a store may go from there, or
        be lost: what becomes of them the store knows."""
        if session in self._taken:
            self._keep([each for each in outcomes if each[1][0] == _VALUE])

    def _keep(self, outcomes: list[tuple[bytes, bytes]]) -> None:
        size = sum([len(outcome) for _, outcome in outcomes]) + OVERHEAD_BYTES * len(outcomes)
        self._outcomes.keep(outcomes, size)
        while self._outcomes.is_full:
            self._outcomes.age()

    def of(self, tasks: Collection[bytes]) -> list[tuple[bytes, bytes]]:
        """Those of `tasks` that are known here, with their outcomes."""
        found = zip(tasks, self._outcomes.find(tasks), strict=True)
        return [(task, outcome) for task, outcome in found if outcome is not None]

    def forget(self, task: bytes) -> None:
        """Its record is another one now, or gone."""
        self._outcomes.forget(task)

    def clear(self) -> None:
        """Many of them are gone."""
        self._outcomes.clear()
