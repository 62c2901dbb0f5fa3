"""Probe: tries addresses, all at once, and says what came of each: a handshake with the key that
one has, and nothing more. It ends in time, whoever is silent."""

from __future__ import annotations

import time
from collections.abc import Iterable

import zmq

from ..errors import MeshError
from .interfaces import numeric
from .keys import Pair
from .route import WHY
from .sockets import Dialer, context

#: A handshake across the world takes a second; who has not answered by then drops what comes.
PROBE_S = 4.0


def probe(
    addresses: Iterable[str], own: Pair | None, within_s: float = PROBE_S
) -> dict[str, str | float]:
    """Each of `addresses`, as a `Dialer` takes them, and what came of it: after how many seconds it
    let us in with the key pair `own`, or why it did not."""
    found: dict[str, str | float] = {}
    dialers: dict[zmq.Socket[bytes], Dialer] = {}
    made, poller = context(), zmq.Poller()
    begun = time.monotonic()
    for address in dict.fromkeys(addresses):
        try:
            if address.startswith("tcp://"):
                numeric(address.partition("#")[0])  # libzmq does not tell of an unknown name
            dialer = Dialer(made, address, own)
        except MeshError as error:
            found[address] = str(error)
            continue
        dialers[dialer.monitor] = dialer
        poller.register(dialer.monitor, zmq.POLLIN)
    open_ones = set(dialers)
    try:
        while open_ones and (left_s := begun + within_s - time.monotonic()) > 0:
            for monitor, _ in poller.poll(int(left_s * 1000) + 1):
                for change in dialers[monitor].changes():
                    if monitor not in open_ones:
                        break  # who refuses hangs up, too
                    took_s = time.monotonic() - begun
                    address = dialers[monitor].address
                    found[address] = took_s if change == "connected" else WHY[change]
                    open_ones.discard(monitor)
                    poller.unregister(monitor)
        return found | {dialers[each].address: WHY[""] for each in open_ones}
    finally:
        for dialer in dialers.values():
            dialer.close()
        made.term()
