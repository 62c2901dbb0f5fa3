"""A meter: passes on what goes to a router and comes from it, and counts the bytes."""

from __future__ import annotations

import json
import socket
import threading
from pathlib import Path

READ_BYTES = 1 << 16

TCP = "tcp://"

HOST = "127.0.0.1"


class Meter:
    """Stands before the router of the mesh that `access` leads to, which listens on TCP.

    Args:
        folder: for the access file that leads here.

    Attributes:
        access: that file.
        passed: how many bytes have gone through, both ways together.
    """

    def __init__(self, access: Path, folder: Path) -> None:
        told = json.loads(access.read_text())
        address = next(each for each in told["addresses"] if each.startswith(TCP))
        self._target = HOST, int(address.rpartition(":")[2])
        self._listener = socket.create_server((HOST, 0))
        here = f"{TCP}{HOST}:{self._listener.getsockname()[1]}"
        self.access = folder / "access.json"
        self.access.touch(0o600)
        self.access.write_text(json.dumps(told | {"addresses": [here]}))
        self.passed = 0
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return  # closed
            router = socket.create_connection(self._target)
            for source, target in ((peer, router), (router, peer)):
                threading.Thread(target=self._pass_on, args=(source, target), daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        try:
            while content := source.recv(READ_BYTES):
                target.sendall(content)
                with self._lock:
                    self.passed += len(content)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # one of them has gone

    def close(self) -> None:
        """Nobody more is let through."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
