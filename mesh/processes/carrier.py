"""Carrier: connections to the holders of results, and the chunks that come over them.

Workers and clients fetch by it. Which chunk to ask whom for is up to core/chunks.py; what becomes
of the bytes, to its owner. One connection a holder, kept and shared; where there is none to be had,
the router relays.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, Protocol

import zmq

from ..core.chunks import BY_ROUTER, Chunks, Failure, Way
from ..protocol import messages as m
from ..protocol import transfer
from ..protocol.codec import DecodeError
from ..transport.keys import Pair
from ..transport.poller import Poller
from ..transport.sockets import Dialer

#: Connections to holders that are kept: to more than this nobody talks in the same moment.
DIALERS_MAX = 16


class Owner(Protocol):
    """Who wants what a carrier brings."""

    def write(self, token: int, content: Any, offset: int, now: float) -> None:
        """A chunk has come: bytes, or a view of them that is good until this returns."""

    def whole(self, token: int, now: float) -> None:
        """All of them have."""


class Carrier:
    """Brings chunks to `owner`. `poller` waits for its connections, which are made in `context`;
    `relay` sends what goes through the router, if there is one that relays; `say` takes a line for
    a log; `own` is the key pair that opens holders' doors, in a mesh that has some."""

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        poller: Poller,
        owner: Owner,
        relay: Callable[[m.Relay], None] | None,
        say: Callable[[str], None],
        own: Pair | None,
    ) -> None:
        self.chunks = Chunks(0.0, random.random, can_relay=relay is not None)
        self._context, self._poller, self._owner = context, poller, owner
        self._relay, self._say, self._own = relay, say, own
        self._dialers: dict[str, tuple[str, Dialer]] = {}  # address → store and connection

    def hear(self, ready: set[Any], now: float) -> None:
        """Take what has come from holders."""
        for address, (store, dialer) in list(self._dialers.items()):
            if dialer.monitor in ready and "cut" in dialer.changes():
                self.chunks.cut(address, now)
            if dialer.socket in ready:
                for frames in dialer.receive_large():
                    self._take(Way(store, address), frames, now)

    def hear_relayed(self, message: m.Relay, now: float) -> None:
        """Take what has come by way of the router, and say that it was read."""
        self._take(Way(message.store, BY_ROUTER), [message.head, message.content], now)
        if message.number and self._relay is not None:
            self._relay(m.Relay("", message.number, b"", b""))

    def _take(self, way: Way, frames: list[Any], now: float) -> None:
        chunks = self.chunks
        try:
            op, token, offset, total = transfer.parse_reply(frames[0])
        except DecodeError as error:
            self._say(f"store {way.store} sent what is no chunk: {error}")
            return
        content = frames[1] if len(frames) > 1 else b""
        if op == transfer.LOST:
            chunks.lose(token, way.store, bytes(content).decode("utf-8", "replace"), now)
        elif op == transfer.BUSY:
            chunks.busy(token, offset, now)
        elif op == transfer.AWAY:
            chunks.away(way.store, now)
        elif chunks.take(token, way, offset, len(content), total, now):
            self._owner.write(token, content, offset, now)
            if token in chunks and chunks.is_whole(token):
                self._owner.whole(token, now)

    def settle(self, now: float) -> list[Failure]:
        """Ask for what is to be asked for; what has no hope left, to be ended."""
        failures = self.chunks.silent(now)
        hopeless = {failure.token for failure in failures}
        for way, get in self.chunks.requests(now):
            if get.token in hopeless:
                continue
            if way.address != BY_ROUTER:
                self._dialer(way).send([transfer.pack_get(get)])
            elif self._relay is not None:
                self._relay(m.Relay(way.store, 0, transfer.pack_get(get), b""))
        return failures

    def _dialer(self, way: Way) -> Dialer:
        """The connection to an address; that which was used longest ago makes room for it."""
        known = self._dialers.pop(way.address, None)
        if known is None:
            busy = {each.address for each in self.chunks.asked}
            for address in list(self._dialers):
                if len(self._dialers) < DIALERS_MAX:
                    break
                if address not in busy:
                    self._hang_up(address)
            dialer = Dialer(self._context, way.address, self._own)
            self._poller.add(dialer.socket)
            self._poller.add(dialer.monitor, quiet=True)
            known = (way.store, dialer)
        self._dialers[way.address] = known  # the last one used is last
        return known[1]

    def _hang_up(self, address: str) -> None:
        _, dialer = self._dialers.pop(address)
        self._poller.remove(dialer.socket)
        self._poller.remove(dialer.monitor)
        dialer.close()

    def close(self) -> None:
        """Hang up on everybody."""
        for address in list(self._dialers):
            self._hang_up(address)


def reachable(addresses: str, *, is_here: bool, own: Pair | None) -> list[str]:
    """Those of a store's addresses that may be dialled from here, with the key pair `own`, if there
    is one; `is_here`: it is on this host."""
    found = addresses.split()
    return [each for each in found if (is_here if each.startswith("ipc://") else own is not None)]
