"""Gathering: outcomes on their way to the router, session by session, until it has recorded them.

What the router holds of outcomes it holds several times over: as they came, as they are written, as
they are told. So while ON_WAY_BYTES_MAX of them are sent and not acknowledged, `is_full` says
that nothing more is to begin.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

from ..protocol import messages as m
from .news import OUTCOME_BYTES

#: Outcomes in one DONE: what fits a message even after a long time without the router.
DONE_TASKS_MAX = 4096

#: Bodies in one DONE, or one that is larger: the router takes in a message whole.
DONE_BYTES_MAX = 512 * 1024

#: Sent and not recorded: what a disk takes while an acknowledgement is on its way. What is in slots
#: by then is sent as well.
ON_WAY_BYTES_MAX = 2 * 1024 * 1024

#: What is to be told of one session: counters, leases, kinds, bodies.
Run = tuple[list[int], list[int], bytearray, list[Any]]


class Gathering:
    """The outcomes that the next DONE will carry."""

    def __init__(self) -> None:
        self._runs: dict[str, Run] = {}
        self._on_way: deque[tuple[int, int]] = deque()  # sequence number, bytes
        self._on_way_bytes = 0
        self._stored: dict[int, bytes] = {}  # leases that have stored something → their tasks
        self._stored_on_way: deque[tuple[int, int]] = deque()  # sequence number, lease

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

    def stored(self, task: bytes, lease: int) -> None:
        """What is told of a lease lies in the store as well, until the router has it."""
        self._stored[lease] = task

    def keep(self, messages: Iterable[m.Message]) -> None:
        """What was sent and not acknowledged is told again."""
        self._on_way.clear()
        self._stored_on_way.clear()
        self._on_way_bytes = 0
        for message in messages:
            if isinstance(message, m.Done):
                for session, *columns in message.runs:
                    for mine, theirs in zip(self.run(session), columns, strict=True):
                        mine.extend(theirs)

    def take(self) -> Iterator[list[list[Any]]]:
        """The rows of one DONE after the other; they have been told then."""
        runs, self._runs = self._runs, {}
        for session, columns in runs.items():
            for low, high in _portions(columns[3]):
                counters, leases, kinds, bodies = (c[low:high] for c in columns)
                yield [[session, counters, leases, bytes(kinds), bodies]]

    def sent(self, sequence: int, rows: list[list[Any]]) -> None:
        """The rows of a DONE left under this number."""
        size = sum(sum(map(len, bodies)) + OUTCOME_BYTES * len(bodies) for *_, bodies in rows)
        self._on_way.append((sequence, size))
        self._on_way_bytes += size
        if self._stored:
            for _, _, leases, *_ in rows:
                mine = (lease for lease in leases if lease in self._stored)
                self._stored_on_way.extend((sequence, lease) for lease in mine)

    def acknowledged(self, sequence: int) -> list[tuple[bytes, int]]:
        """The router has recorded what was sent up to this number; which tasks' leases of that have
        stored something."""
        on_way = self._on_way
        while on_way and on_way[0][0] <= sequence:
            self._on_way_bytes -= on_way.popleft()[1]
        told: list[tuple[bytes, int]] = []
        while self._stored_on_way and self._stored_on_way[0][0] <= sequence:
            lease = self._stored_on_way.popleft()[1]
            told.append((self._stored.pop(lease), lease))
        return told

    @property
    def is_full(self) -> bool:
        """Whether so much is not recorded that nothing more is to begin."""
        return self._on_way_bytes >= ON_WAY_BYTES_MAX

    def held(self) -> list[list[Any]]:
        """The rows of a HELLO: [lease, session, counter] each."""
        return [
            [lease, session, counter]
            for session, (counters, leases, _, _) in self._runs.items()
            for counter, lease in zip(counters, leases, strict=True)
        ]


def _portions(bodies: list[Any]) -> Iterator[tuple[int, int]]:
    """Where to cut: as many as a DONE may have, of no more bytes than it may have, or one."""
    if len(bodies) <= DONE_TASKS_MAX and sum(map(len, bodies)) <= DONE_BYTES_MAX:
        yield 0, len(bodies)  # nearly always
        return
    low = size = 0
    for nth, body in enumerate(bodies):
        if nth > low and (nth - low == DONE_TASKS_MAX or size + len(body) > DONE_BYTES_MAX):
            yield low, nth
            low, size = nth, 0
        size += len(body)
    yield low, len(bodies)
