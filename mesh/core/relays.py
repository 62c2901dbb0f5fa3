"""Relays: chunks pass through the router, between two that cannot reach each other: of results, to
who asks for them; of what a client puts, to its home worker.

It keeps none of them: what it remembers is who has asked whom, under a number of its own. A chunk
is on its way from when it is asked for, or sent, until the asker says that it has read the answer:
what a slow reader has not read lies in this process's memory. So few of them may be on their way,
in all and of each asker; who wants more is told that the router is busy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ..protocol import messages as m
from ..protocol import transfer, upload
from ..protocol.codec import DecodeError
from .peers import Peer
from .rights import CLIENT

if TYPE_CHECKING:
    from .router import RouterCore

#: Chunks on their way at once, in all: 8 MB.
ON_WAY_MAX = 16

#: To one asker.
ON_WAY_TO_ONE_MAX = 4

#: A holder that has not answered for so long will not.
ANSWER_S = 10.0


class _Chunk(NamedTuple):
    """Which chunk of an asker's; `is_part`: it is sent, not asked for."""

    token: int
    offset: int
    is_part: bool

    def busy(self) -> bytes:
        """The head of "there is no room for it now"."""
        if self.is_part:
            return upload.pack_answer(upload.BUSY, self.token, self.offset)
        return transfer.pack_later(transfer.BUSY, self.token, self.offset)

    def away(self) -> bytes:
        """The head of "nobody is there"."""
        if self.is_part:
            return upload.pack_answer(upload.AWAY, self.token, self.offset)
        return transfer.pack_later(transfer.AWAY, self.token, self.offset)


class _Asked:
    """A chunk that is on its way: who asked whom for it, where, and since when."""

    __slots__ = ("asker", "at", "chunk", "holder", "is_answered", "store")

    def __init__(self, asker: Peer, holder: Peer, store: str, chunk: _Chunk, at: float) -> None:
        self.asker, self.holder, self.store, self.chunk, self.at = asker, holder, store, chunk, at
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
            chunk = _chunk_of(peer, message)
        except DecodeError:
            return  # nobody could answer it
        worker = self._core.fleet.workers.get(message.store)
        holder = None if worker is None else worker.peer
        mine = sum(each.asker is peer for each in self._asked.values())
        if holder is None:
            self._refuse(peer, message.store, chunk.away(), now)
        elif len(self._asked) >= ON_WAY_MAX or mine >= ON_WAY_TO_ONE_MAX:
            self._refuse(peer, message.store, chunk.busy(), now)
        else:
            self._number += 1
            self._asked[self._number] = _Asked(peer, holder, message.store, chunk, now)
            passed = m.Relay("", self._number, message.head, message.content)
            self._core.peers.send(holder, passed, now)

    def _refuse(self, peer: Peer, store: str, head: bytes, now: float) -> None:
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
                self._refuse(asked.asker, asked.store, asked.chunk.away(), now)

    def tick(self, now: float) -> None:
        """See who has not answered."""
        for number, asked in list(self._asked.items()):
            # a part that was not read lies here for as long as its worker is not given up
            lost_after_s = self._core.settings.lost_after_s if asked.chunk.is_part else 0.0
            if not asked.is_answered and now - asked.at >= max(ANSWER_S, lost_after_s):
                del self._asked[number]


def _chunk_of(peer: Peer, message: m.Relay) -> _Chunk:
    """Which chunk `peer` asks for or sends.

    Raises:
        DecodeError: none, or it is not for it to send.
    """
    frames = [message.head, message.content]
    if not upload.is_part(frames):
        get = transfer.parse_get(message.head)
        return _Chunk(get.token, get.offset, False)
    if peer.role != CLIENT:
        raise DecodeError("a worker puts nothing")
    part, _ = upload.parse_part(frames)
    return _Chunk(part.token, part.offset, True)
