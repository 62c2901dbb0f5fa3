"""The data side of a worker: serves chunks of its results to whoever asks, and takes the parts of
what clients put that cannot write to its folder."""

from __future__ import annotations

import os
from collections import deque
from pathlib import Path
from typing import Any

import zmq

from ..core.chunks import CHUNKS_MAX
from ..core.keeping import Keeping
from ..errors import MeshError, ResultLost
from ..protocol import transfer, upload
from ..protocol.codec import DecodeError
from ..store import deposits
from ..store.results import Results
from ..transport.sockets import Listener

#: Chunks that are served in one turn: tasks, heartbeats and others wait behind them.
TURN_CHUNKS = 16

#: Requests that wait at once, in all and of one asker, which may have as many on their way: who
#: asks for more is told to come later.
WAITING_MAX = 128
WAITING_OF_ONE_MAX = CHUNKS_MAX


class Server:
    """Serves `results` at the ipc path `path`, and on this host's TCP port `port` unless that is
    None; 0 is any. `keeping` counts what went. Askers are served in turn, a chunk each."""

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        path: Path,
        port: int | None,
        results: Results,
        keeping: Keeping,
    ) -> None:
        self._results = results
        self._keeping = keeping
        self._listeners = [Listener(context, f"ipc://{path}")]
        if port is not None:
            try:
                address = f"tcp://127.0.0.1:{port or '*'}"
                self._listeners.append(Listener(context, address))
            except MeshError:
                self.close()
                raise
        self._waiting: dict[tuple[Listener, bytes], deque[transfer.Get]] = {}  # whose turn is first

    @property
    def sockets(self) -> list[zmq.Socket[bytes]]:
        """What has input when somebody asks."""
        return [each.socket for each in self._listeners]

    @property
    def address(self) -> str:
        """Where it serves: addresses with a space between."""
        return " ".join(each.address for each in self._listeners)

    def take(self) -> None:
        """Take in all requests that have come."""
        for listener in self._listeners:
            for peer, frames in listener.receive(most=None):
                if upload.is_part(frames):
                    self._take_part(listener, peer, frames)
                    continue
                try:
                    get = transfer.parse_get(frames[0] if frames else b"")
                except DecodeError:
                    continue  # not one of ours: there is nobody to tell
                mine = self._waiting.get((listener, peer), ())
                waiting = sum(map(len, self._waiting.values()))
                if len(mine) >= WAITING_OF_ONE_MAX or waiting >= WAITING_MAX and mine:
                    head = transfer.pack_later(transfer.BUSY, get.token, get.offset)
                    listener.send(peer, [head])
                    continue
                self._waiting.setdefault((listener, peer), deque()).append(get)

    def _take_part(self, listener: Listener, peer: bytes, frames: list[Any]) -> None:
        """A client leaves a part of what it puts."""
        try:
            part, content = upload.parse_part(frames)
        except DecodeError:
            return
        answer = [upload.pack_held(part.token, part.offset)]
        try:
            deposits.write_part(self._results.incoming, part, content)
        except OSError as error:
            answer = [upload.pack_full(part.token), str(error.strerror).encode()]
        listener.send(peer, answer)

    def serve(self) -> bool:
        """Answer some of those that wait, each in turn; whether others wait still. Who does not
        read loses its answers, and asks again."""
        if not self._waiting:
            return False
        for _ in range(TURN_CHUNKS):
            if not self._waiting:
                break
            asker = next(iter(self._waiting))
            gets = self._waiting.pop(asker)
            asker[0].send(asker[1], self.answer(gets.popleft(), transfer.DIRECT))
            if gets:
                self._waiting[asker] = gets  # behind the others
        self.take()  # what came meanwhile: a socket that is sent on may not tell of it
        return bool(self._waiting)

    def answer(self, get: transfer.Get, way: int) -> list[Any]:
        """The frames that answer a request which came by `way`."""
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
        self._keeping.served(way, len(chunk), is_last=is_last)
        return [transfer.pack_chunk(get.token, get.offset, size), chunk]

    def close(self) -> None:
        """Stop serving."""
        for listener in self._listeners:
            listener.close()
