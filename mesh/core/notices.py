"""Notices: what clients should know without having asked.

One is sent once per client and occasion, never again while the occasion lasts. It may be lost:
nothing depends on it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..protocol import messages as m
from ..task import State

if TYPE_CHECKING:
    from .router import RouterCore

_QUEUED = int(State.QUEUED)

#: A worker that is started anew is there again by then.
NO_WORKER_S = 5.0

NO_WORKER = "no worker"


class Notices:
    """Tells clients for `core`."""

    def __init__(self, core: RouterCore) -> None:
        self._core = core
        self._without_since: float | None = None
        self._told: set[str] = set()

    def tick(self, now: float) -> None:
        """Tell those whose tasks wait while nobody could run them."""
        core = self._core
        able = any(worker.slots and worker.peer is not None for worker in core.fleet)
        if able or core.stopping or not core.ledger.counts[_QUEUED]:
            self._without_since = None
            self._told.clear()
            return
        if self._without_since is None:
            self._without_since = now
        for_s = now - self._without_since
        if for_s < NO_WORKER_S:
            return
        for (role, who), peer in core.peers.by_who.items():
            if role != "client" or who in self._told:
                continue
            queued = sum(
                block.states.count(_QUEUED)
                for block in core.ledger.blocks.of(who, watched_by=peer.id)
            )
            if queued:
                self._told.add(who)
                about = {"queued": queued, "for_s": round(for_s, 3)}
                core.peers.send(peer, m.Event(NO_WORKER, about), now)
