"""Listeners: clients that want to hear what tasks print while they run.

The router passes it on and keeps nothing: workers are told which tasks anybody listens to, and
what they tell goes to each client that listens, if that reads. To one that does not, little is on
its way, and it lacks the rest; the outcome brings all of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..protocol import messages as m
from .member import Member
from .news import OUTCOME_BYTES
from .peers import Peer
from .tails import covers

if TYPE_CHECKING:
    from .router import RouterCore

#: The spans that one client may listen to: each is looked at for each piece of output.
SPANS_MAX = 256

#: News on their way to one client, unacknowledged, beyond which it is told no output.
ON_WAY_BYTES_MAX = 1024 * 1024


class Listeners:
    """For `core`."""

    def __init__(self, core: RouterCore) -> None:
        self._core = core
        self._spans: dict[Peer, list[list[Any]]] = {}
        self._told: list[list[Any]] = []  # to the workers

    def take_listen(self, peer: Peer, message: m.Listen, now: float) -> None:
        """A client says what it listens to: nothing else any more."""
        if len(message.spans) > SPANS_MAX:
            error = m.Error("MeshError", f"LISTEN takes {SPANS_MAX} spans at most")
            self._core.peers.send(peer, error, now)
            return
        self._spans.pop(peer, None)
        if message.spans:
            self._spans[peer] = message.spans
        self._tell(now)

    def dropped(self, peer: Peer, now: float) -> None:
        """A peer's connection is no more."""
        if self._spans.pop(peer, None) is not None:
            self._tell(now)

    def greeted(self, peer: Peer, now: float) -> None:
        """A worker has come: nobody listens, as far as it knows."""
        if self._told:
            self._core.peers.send(peer, m.Listen(self._told), now)

    def _tell(self, now: float) -> None:
        spans = {tuple(span): span for each in self._spans.values() for span in each}
        if [*spans.values()] == self._told:
            return
        self._told = [*spans.values()]
        for worker in self._core.fleet:
            if worker.peer is not None:
                self._core.peers.send(worker.peer, m.Listen(self._told), now)

    def take_printed(self, worker: Member, message: m.Printed, now: float) -> None:
        """A task has printed something, at the worker that has its lease."""
        block, i, _ = worker.held.get(message.lease, (None, 0, 0.0))
        if block is None or (block.session, block.first + i) != (message.session, message.counter):
            return
        for peer, spans in self._spans.items():
            if peer.news.on_way_bytes < ON_WAY_BYTES_MAX and covers(
                spans, message.session, message.counter
            ):
                self._core.peers.send(peer, message, now)
                peer.news.sent(peer.link.sent, len(message.text) + OUTCOME_BYTES)
