"""Drops: what workers still keep and nobody needs, told until they have said that it is gone.

The store has the list: of tasks that were forgotten, and of runs that ended after their task had.
Each worker is told a page of it at a time, and what it says is gone is taken off. Who is away is
told when it is back; an answer that is lost with a connection is asked for on the next.

What was forgotten because there was too much may still be fetched by the client that has heard of
it. So it is told when that client is gone, or when it has grown too old. Right after its start a
router knows of nobody who is gone, and tells nothing.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from ..protocol import messages as m
from ..task import key
from .member import Member
from .peers import Peer

if TYPE_CHECKING:
    from .router import RouterCore

#: The list is looked at after so many heartbeats, and while workers let go of more, at once.
DROP_BEATS = 5

#: Leases in one DROP: a worker removes that many files between two results.
LEASES_MAX = 256


class Due(NamedTuple):
    """A row of the list, as the store tells of it."""

    place: bytes  # where it is in the list
    session: str
    counter: int
    lease: int
    from_s: float  # the router's age from which it is told, whether or not its client is there


class Drops:
    """Tells workers for `core`."""

    def __init__(self, core: RouterCore, now: float) -> None:
        self._core = core
        self._asked: dict[str, Peer] = {}  # workers that are being told, and on which connection
        self._from: dict[str, bytes] = {}  # where the next page of a worker begins, if not anew
        self._next_at = now + 2 * core.settings.lost_after_s

    def hurry(self, now: float) -> None:
        """Something is on the list that is to go now."""
        self._next_at = min(self._next_at, now)
        self.tick(now)

    def tick(self, now: float) -> None:
        """See who is to be told."""
        core = self._core
        if now < self._next_at or core.stall.reason is not None or core.stopping:
            return
        self._next_at = now + DROP_BEATS * core.settings.heartbeat_s
        for gone in self._asked.keys() - core.fleet.workers.keys():
            del self._asked[gone]
            self._from.pop(gone, None)
        for worker in core.fleet:
            if worker.peer is not None and self._asked.get(worker.who) is not worker.peer:
                self._ask(worker.who, worker.peer)

    def _ask(self, who: str, peer: Peer) -> None:
        self._asked[who] = peer
        about = (who, self._from.pop(who, b""), LEASES_MAX)
        self._core.lookups.ask("drops", about, partial(self._found, who, peer))

    def _found(self, who: str, peer: Peer, rows: list[Due], now: float) -> None:
        core = self._core
        if self._asked.get(who) is not peer or core.peers.by_id.get(peer.id) is not peer:
            return  # it has gone, or dialled anew
        if len(rows) == LEASES_MAX:
            self._from[who] = rows[-1].place
        due = [each for each in rows if self._is_due(who, each)]
        leases = [[each.session, each.counter, each.lease] for each in due]
        if leases:
            core.peers.send(peer, m.Drop(leases), now)
        else:
            del self._asked[who]  # there is time for the next page

    def _is_due(self, who: str, row: Due) -> bool:
        if self._core.handover.is_taking(who, key(row.session, row.counter), row.lease):
            return False  # it is needed there after all
        is_old = row.from_s <= self._core.ledger.age_s
        return is_old or ("client", row.session) not in self._core.peers.by_who

    def dropped(self, worker: Member, message: m.Dropped, now: float) -> None:
        """A worker has let go of what it was told to."""
        self._core.ledger.writes.append(("dropped", worker.who, message.leases))
        if worker.peer is not None and self._asked.get(worker.who) is worker.peer:
            del self._asked[worker.who]
            if worker.who in self._from:
                self._ask(worker.who, worker.peer)
