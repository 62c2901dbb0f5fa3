"""Fetches: how often stored results were fetched, and by which way, as their fetchers say.

Counted in memory, from the router's start on: what is lost with it nobody misses. Of single tasks
only the last ones are remembered. That a client has fetched a result at all is on disk.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from typing import TYPE_CHECKING, Any

from ..protocol import messages as m
from ..protocol.transfer import WAYS
from ..task import key

if TYPE_CHECKING:
    from .ledger import Ledger
    from .peers import Peer

#: So many tasks' counts are kept: some hundred bytes each.
TASKS_MAX = 10_000


class Fetches:
    """What was fetched on this mesh, whose tasks are in `ledger`."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._all: Counter[int] = Counter()
        self._bytes: Counter[int] = Counter()
        self._of: OrderedDict[bytes, Counter[int]] = OrderedDict()

    def take(self, peer: Peer, message: m.Fetched, now: float) -> None:
        """A peer has fetched something. Of a client that is recorded."""
        for session, counter, way, size in message.rows:
            if way >= len(WAYS):
                continue
            self._all[way] += 1
            self._bytes[way] += size
            task = key(session, counter)
            self._of.setdefault(task, Counter())[way] += 1
            self._of.move_to_end(task)
            if peer.role == "client":
                self._ledger.writes.append(("fetched", task))
        while len(self._of) > TASKS_MAX:
            self._of.popitem(last=False)

    def told(self) -> dict[str, dict[str, Any]]:
        """By way: how many fetches, and of how many bytes."""
        return {
            name: {"count": self._all[way], "size_bytes": self._bytes[way]}
            for way, name in enumerate(WAYS)
        }

    def of(self, session: str, counter: int) -> dict[str, int]:
        """By way: how often the result of one task was fetched, as far as is remembered."""
        counts = self._of.get(key(session, counter), Counter())
        return {name: counts[way] for way, name in enumerate(WAYS)}
