"""Route: the way to a router that has several addresses.

They are tried in their order: the next one when those before have failed, or are silent for a
moment. The first with which a handshake succeeds is the way, and the others are hung up; a port at
which something else answers is none. A way that was cut is dialled again by libzmq; if it stays cut
all are tried again, as the access file names them by then: the router may be back at another port.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import zmq

from .access import Access
from .poller import Poller
from .sockets import Dialer

#: An address that has not answered for so long is no reason to wait with the next.
STAGGER_S = 0.25

#: After so long without a connection the search begins anew. A router that is started again on its
#: folder is there before, at the same addresses.
SEARCH_AGAIN_S = 3.0

#: Where nobody listens the host says so at once; what has failed only after so long got no answer.
SAID_WITHIN_S = 2.5

#: What is said of an address at which it went wrong.
WHY = {
    "": "no answer",
    "cut": "hung up",
    "failed": "nobody listens there, or not this mesh",
    "refused": "does not know this key",
}


class Route:
    """The way to the router of `access`; `poller` waits for its sockets, made in `context`."""

    def __init__(
        self, context: zmq.Context[zmq.Socket[bytes]], poller: Poller, access: Access, now: float
    ) -> None:
        self._context, self._poller, self.access = context, poller, access
        self._dialers: dict[str, Dialer] = {}  # the candidates, or the chosen one
        self._dialled_at: dict[str, float] = {}
        self._chosen: Dialer | None = None
        self._left: list[str] = []  # addresses to be tried still
        self._failures: dict[str, str] = {}
        self._is_up = False
        self._is_tried = False  # something was, of this search
        self._next_at = now
        self._search(now)

    @property
    def is_refused(self) -> bool:
        """Whether somebody said that our key is not known, and nobody has let us in."""
        return self._chosen is None and "refused" in self._failures.values()

    @property
    def address(self) -> str:
        """Where the router is, or may be, for people."""
        if self._chosen is not None:
            return self._chosen.address.partition("#")[0]
        return ", ".join(self.access.addresses) or "no address"

    @property
    def is_hopeless(self) -> bool:
        """Whether nothing is to be expected: we are refused, or there is no address to be tried."""
        return self.is_refused or not self._dialers and not self._left

    def why(self) -> str:
        """What was tried, and what came of it."""
        found = {address.partition("#")[0]: WHY[how] for address, how in self._failures.items()}
        for address in self.access.addresses:
            if address.startswith("tcp://") and self.access.keys is None:
                found[address] = "for which this access file has no keys"
        tried = [f"{address} ({how})" for address, how in found.items()]
        return ", ".join(tried) or "no address of it can be reached from this host"

    def deadline(self) -> float:
        """When `look` is due at the latest."""
        return self._next_at

    def look(self, ready: set[Any], now: float) -> Iterator[str]:
        """What happened to the connection: "connected", "cut"."""
        for address, dialer in list(self._dialers.items()):
            if dialer.monitor not in ready or address not in self._dialers:
                continue
            for change in dialer.changes():
                if change == "connected":
                    self._choose(address)
                    yield change
                elif dialer is not self._chosen:
                    known = self._failures.get(address, "")
                    late = now - self._dialled_at[address] > SAID_WITHIN_S
                    if known != "refused" and (known or change != "failed" or not late):
                        self._failures[address] = change  # who refuses hangs up, too
                    if self._left:
                        self._next_at = now
                elif self._is_up:
                    self._is_up = False
                    self._next_at = now + SEARCH_AGAIN_S
                    yield "cut"
        if now >= self._next_at:
            self._go_on(now)

    def _search(self, now: float) -> None:
        """Begin to try all addresses, as they are known by now."""
        self.access = self.access.again()
        self._chosen = None
        self._left = self.access.dialled()
        for address in list(self._dialers):
            if address not in self._left or self._failures.get(address) == "refused":
                self._hang_up(address)
        known = {each: how for each, how in self._failures.items() if each in self._left}
        self._failures = {each: "" if how == "refused" else how for each, how in known.items()}
        self._is_tried = False
        self._go_on(now)

    def _go_on(self, now: float) -> None:
        """Try the next address; behind the last, wait before all are tried anew."""
        if not self._left and self._is_tried:
            self._search(now)
            return
        self._is_tried = True
        if self._left:
            self._dial(self._left.pop(0), now)
        self._next_at = now + (STAGGER_S if self._left else SEARCH_AGAIN_S)

    def _dial(self, address: str, now: float) -> None:
        self._failures.setdefault(address, "")
        if address in self._dialers:
            return
        dialer = Dialer(self._context, address, self.access.own)
        self._dialers[address], self._dialled_at[address] = dialer, now
        self._poller.add(dialer.socket)
        self._poller.add(dialer.monitor, quiet=True)

    def _choose(self, address: str) -> None:
        self._chosen, self._is_up = self._dialers[address], True
        self._next_at = math.inf
        self._left.clear()
        for other in list(self._dialers):
            if other != address:
                self._hang_up(other)

    def _hang_up(self, address: str) -> None:
        dialer = self._dialers.pop(address)
        self._poller.remove(dialer.socket)
        self._poller.remove(dialer.monitor)
        dialer.close()

    def receive(self, ready: set[Any]) -> Iterator[list[bytes]]:
        """What has come in: frames."""
        if self._chosen is not None and self._chosen.socket in ready:
            yield from self._chosen.receive()

    def send(self, frames: list[Any]) -> bool:
        """Send; False if there is no way, or it takes no more: a link sends such things again."""
        return self._chosen is not None and self._chosen.send(frames)

    def close(self, linger_ms: int = 0) -> None:
        """Disconnect. What was sent last has `linger_ms` to leave, before the context's end."""
        for dialer in self._dialers.values():
            dialer.close(linger_ms if dialer is self._chosen else 0)
        self._dialers.clear()
        self._chosen = None
