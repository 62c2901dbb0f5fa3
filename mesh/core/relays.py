"""Relays: chunks of results pass through the router, between two that cannot reach each other.

It keeps none of them: what it remembers is who has asked whom, under a number of its own. A chunk
is on its way from when it is asked for until the asker says that it has read it: what a slow
asker has not read lies in this process's memory. So few of them may be on their way, in all and to
each; who asks for more is told that the router is busy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..protocol import messages as m
from ..protocol import transfer
from ..protocol.codec import DecodeError
from .peers import Peer

if TYPE_CHECKING:
    from .router import RouterCore

#: Chunks on their way at once, in all: 8 MB.
ON_WAY_MAX = 16

#: To one asker.
ON_WAY_TO_ONE_MAX = 4

#: A holder that has not answered for so long will not.
ANSWER_S = 10.0


class _Asked:
    """A chunk that is on its way: who asked whom for it, where, and what for."""

    __slots__ = ("asker", "at", "get", "holder", "is_answered", "store")

    def __init__(self, asker: Peer, holder: Peer, store: str, get: transfer.Get, at: float) -> None:
        self.asker, self.holder, self.store, self.get, self.at = asker, holder, store, get, at
        self.is_answered = False


class Relays:
    """Relays for `core`."""

    def __init__(self, core: RouterCore) -> None:
        self._core = core
        self._asked: dict[int, _Asked] = {}
        self._number = 0

    def __len__(self) -> int:
        return len(self._asked)

    def take(self, peer: Peer, message: m.Relay, now: float) -> None:
        """A peer asks, answers, or has read an answer."""
        if message.store:
            self._ask(peer, message, now)
            return
        asked = self._asked.get(message.number)
        if asked is None:
            return  # it has taken too long
        if not message.head:
            if asked.asker is peer:
                del self._asked[message.number]
        elif asked.holder is peer and not asked.is_answered:
            asked.is_answered = True
            self._pass_on(asked, message.number, message.head, message.content, now)

    def _ask(self, peer: Peer, message: m.Relay, now: float) -> None:
        try:
            get = transfer.parse_get(message.head)
        except DecodeError:
            return  # nobody could answer it
        worker = self._core.fleet.workers.get(message.store)
        holder = None if worker is None else worker.peer
        mine = sum(each.asker is peer for each in self._asked.values())
        if holder is None:
            self._refuse(peer, message.store, get, transfer.AWAY, now)
        elif len(self._asked) >= ON_WAY_MAX or mine >= ON_WAY_TO_ONE_MAX:
            self._refuse(peer, message.store, get, transfer.BUSY, now)
        else:
            self._number += 1
            self._asked[self._number] = _Asked(peer, holder, message.store, get, now)
            self._core.peers.send(holder, m.Relay("", self._number, message.head, b""), now)

    def _refuse(self, peer: Peer, store: str, get: transfer.Get, op: int, now: float) -> None:
        head = transfer.pack_later(op, get.token, get.offset)
        self._core.peers.send(peer, m.Relay(store, 0, head, b""), now)

    def _pass_on(
        self, asked: _Asked, number: int, head: bytes, content: object, now: float
    ) -> None:
        if self._core.peers.by_id.get(asked.asker.id) is asked.asker:
            self._core.peers.send(asked.asker, m.Relay(asked.store, number, head, content), now)
        else:
            self._asked.pop(number, None)

    def dropped(self, peer: Peer, now: float) -> None:
        """A peer's connection is no more."""
        for number, asked in list(self._asked.items()):
            if asked.asker is peer:
                del self._asked[number]
            elif asked.holder is peer and not asked.is_answered:
                del self._asked[number]
                self._refuse(asked.asker, asked.store, asked.get, transfer.AWAY, now)

    def tick(self, now: float) -> None:
        """See who has not answered."""
        for number, asked in list(self._asked.items()):
            if not asked.is_answered and now - asked.at >= ANSWER_S:
                del self._asked[number]
