"""A wire that cannot be trusted, at TCP's level: bytes come late, connections are reset.

Bytes are never lost or changed within a connection: TCP sees to that.
"""

from __future__ import annotations

import random
import select
import socket
import struct
import threading
import time
from collections import Counter, deque

#: Longer than any test.
NEVER_S = 3600.0

#: Closing with this sends a reset instead of a farewell, as a cut does.
_RESET = struct.pack("ii", 1, 0)


class _Way:
    """One direction of a connection: what was read, and when it may be written."""

    def __init__(self, source: socket.socket, target: socket.socket) -> None:
        self.source, self.target = source, target
        self.held: deque[tuple[float, memoryview]] = deque()


class TcpProxy:
    """Listens on a loopback port and forwards to `target`, (host, port). A context.

    Args:
        seed: of the generator that chooses delays and victims.
        delay_s: bytes wait so long at most, in order.
        cut_every_s: every so often connections are reset, each with this chance: `cut_share`;
            None: never.

    Attributes:
        met: how many "connections" there were and how many were "cut".
    """

    def __init__(
        self,
        target: tuple[str, int],
        seed: int,
        *,
        delay_s: float = 0.0,
        cut_every_s: float | None = None,
        cut_share: float = 0.5,
    ) -> None:
        self.met: Counter[str] = Counter()
        self._target = target
        self._chance = random.Random(seed)
        self._delay_s = delay_s
        self._cut_every_s = cut_every_s or NEVER_S
        self._cut_share = cut_share
        self._calm = self._closing = self._is_cut = False
        self._ways: dict[socket.socket, _Way] = {}
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        self._ours, self._theirs = socket.socketpair()
        self.address = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._run, name="tcp-proxy")
        self._thread.start()

    def calm(self) -> None:
        """From now on bytes pass at once and nothing is cut."""
        self._calm = True
        self._ours.send(b"\0")

    def cut(self) -> None:
        """All connections are reset, and new ones refused until `mend`."""
        self._is_cut = True
        self._ours.send(b"\0")

    def mend(self) -> None:
        """New connections are let through again."""
        self._is_cut = False

    def __enter__(self) -> TcpProxy:
        return self

    def __exit__(self, *about: object) -> None:
        self._closing = True
        self._ours.send(b"\0")
        self._thread.join()
        for each in (self._ours, self._theirs, self._listener):
            each.close()

    # -- in the thread -----------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._forward()
        finally:
            for source in list(self._ways):
                self._close(source)

    def _forward(self) -> None:
        cut_at = time.monotonic() + self._cut_every_s
        while not self._closing:
            dues = [way.held[0][0] for way in self._ways.values() if way.held]
            due_s = max(0.0, min([cut_at, *dues]) - time.monotonic())
            ready, _, _ = select.select([self._listener, self._theirs, *self._ways], [], [], due_s)
            for source in ready:
                if source is self._theirs:
                    self._theirs.recv(4096)
                    if self._is_cut:
                        self._cut(1.0)
                        break
                elif source is self._listener:
                    self._accept()
                elif source in self._ways:
                    self._read(self._ways[source])
            now = time.monotonic()
            for way in list(self._ways.values()):
                self._write(way, now)
            if now >= cut_at:
                cut_at = now + self._cut_every_s
                self._cut(self._cut_share)

    def _accept(self) -> None:
        peer, _ = self._listener.accept()
        if self._is_cut:
            peer.close()
            return
        try:
            target = socket.create_connection(self._target, 2)
        except OSError:
            peer.close()  # nobody listens there now
            return
        self.met["connections"] += 1
        for source, other in ((peer, target), (target, peer)):
            source.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            source.settimeout(2)
            self._ways[source] = _Way(source, other)

    def _read(self, way: _Way) -> None:
        try:
            more = way.source.recv(65536)
        except OSError:
            more = b""
        if not more:
            self._close(way.source)
            return
        wait_s = 0.0 if self._calm else self._chance.random() * self._delay_s
        at = max(time.monotonic() + wait_s, way.held[-1][0] if way.held else 0.0)
        way.held.append((at, memoryview(more)))

    def _write(self, way: _Way, now: float) -> None:
        try:
            while way.held and (self._calm or way.held[0][0] <= now):
                way.target.sendall(way.held.popleft()[1])
        except OSError:
            self._close(way.source)

    def _cut(self, share: float) -> None:
        for source in list(self._ways):
            if not self._calm and source in self._ways and self._chance.random() < share:
                self.met["cut"] += 1
                for each in (source, self._ways[source].target):
                    each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                self._close(source)

    def _close(self, source: socket.socket) -> None:
        """Both directions end."""
        way = self._ways.pop(source, None)
        if way is not None:
            self._ways.pop(way.target, None)
            way.source.close()
            way.target.close()
