"""Notices: what clients should know without having asked.

One is sent once per client and occasion, never again while the occasion lasts; a disk that has now
room and now none is one occasion after the other, and not each is told. It may be lost: nothing
depends on it.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from ..protocol import messages as m
from ..task import State
from . import refusals
from .need import Need
from .peers import Peer

if TYPE_CHECKING:
    from .router import RouterCore

_QUEUED = int(State.QUEUED)

#: A worker that is started anew is there again by then.
NO_WORKER_S = 5.0

#: That there is no room is not told so soon after it was told that there is: who submits waits
#: meanwhile, and need not know why.
CALM_S = 5.0

#: So many needs are looked at: who is told of these looks after the others as well.
NEEDS_MAX = 64

NO_WORKER = "no worker"
NO_ROOM = "no room"
ROOM = "room"
OWNER_GONE = "owner gone"
NO_ABLE = "none able"


class Notices:
    """Tells clients for `core`."""

    def __init__(self, core: RouterCore) -> None:
        self._core = core
        self._without_since: float | None = None
        self._room_at = -CALM_S  # when it was last told that there is room again
        self._told: dict[str, set[str]] = {NO_WORKER: set(), NO_ROOM: set()}
        self._told_of: dict[Need, set[str]] = {}  # who knows that nobody has that
        self._unable_since: dict[Need, float] = {}

    def welcomed(self, who: str) -> None:
        """A client has dialled anew, and may have missed that there is room again: if there is
        none, it is told so once more."""
        self._told[NO_ROOM].discard(who)

    def orphaned(self, now: float) -> None:
        """The mesh ends since its owner is gone, and not because anybody wanted it to."""
        for (role, _), peer in self._core.peers.by_who.items():
            if role == "client":
                self._core.peers.send(peer, m.Event(OWNER_GONE, {}), now)

    def tick(self, now: float) -> None:
        """Tell who does not know it yet."""
        self._workers(now)
        self._needs(now)
        self._room(now)

    def _needs(self, now: float) -> None:
        """Those whose tasks wait for what no worker has, while there are workers; once for each
        need."""
        core, since = self._core, self._unable_since
        unable = {
            queue.need: queue
            for queue in islice(core.ledger.ready.needs.values(), NEEDS_MAX)
            if not any(
                worker.takes and worker.capacity.lacks(queue.need, now) is None
                for worker in core.fleet
            )
        }
        self._unable_since = {need: since.get(need, now) for need in unable}
        self._told_of = {need: who for need, who in self._told_of.items() if need in unable}
        if core.stopping or not any(worker.takes for worker in core.fleet):
            return
        for need, queue in unable.items():
            if now - self._unable_since[need] < NO_WORKER_S:
                continue
            told = self._told_of.setdefault(need, set())
            for session in queue.sessions:
                peer = core.peers.by_who.get(("client", session))
                if peer is not None and session not in told:
                    told.add(session)
                    about = {"waits_for": refusals.of_need(core, need, now)["waits_for"]}
                    core.peers.send(peer, m.Event(NO_ABLE, about), now)

    def _workers(self, now: float) -> None:
        """Those whose tasks wait while nobody could run them."""
        core = self._core
        able = any(worker.slots and worker.peer is not None for worker in core.fleet)
        if able or core.stopping or not core.ledger.counts[_QUEUED]:
            self._without_since = None
            self._told[NO_WORKER].clear()
            return
        if self._without_since is None:
            self._without_since = now
        for_s = now - self._without_since
        if for_s < NO_WORKER_S:
            return
        for who, peer in self._untold(NO_WORKER):
            queued = sum(
                block.states.count(_QUEUED)
                for block in core.ledger.blocks.of(who, watched_by=peer.id)
            )
            if queued:
                self._tell(NO_WORKER, peer, {"queued": queued, "for_s": round(for_s, 3)}, now)

    def _room(self, now: float) -> None:
        """That nothing can be recorded, and when it can again."""
        reason = self._core.stall.why
        if reason is not None:
            if now >= self._room_at + CALM_S:
                for _, peer in self._untold(NO_ROOM):
                    self._tell(NO_ROOM, peer, {"reason": reason}, now)
        elif self._told[NO_ROOM]:
            self._room_at = now
            for who in sorted(self._told[NO_ROOM]):
                told = self._core.peers.by_who.get(("client", who))
                if told is not None:
                    self._core.peers.send(told, m.Event(ROOM, {}), now)
            self._told[NO_ROOM].clear()

    def _untold(self, kind: str) -> list[tuple[str, Peer]]:
        by_who = self._core.peers.by_who.items()
        told = self._told[kind]
        return [(who, peer) for (role, who), peer in by_who if role == "client" and who not in told]

    def _tell(self, kind: str, peer: Peer, about: dict[str, Any], now: float) -> None:
        self._told[kind].add(peer.who)
        self._core.peers.send(peer, m.Event(kind, about), now)
