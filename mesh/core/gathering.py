"""Gathering: outcomes on their way to the router, session by session."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from ..protocol import messages as m

#: Outcomes in one DONE: what fits a message even after a long time without the router.
DONE_TASKS_MAX = 4096

#: What is to be told of one session: counters, leases, kinds, bodies.
Run = tuple[list[int], list[int], bytearray, list[Any]]


class Gathering:
    """The outcomes that the next DONE will carry."""

    def __init__(self) -> None:
        self._runs: dict[str, Run] = {}

    def __bool__(self) -> bool:
        return bool(self._runs)

    def run(self, session: str) -> Run:
        """The columns for `session`, to be appended to."""
        return self._runs.setdefault(session, ([], [], bytearray(), []))

    def add(self, session: str, counter: int, lease: int, kind: int, body: bytes) -> None:
        """One outcome."""
        counters, leases, kinds, bodies = self.run(session)
        counters.append(counter)
        leases.append(lease)
        kinds.append(kind)
        bodies.append(body)

    def keep(self, messages: Iterable[m.Message]) -> None:
        """What was sent and not acknowledged is told again."""
        for message in messages:
            if isinstance(message, m.Done):
                for session, *columns in message.runs:
                    for mine, theirs in zip(self.run(session), columns, strict=True):
                        mine.extend(theirs)

    def take(self) -> Iterator[list[list[Any]]]:
        """The rows of one DONE after the other; they have been told then."""
        runs, self._runs = self._runs, {}
        for session, columns in runs.items():
            for at in range(0, len(columns[0]), DONE_TASKS_MAX):
                counters, leases, kinds, bodies = (c[at : at + DONE_TASKS_MAX] for c in columns)
                yield [[session, counters, leases, bytes(kinds), bodies]]

    def held(self) -> list[list[Any]]:
        """The rows of a HELLO: [lease, session, counter] each."""
        return [
            [lease, session, counter]
            for session, (counters, leases, _, _) in self._runs.items()
            for counter, lease in zip(counters, leases, strict=True)
        ]
