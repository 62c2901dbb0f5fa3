"""The link: what makes messages certain over a socket that promises nothing.

A peer dials the router and opens a *session* with HELLO. Within it every message that matters has
a sequence number, and every message carries the cumulative acknowledgement of the other
direction. ZeroMQ keeps order but may lose a tail when a connection breaks, so:

* a number seen before is dropped, a number that skips one is a `Gap`;
* a message of an older session is dropped: a new HELLO fences what is still on its way; but an
  ERROR of session 0, which no link has, is heard;
* the dialling side keeps what was not acknowledged and sends it again in its next session. The
  router keeps nothing for a peer: what it owes is in its records, and the peer asks for it.

Unsequenced messages (BEAT, HELLO, ...) carry the last number, so that a lost tail is noticed by
the next heartbeat. The router's acknowledgement means *recorded*, not received: see `record`.

The link is pure: no clock, no socket.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from .messages import Error, Message


@dataclass(slots=True)
class Envelope:
    """A message with its place in the link: session, sequence number, cumulative ack."""

    session: int
    sequence: int
    ack: int
    message: Message


class Gap(Exception):
    """A message is missing: the link must be opened anew."""


class Link:
    """One side of a link.

    Args:
        keeps: True on the dialling side, which sends again what was not acknowledged.
    """

    __slots__ = ("keeps", "received", "recorded", "sent", "session", "told", "unacked")

    def __init__(self, *, keeps: bool) -> None:
        self.keeps = keeps
        self.session = 0
        self.sent = 0  # the last number given out
        self.received = 0  # the last number taken, without a gap
        self.recorded = 0  # what we acknowledge
        self.told = 0  # the last acknowledgement that left
        self.unacked: deque[tuple[int, Message]] = deque()

    def open(self, session: int | None = None) -> list[Message]:
        """Begin the next session (or the peer's `session`); what has to be sent again."""
        again = [message for _, message in self.unacked]
        self.unacked.clear()
        self.session = self.session + 1 if session is None else session
        self.sent = self.received = self.recorded = self.told = 0
        return again

    def stamp(self, message: Message) -> Envelope:
        """Number `message` for sending."""
        if message.SEQUENCED:
            self.sent += 1
            if self.keeps:
                self.unacked.append((self.sent, message))
        self.told = self.recorded
        return Envelope(self.session, self.sent, self.recorded, message)

    def accept(self, envelope: Envelope) -> bool:
        """Whether `envelope` is new and next. Takes its acknowledgement.

        Raises:
            Gap: a message before it never came.
        """
        if envelope.session != self.session:
            # Who has no link yet is told in none why it gets none: only the dialling side listens.
            in_none = not envelope.session and type(envelope.message) is Error
            return in_none and self.keeps
        unacked = self.unacked
        while unacked and unacked[0][0] <= envelope.ack:
            unacked.popleft()
        if not envelope.message.SEQUENCED:
            if envelope.sequence > self.received:
                raise Gap
            return True
        if envelope.sequence <= self.received:
            return False
        if envelope.sequence != self.received + 1:
            raise Gap
        self.received = envelope.sequence
        return True

    def record(self, sequence: int) -> None:
        """Acknowledge up to `sequence` from now on."""
        if sequence > self.recorded:
            self.recorded = sequence

    @property
    def owes_ack(self) -> bool:
        """Whether an acknowledgement has not left yet."""
        return self.recorded > self.told
