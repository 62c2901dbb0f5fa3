"""Stall: the store has no room, and nothing more can be recorded for now.

What is in memory goes on: outcomes are told, workers heard. What would need more of the store
waits: clients' new tasks stay in line, unacknowledged, so that the senders hold back; nothing is
dispatched, so that outcomes nobody can record do not pile up. It ends with the next commit.
"""

from __future__ import annotations

from collections import deque

from ..protocol import messages as m
from ..protocol.link import Envelope
from ..protocol.messages import Message
from .peers import Peer

#: What asks for more room in the store.
_GROWS: tuple[type[Message], ...] = (m.Function, m.Group, m.Submit)


class Stall:
    """`reason` says why, since `since`; None and meaningless while there is room."""

    def __init__(self) -> None:
        self.reason: str | None = None
        self.since = 0.0
        self._stuck: list[Peer] = []

    def begin(self, reason: str, now: float) -> None:
        """There is no room."""
        if self.reason is None:
            self.since = now
        self.reason = reason

    def end(self) -> list[Peer]:
        """There is room again: those whose messages wait for it."""
        self.reason = None
        stuck, self._stuck = self._stuck, []
        return stuck

    def holds(self, peer: Peer, envelope: Envelope) -> bool:
        """Whether a message must wait. It is at the head of its peer's line then."""
        if self.reason is None or type(envelope.message) not in _GROWS:
            return False
        peer.parked = deque([envelope])
        self._stuck.append(peer)
        return True
