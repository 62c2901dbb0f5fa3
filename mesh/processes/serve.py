"""The data side of a worker: serves chunks of its results to whoever asks."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import zmq

from ..core.keeping import Keeping
from ..errors import ResultLost
from ..protocol import transfer
from ..protocol.codec import DecodeError
from ..store.results import Results
from ..transport.sockets import Listener


class Server:
    """Serves `results` at the ipc path `path`; `keeping` counts what went."""

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        path: Path,
        results: Results,
        keeping: Keeping,
    ) -> None:
        self._listener = Listener(context, f"ipc://{path}")
        self._results = results
        self._keeping = keeping
        self.socket = self._listener.socket
        self.address = self._listener.address

    def serve(self) -> None:
        """Answer all that has come in. Who does not read loses its answers, and asks again."""
        for peer, frames in self._listener.receive(most=None):
            try:
                get = transfer.parse_get(frames[0] if frames else b"")
            except DecodeError:
                continue  # not one of ours: there is nobody to tell
            self._listener.send(peer, self._answer(get))

    def _answer(self, get: transfer.Get) -> list[Any]:
        try:
            file, size, _ = self._results.find(get.task, get.lease, get.number)
            descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
            try:
                chunk = os.pread(descriptor, get.length, min(get.offset, size))
            finally:
                os.close(descriptor)
        except (ResultLost, OSError) as error:
            return [transfer.pack_lost(get.token), str(error).encode()]
        is_last = get.offset + len(chunk) == size
        self._keeping.served(transfer.DIRECT, len(chunk), is_last=is_last)
        return [transfer.pack_chunk(get.token, get.offset, size), chunk]

    def close(self) -> None:
        """Stop serving."""
        self._listener.close()
