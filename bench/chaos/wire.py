"""The wire: what some peers dial in place of the router. It passes bytes on, and can be cut.

What is on its way in a connection that is cut is lost, in both directions, and nobody has died: the
link alone must make up for it. Threads of the harness; one connection never waits for another.
"""

from __future__ import annotations

import json
import os
import socket
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

#: Read at once.
CHUNK_BYTES = 65_536


class Wire:
    """Listens at `path`; `access` is written for those who are to dial it."""

    def __init__(self, path: Path, access: Path) -> None:
        self.path = path
        self.access = access
        self._target = ""
        self._lock = threading.Lock()
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        threading.Thread(target=self._accept, name="wire", daemon=True).start()

    def leads_to(self, access: dict[str, Any]) -> None:
        """A router serves: `access` is what it says of itself."""
        self._target = access["addresses"][0].removeprefix("ipc://")
        draft = self.access.with_suffix(".draft")
        draft.touch(0o600)
        draft.write_text(json.dumps(access | {"addresses": [f"ipc://{self.path}"]}))
        os.replace(draft, self.access)

    def cut(self, number: int) -> bool:
        """Cut one of the connections, counted around; False if there is none."""
        with self._lock:
            pairs = list(self._pairs)
        if pairs:
            self._drop(pairs[number % len(pairs)])
        return bool(pairs)

    def close(self) -> None:
        """Cut all, and listen no more."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for pair in list(self._pairs):
            self._drop(pair)
        self.path.unlink()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.socket(socket.AF_UNIX)
            try:
                far.connect(self._target)
            except OSError:  # nobody serves at present
                near.close()
                far.close()
                continue
            pair = (near, far)
            with self._lock:
                self._pairs.append(pair)
            for ends in (pair, pair[::-1]):
                threading.Thread(target=self._pass_on, args=[pair, *ends], daemon=True).start()

    def _pass_on(
        self, pair: tuple[socket.socket, socket.socket], source: socket.socket, sink: socket.socket
    ) -> None:
        with suppress(OSError):
            while data := source.recv(CHUNK_BYTES):
                sink.sendall(data)
        self._drop(pair)

    def _drop(self, pair: tuple[socket.socket, socket.socket]) -> None:
        with self._lock:
            if pair not in self._pairs:
                return
            self._pairs.remove(pair)
        for end in pair:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)  # whoever reads there wakes up
            end.close()
