"""Eviction: what may go from the store of a worker that has a quota, and is over it.

The worker offers its oldest results. May go what no task takes that has not ended, and nobody is
likely to ask for: what a client has fetched; and what nobody has, if its client has heard of it, is
gone, and it could be made again. What a client has put may go when that has gone, and no record is
left of what takes it. What goes is recorded as evicted before the worker is told: whoever asks for
it is told why it is lost.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from ..protocol import messages as m
from ..protocol.stores import GOES, LEAVES, STAYS
from ..task import Kind, key, unkey
from .held import Held
from .member import Member
from .peers import Peer

if TYPE_CHECKING:
    from .handover import Handover
    from .router import RouterCore


class Eviction:
    """Says it for `core`; which worker leaves `handover` hears."""

    def __init__(self, core: RouterCore, handover: Handover) -> None:
        self._core, self._handover = core, handover

    def take_offer(self, worker: Member, message: m.Offer, now: float) -> None:
        """A worker asks which of these it may let go of; or it leaves."""
        if message.why == LEAVES:
            self._handover.take_offer(worker, message, now)
            return
        assert worker.peer is not None, "it has just been heard of"
        kept = [(key(session, counter), lease) for session, counter, lease in message.rows]
        then = partial(self._found, worker.who, worker.peer)
        self._core.lookups.ask("held", (worker.who, kept), then)

    def _found(self, who: str, peer: Peer, rows: list[Held], now: float) -> None:
        fates = [[*unkey(each.task), each.lease, self._fate(each)] for each in rows]
        for held, row in zip(rows, fates, strict=True):
            if row[3] == GOES:
                self._core.ledger.writes.append(("evicted", held.task, held.lease, who))
                self._core.ledger.recent.forget(held.task)

        def told(now: float) -> None:
            if self._core.peers.by_id.get(peer.id) is peer:
                self._core.peers.send(peer, m.Settled(fates), now)

        self._core.after_commit(told)

    def _fate(self, held: Held) -> int:
        return GOES if self._may_go(held) else STAYS

    def _may_go(self, held: Held) -> bool:
        core = self._core
        if held.record is None:
            return held.is_moved  # what is not known is perhaps about to be
        if held.record[0] != Kind.STORED or core.ledger.inputs.is_needed(held.task):
            return False
        if held.task in core.recovery.running:
            return False
        is_over = held.ended_s < held.heard_s  # as of when its client left
        is_over &= ("client", unkey(held.task)[0]) not in core.peers.by_who
        if held.is_put:
            return is_over and not held.is_taken
        return held.is_lost or held.is_fetched or is_over and held.rerun
