"""Who is connected to the router: links, roles, heartbeats, and acknowledgements.

A judge counts only time in which it was itself reading: when the router was stopped or its loop
stalled, `rest` moves every peer's clock forward by the time lost, so that nobody is given up for
the router's own silence.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from ..protocol.link import Envelope, Link
from ..protocol.messages import Error, Keys, Message
from .events import Settings
from .news import News
from .rights import ADMIN, WORKER

#: An acknowledgement waits this long for a message to travel with: most find one, and a
#: message of its own per commit would cost each round trip two more.
ACK_DELAY_S = 0.005


class Peer:
    """One dialled-in process.

    Attributes:
        id: its routing id, new with each connection.
        who: its identity: a client's session, a worker's store id.
        parked: envelopes that wait behind one which needs a lookup, or that one itself if it needs
            room in the store; or None.
        news: the outcomes that it is to hear.
        rights: the role of its key; `far`, whether it has come by TCP.
        mismatch: why it may not exchange pickles with the mesh, if so.
        tallies: of cancellations that have begun and wait in `parked` for their verdict, by token.
    """

    __slots__ = (
        "far",
        "id",
        "incarnation",
        "last_heard",
        "last_sent",
        "link",
        "mismatch",
        "news",
        "parked",
        "rights",
        "role",
        "tallies",
        "who",
    )

    def __init__(self, id: bytes, role: str, who: str, incarnation: bytes, now: float) -> None:
        self.id = id
        self.rights = ADMIN
        self.far = False
        self.mismatch: Error | None = None
        self.role = role
        self.who = who
        self.incarnation = incarnation
        self.link = Link(keeps=False)
        self.last_heard = self.last_sent = now
        self.parked: deque[Envelope] | None = None
        self.news = News()
        self.tallies: dict[int, dict[str, int]] = {}

    @property
    def is_parked(self) -> bool:
        """Whether its messages wait for the store."""
        return self.parked is not None


class Peers:
    """All of them.

    Attributes:
        by_id, by_who: by routing id and by identity.
        listeners: those that have news to hear at the end of this turn; `behind` those that are
            owed older ones; and `owing`, since when, those that are owed an acknowledgement: of a
            thousand peers a turn concerns a few.
        outgoing: what this turn sends.
        keys: the public keys that are let in by TCP, with the role of each.
        runs: which versions of what the router runs; empty: nobody is judged by that.
    """

    def __init__(self) -> None:
        self.by_id: dict[bytes, Peer] = {}
        self.by_who: dict[tuple[str, str], Peer] = {}
        self.listeners: dict[Peer, None] = {}  # in the order in which there was something to tell
        self.behind: dict[Peer, None] = {}
        self.owing: dict[Peer, float] = {}
        self.outgoing: list[tuple[bytes, Envelope]] = []
        self.keys: dict[str, str] = {}
        self.runs: dict[str, str] = {}

    def add(self, peer: Peer) -> None:
        """Take in `peer`, in place of those of its routing id or identity: `drop` them, too."""
        self.by_id[peer.id] = peer
        self.by_who[peer.role, peer.who] = peer

    def drop(self, peer: Peer) -> None:
        """Forget `peer`, and what waits in its line: where it was, it is sent again."""
        peer.parked = None
        if self.by_id.get(peer.id) is peer:
            del self.by_id[peer.id]
        self.listeners.pop(peer, None)
        self.behind.pop(peer, None)
        self.owing.pop(peer, None)
        if self.by_who.get((peer.role, peer.who)) is peer:
            del self.by_who[peer.role, peer.who]

    def send(self, peer: Peer, message: Message, now: float) -> None:
        """Queue `message` for `peer`."""
        peer.last_sent = now
        self.owing.pop(peer, None)
        self.outgoing.append((peer.id, peer.link.stamp(message)))

    def renew(self, keys: dict[str, str], now: float) -> None:
        """From now on these are the public keys, with the role of each, and no others."""
        self.keys = keys
        for peer in self.by_id.values():
            if peer.role == WORKER:
                self.send(peer, Keys(keys), now)

    def tell(
        self, peer: Peer, session: str, counters: list[int], kinds: Any, bodies: list[Any]
    ) -> None:
        """Add outcomes to what `peer` will hear at the end of this turn, if it is still there."""
        if self.by_id.get(peer.id) is not peer:
            return
        self.listeners[peer] = None
        peer.news.add(session, counters, kinds, bodies)

    def owe(self, peer: Peer, spans: list[tuple[str, int, int]]) -> None:
        """`peer`, if it is still there, will hear of these tasks what the store knows."""
        if self.by_id.get(peer.id) is peer:
            self.behind[peer] = None
            for session, first, count in spans:
                peer.news.owe(session, range(first, first + count))

    @staticmethod
    def patience_s(peer: Peer, settings: Settings) -> float:
        """How long `peer` may be silent: a network has its moments, this host has none."""
        return settings.lost_after_s * (settings.far_factor if peer.far else 1.0)

    def rest(self, lost_s: float) -> None:
        """The router did not read for `lost_s`: nobody's silence during it counts."""
        for peer in self.by_id.values():
            peer.last_heard += lost_s
