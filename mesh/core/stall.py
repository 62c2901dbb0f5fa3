"""Stall: the store has no room, and nothing more can be recorded for now.

What is in memory goes on: outcomes are told, workers heard. What would need more of the store
waits: clients' new tasks stay in line, unacknowledged, so that the senders hold back; nothing is
dispatched, so that outcomes nobody can record do not pile up. It ends with the next commit.

What needs no room passes those that wait for it: questions, and what a client wants to hear of.
"""

from __future__ import annotations

from collections import deque

from ..protocol import messages as m
from ..protocol.link import Envelope
from ..protocol.messages import Message
from .peers import Peer

#: What asks for more room in the store.
_GROWS: tuple[type[Message], ...] = (m.Function, m.Group, m.Submit, m.Put)


class Stall:
    """`reason` says why nothing can be recorded, or is None; `full` why nothing new should be,
    though what is there may go on: the quota is used up."""

    def __init__(self) -> None:
        self.reason: str | None = None
        self.full: str | None = None
        self._stuck: dict[Peer, None] = {}

    @property
    def why(self) -> str | None:
        """Why new tasks wait, if they do."""
        return self.reason or self.full

    def begin(self, reason: str) -> None:
        """The disk has no room."""
        self.reason = reason

    def end(self) -> None:
        """It has again."""
        self.reason = None

    def fill(self, reason: str) -> None:
        """The quota is used up."""
        self.full = reason

    def ease(self) -> None:
        """It is not, or there is something that may go."""
        self.full = None

    def holds(self, peer: Peer, envelope: Envelope) -> bool:
        """Whether a message must wait. It is at the head of its peer's line then."""
        if self.why is None or type(envelope.message) not in _GROWS:
            return False
        peer.parked = deque([envelope])
        self._stuck = {each: None for each in self._stuck if each.is_parked}  # the others have gone
        self._stuck[peer] = None
        return True

    def may_pass(self, peer: Peer) -> bool:
        """Whether what `peer` has parked waits for room: that may be for long."""
        return self.why is not None and peer in self._stuck

    def freed(self) -> list[Peer]:
        """Those whose messages waited, and need not any more."""
        if self.why is not None or not self._stuck:
            return []
        stuck, self._stuck = self._stuck, {}
        return list(stuck)
