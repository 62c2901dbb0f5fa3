"""Deposits: what clients leave with a worker is taken in, and swept when they are gone."""

from __future__ import annotations

from typing import Any

from ..errors import ResultLost
from ..protocol.outcome import RESULT, Ref
from ..store import deposits
from ..store.results import Results
from ..store.writes import Put, Write
from ..task import key

#: Clients that are gone are looked for this often: what they leave only takes room.
SWEEP_EVERY_S = 10.0


class Deposits:
    """Has what the router says that clients have left taken into `results`."""

    def __init__(self, results: Results) -> None:
        self._results = results
        self._taking: dict[int, list[list[Any]]] = {}  # ticket → rows of TAKE
        self._sweep_at = 0.0

    def take(self, ticket: int, rows: list[list[Any]]) -> list[Write]:
        """What is to be written under `ticket` for rows of TAKE."""
        self._taking[ticket] = rows
        store = self._results.id.encode()
        refs = [Ref(key(s, c), c, RESULT, size, crc, store) for s, c, size, crc in rows]
        return [Put(ref) for ref in refs]

    def taken(self, ticket: int) -> list[list[Any]]:
        """What the writer has done up to `ticket`: rows of TAKEN."""
        done = [each for each in self._taking if each <= ticket]
        rows = [row for each in done for row in self._taking.pop(each)]
        return [[*row[:2], self._why_not(*row)] for row in rows]

    def _why_not(self, session: str, counter: int, size: int, crc: int) -> str:
        """Why content is not in the store; "" if it is."""
        try:
            _, there, checksum = self._results.find(key(session, counter), counter, RESULT)
        except ResultLost as error:
            return str(error)
        return "" if (there, checksum) == (size, crc) else "other content is there under its id"

    def tend(self, now: float) -> None:
        """Sweep what clients have left that are gone."""
        if now >= self._sweep_at:
            self._sweep_at = now + SWEEP_EVERY_S
            deposits.sweep(self._results.incoming)

    def close(self) -> None:
        """Leave what clients have left that live; all else that is on its way goes."""
        deposits.clear(self._results.incoming)
