"""A distance: passes on what goes to a router and comes from it, each byte some time later."""

from __future__ import annotations

import select
import socket
import threading
import time
from collections import deque

READ_BYTES = 1 << 18


class Delay:
    """Stands before a TCP port of this host. `address` is where it listens; bytes arrive `delay_s`
    after they were sent, as many at once as there are: a long wire, not a thin one."""

    def __init__(self, port: int, delay_s: float) -> None:
        self._port, self._delay_s = port, delay_s
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return  # closed
            router = socket.create_connection(("127.0.0.1", self._port))
            for each in (peer, router):
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for source, target in ((peer, router), (router, peer)):
                threading.Thread(target=self._pass_on, args=(source, target), daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        held: deque[tuple[float, bytes]] = deque()
        try:
            while True:
                wait_s = None if not held else max(0.0, held[0][0] - time.monotonic())
                if select.select([source], [], [], wait_s)[0]:
                    content = source.recv(READ_BYTES)
                    if not content:
                        break
                    held.append((time.monotonic() + self._delay_s, content))
                while held and held[0][0] <= time.monotonic():
                    target.sendall(held.popleft()[1])
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # one of them has gone

    def close(self) -> None:
        """Nobody more is let through."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
