"""A wire that cannot be trusted, at ZeroMQ's level, between a router and the peers that dial it.

A ROUTER faces the peers, and one DEALER a peer faces the real router, which sees each as a peer of
its own. Whole messages are dropped, repeated, and held up while others overtake them; now and then
all connections break at once. Which message meets what is up to a seeded generator, how they
interleave up to the machine. It knows nothing of what messages mean.
"""

from __future__ import annotations

import heapq
import itertools
import random
import socket
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import zmq

Frames = list[bytes]

#: Longer than any test, and a timeout that poll() takes.
NEVER_S = 3600.0


class ZmqProxy:
    """Forwards from `front`, an ipc address to be bound, to the router at `back`. A context.

    Args:
        seed: of the generator.
        drop, repeat, delay: the shares of messages that meet it, in each direction.
        delay_s: a message that is held up waits so long at most.
        cut_every_s: all connections break this often; None: never.

    Attributes:
        met: how many messages met what ("dropped", "repeated", "delayed", "passed"), and "cut".
    """

    def __init__(
        self,
        front: str,
        back: str,
        seed: int,
        *,
        drop: float = 0.0,
        repeat: float = 0.0,
        delay: float = 0.0,
        delay_s: float = 0.1,
        cut_every_s: float | None = None,
    ) -> None:
        self.address = front
        self.met: Counter[str] = Counter()
        self._back = back
        self._chance = random.Random(seed)
        self._drop, self._repeat, self._delay = drop, repeat, delay
        self._delay_s = delay_s
        self._cut_every_s = cut_every_s or NEVER_S
        self._calm = self._closing = False
        self._late: list[tuple[float, int, bytes, bool, Frames]] = []
        self._order = itertools.count()
        self._ours, self._theirs = socket.socketpair()
        self._context: zmq.Context[Any] = zmq.Context()
        self._backs: dict[bytes, zmq.Socket[bytes]] = {}
        self._open()
        self._thread = threading.Thread(target=self._run, name="zmq-proxy")
        self._thread.start()

    def calm(self) -> None:
        """From now on every message passes."""
        self._calm = True
        self._ours.send(b"\0")

    def __enter__(self) -> ZmqProxy:
        return self

    def __exit__(self, *about: object) -> None:
        self._closing = True
        self._ours.send(b"\0")
        self._thread.join()
        self._ours.close()
        self._theirs.close()
        self._context.term()
        Path(self.address.removeprefix("ipc://")).unlink(missing_ok=True)

    # -- in the thread -----------------------------------------------------------------------

    def _open(self) -> None:
        self._front: zmq.Socket[bytes] = self._context.socket(zmq.ROUTER)
        self._front.setsockopt(zmq.LINGER, 0)
        self._front.setsockopt(zmq.ROUTER_MANDATORY, 1)
        self._front.bind(self.address)
        self._poller = zmq.Poller()
        self._poller.register(self._front, zmq.POLLIN)
        self._poller.register(self._theirs, zmq.POLLIN)

    def _run(self) -> None:
        try:
            self._forward()
        finally:
            self._close_all()

    def _forward(self) -> None:
        cut_at = time.monotonic() + self._cut_every_s
        while not self._closing:
            due = min([cut_at, *(each[0] for each in self._late[:1])])
            ready = dict(self._poller.poll(max(0.0, due - time.monotonic()) * 1000 + 1))
            if self._theirs.fileno() in ready:
                self._theirs.recv(4096)
            if self._front in ready:
                peer, *frames = self._front.recv_multipart()
                self._meet(peer, True, frames)
            for peer, back in list(self._backs.items()):
                if back in ready:
                    self._meet(peer, False, back.recv_multipart())
            now = time.monotonic()
            while self._late and self._late[0][0] <= now:
                _, _, peer, up, frames = heapq.heappop(self._late)
                self._pass(peer, up, frames)
            if now >= cut_at:
                cut_at = now + self._cut_every_s
                if not self._calm:
                    self._cut()

    def _meet(self, peer: bytes, up: bool, frames: Frames) -> None:
        """Something happens to a message, mostly nothing."""
        chance = self._chance.random()
        if self._calm or chance > self._drop + self._repeat + self._delay:
            self.met["passed"] += 1
            self._pass(peer, up, frames)
        elif chance < self._drop:
            self.met["dropped"] += 1
        elif chance < self._drop + self._repeat:
            self.met["repeated"] += 1
            self._pass(peer, up, frames)
            self._hold(peer, up, frames)
        else:
            self.met["delayed"] += 1
            self._hold(peer, up, frames)

    def _hold(self, peer: bytes, up: bool, frames: Frames) -> None:
        at = time.monotonic() + self._chance.random() * self._delay_s
        heapq.heappush(self._late, (at, next(self._order), peer, up, frames))

    def _pass(self, peer: bytes, up: bool, frames: Frames) -> None:
        try:
            if up:
                self._back_of(peer).send_multipart(frames, zmq.DONTWAIT)
            else:
                self._front.send_multipart([peer, *frames], zmq.DONTWAIT)
        except zmq.ZMQError:  # the peer is gone: so is its connection to the router
            self._hang_up(peer)

    def _back_of(self, peer: bytes) -> zmq.Socket[bytes]:
        back = self._backs.get(peer)
        if back is None:
            back = self._backs[peer] = self._context.socket(zmq.DEALER)
            back.setsockopt(zmq.LINGER, 0)
            back.setsockopt(zmq.RECONNECT_IVL, 20)
            back.connect(self._back)
            self._poller.register(back, zmq.POLLIN)
        return back

    def _hang_up(self, peer: bytes) -> None:
        back = self._backs.pop(peer, None)
        if back is not None:
            self._poller.unregister(back)
            back.close()

    def _cut(self) -> None:
        """All connections break, on both sides, with what is on them."""
        self.met["cut"] += 1
        self._close_all()
        self._late.clear()
        self._open()

    def _close_all(self) -> None:
        for peer in list(self._backs):
            self._hang_up(peer)
        self._front.close()
