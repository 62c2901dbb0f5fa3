"""Payloads on their way through the router: what its core decides about without having it.

Kept are those that are not committed yet, which the store cannot be asked for, and, as far as there
is room, those that will be wanted next. Nobody asks for those of a block that has ended.
"""

from __future__ import annotations

from collections import OrderedDict
from operator import itemgetter
from typing import Any

from ..core.events import Slice
from ..core.generations import Generations
from ..core.ledger import RECORD
from ..protocol.inputs import split
from ..protocol.outcome import rest_of
from ..store.records import Records
from ..task import key

#: Payloads of open tasks kept in memory for dispatch; what is committed beyond it is read again
#: from the store.
CACHE_BYTES = 8 * 1024 * 1024

#: The same of outcomes that others take: they are small.
OUTCOMES_BYTES = 4 * 1024 * 1024

#: What a payload costs beside its bytes: its object, its place in a list.
OVERHEAD_BYTES = 64

#: The same of an outcome: objects for it, its name and its parts, an entry in a dict.
OUTCOME_OVERHEAD_BYTES = 400

_KIND, _REST = itemgetter(0), itemgetter(1)


class Cache:
    """What is kept, by name, the oldest first, of which what is committed takes `most` bytes.

    Attributes:
        values: what is there, to be looked up in bulk.
    """

    def __init__(self, most: int) -> None:
        self.values: dict[bytes, Any] = {}
        self._about: OrderedDict[bytes, tuple[int, int]] = OrderedDict()  # ticket, size
        self._most, self._bytes = most, 0

    def keep(self, name: bytes, ticket: int, value: Any, size: int) -> None:
        """Keep what is being written under `ticket`, which is 0 if it was."""
        if name in self._about:  # a function that was forgotten has come again
            ticket = max(ticket, self._about[name][0])
            self.drop(name)
        self.values[name], self._about[name] = value, (ticket, size)
        self._bytes += size

    def drop(self, name: bytes) -> None:
        """Nobody asks for it any more."""
        if name in self._about:
            del self.values[name]
            self._bytes -= self._about.pop(name)[1]

    def trim(self, committed: int) -> None:
        """Let go of the oldest that are committed, down to the limit."""
        if self._bytes <= self._most:
            return
        while self._bytes > self._most // 2:
            name, (ticket, _) = next(iter(self._about.items()))
            if ticket > committed:
                return  # and so are most behind it
            self.drop(name)


class Payloads:
    """Payloads and outcomes of the tasks in `records`."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._payloads = Cache(CACHE_BYTES)  # by block, or digest of a function
        # By task: kind, and value or ref.
        self._outcomes: Generations[tuple[int, Any]] = Generations(OUTCOMES_BYTES)
        self._ticket = self._old_ticket = 0  # under which the last of a generation is written

    def add(self, writes: list[tuple[Any, ...]], ticket: int) -> None:
        """Keep what is being written under `ticket`."""
        for what, *about in writes:
            if what == "block" and about[4] is not None:
                self._keep(key(about[0], about[1]), ticket, about[4])
            elif what == "close":
                self._payloads.drop(about[0])
            elif what == "function":
                self._keep(about[0], ticket, [about[3]])

    def _keep(self, name: bytes, ticket: int, payloads: list[Any]) -> None:
        size = sum(map(len, payloads)) + OVERHEAD_BYTES * len(payloads)
        self._payloads.keep(name, ticket, payloads, size)

    def ended(self, outcomes: list[tuple[bytes, bytes]], ticket: int) -> None:
        """Keep outcomes that are being written under `ticket`, and that others take; under 0, if
        they were."""
        size = sum([len(record) for _, record in outcomes]) + OUTCOME_OVERHEAD_BYTES * len(outcomes)
        kept = {task: (record[0], rest_of(record, RECORD.size)) for task, record in outcomes}
        self._outcomes.keep(kept, size)
        self._ticket = max(self._ticket, ticket)

    def fill_in(self, rows: list[list[Any]]) -> None:
        """Complete the rows of INPUTS: how the tasks ended that others take, and their values or
        refs. The store is asked for those that are not here."""
        for row in rows:
            tasks = split(row[2])
            found: list[Any] = self._outcomes.find(tasks)
            if None in found:
                asked = {task for task, each in zip(tasks, found, strict=True) if each is None}
                self.ended(list(self._records.outcomes(sorted(asked))), 0)
                found = self._outcomes.find(tasks)
            row[3], row[4] = bytes(map(_KIND, found)), list(map(_REST, found))

    def of_tasks(self, piece: Slice) -> list[Any]:
        """The payloads that `piece` stands for."""
        if piece.block not in self._payloads.values:
            self._keep(piece.block, 0, self._records.payloads(piece.block))
        payloads: list[Any] = self._payloads.values[piece.block]
        return payloads[piece.low : piece.high]

    def of_function(self, digest: bytes) -> Any:
        """The code of a function."""
        if digest not in self._payloads.values:
            self._keep(digest, 0, [self._records.function(digest)])
        return self._payloads.values[digest][0]

    def trim(self, committed: int) -> None:
        """Let go of the oldest that are on disk under tickets up to `committed`."""
        self._payloads.trim(committed)
        while self._outcomes.is_full and self._old_ticket <= committed:
            self._outcomes.age()
            self._old_ticket = self._ticket
