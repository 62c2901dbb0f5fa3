"""The data side of a worker: serves chunks of its results to whoever asks, and takes the parts of
what clients put that cannot write to its folder."""

from __future__ import annotations

import errno
import os
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import zmq

from ..core.chunks import CHUNKS_MAX
from ..core.keeping import Keeping
from ..errors import MeshError, ResultLost
from ..protocol import transfer, upload
from ..protocol.codec import DecodeError
from ..store import deposits
from ..store.results import Results
from ..transport import interfaces
from ..transport.access import Access
from ..transport.door import Door
from ..transport.keys import ADMIN, WORKER, Pair
from ..transport.sockets import Listener
from . import NO_PORT

#: Chunks that are served in one turn: tasks, heartbeats and others wait behind them.
TURN_CHUNKS = 16

#: Requests that wait at once, in all and of one asker, which may have as many on their way: who
#: asks for more is told to come later.
WAITING_MAX = 128
WAITING_OF_ONE_MAX = CHUNKS_MAX

#: What says nothing of the file that was to be opened: it is there later.
PASSES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})

#: Task, lease and number of a result.
Name = tuple[bytes, int, int]


class DataPort(NamedTuple):
    """Where a worker serves on TCP: a `port` of this host, of which 0 is any and NO_PORT none, and
    None leaves it to whether the mesh has keys. Others reach it at `advertise`, too."""

    port: int | None = None
    advertise: Sequence[str] = ()


class Server:
    """Serves `results` at the ipc path `path`, and on the TCP address `listen` unless that is None;
    port 0 is any, and others reach it at `advertise`, too. Who may ask there tells `let_in`: at
    first nobody. `keeping` counts what went. Askers are served in turn, a chunk each.

    Raises:
        MeshError: one of them cannot be bound, or strangers would be let in.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        path: Path,
        listen: str | None,
        results: Results,
        keeping: Keeping,
        advertise: Sequence[str] = (),
    ) -> None:
        self._results = results
        self._keeping = keeping
        self._buffer = bytearray(transfer.CHUNK_BYTES)  # new pages cost more than their copy
        self._door = None if listen is None else Door(context, Pair.new())
        self._open: tuple[Name, int, int] | None = None  # a file, its descriptor and size
        self._waiting: dict[bytes, deque[transfer.Get]] = {}  # whose turn is first
        self._listener = Listener(context, path)
        self._addresses = [self._listener.path]
        if self._door is not None and listen is not None:
            try:
                bound = self._listener.listen(listen, self._door.own)
                self._door.prove(bound)
            except MeshError:
                self.close()
                raise
            near = [each for each in interfaces.published(bound) if interfaces.is_loopback(each)]
            far = [each for each in interfaces.published(bound) if each not in near]
            found = dict.fromkeys([*advertise, *(far or near)])
            self._addresses += [f"{each}#{self._door.own.public}" for each in found]

    @property
    def sockets(self) -> list[zmq.Socket[bytes]]:
        """What has input when somebody asks, comes, goes, or is at the door."""
        door = [self._door.socket] if self._door is not None else []
        return [self._listener.socket, self._listener.monitor, *door]

    @property
    def address(self) -> str:
        """Where it serves: addresses with a space between, with the key that they have."""
        return " ".join(self._addresses)

    def let_in(self, roles: dict[str, str]) -> None:
        """Who may ask by TCP from now on: public keys, and the role of each."""
        if self._door is not None:
            self._door.let_in(roles)

    def take(self) -> None:
        """Take in all requests that have come, and see who has come and gone."""
        self._listener.look()
        if self._door is not None:
            self._door.answer()
        for peer, frames, key in self._listener.receive(most=None):
            role = ADMIN if key is None or self._door is None else self._door.role_of(key)
            if not role:
                continue  # its key was taken back
            if upload.is_part(frames):
                if role != WORKER:
                    self._take_part(peer, frames)
                continue
            try:
                get = transfer.parse_get(frames[0] if frames else b"")
            except DecodeError:
                continue  # not one of ours: there is nobody to tell
            mine = self._waiting.get(peer, ())
            waiting = sum(map(len, self._waiting.values()))
            if len(mine) >= WAITING_OF_ONE_MAX or waiting >= WAITING_MAX and mine:
                head = transfer.pack_later(transfer.BUSY, get.token, get.offset)
                self._listener.send(peer, [head])
                continue
            self._waiting.setdefault(peer, deque()).append(get)

    def _take_part(self, peer: bytes, frames: list[Any]) -> None:
        """A client leaves a part of what it puts."""
        with suppress(DecodeError):
            self._listener.send(peer, self._left(frames))

    def _left(self, frames: list[Any]) -> list[Any]:
        """The frames that answer a part.

        Raises:
            DecodeError: it is none.
        """
        part, content = upload.parse_part(frames)
        try:
            deposits.write_part(self._results.incoming, part, content)
        except OSError as error:
            return [upload.pack_full(part.token), str(error.strerror).encode()]
        return [upload.pack_answer(upload.HELD, part.token, part.offset)]

    def serve(self) -> bool:
        """Answer some of those that wait, each in turn; whether others wait still. Who does not
        read loses its answers, and asks again."""
        if not self._waiting:
            return False
        turn: list[tuple[Name, bytes, transfer.Get]] = []
        while self._waiting and len(turn) < TURN_CHUNKS:
            asker = next(iter(self._waiting))
            gets = self._waiting.pop(asker)
            get = gets.popleft()
            turn.append(((get.task, get.lease, get.number), asker, get))
            if gets:
                self._waiting[asker] = gets  # behind the others
        turn.sort(key=lambda each: each[0])  # each file is opened once
        for _, peer, get in turn:
            self._listener.send(peer, self._answer(get, transfer.DIRECT))
        self._close_file()
        self.take()  # what came meanwhile: a socket that is sent on may not tell of it
        return bool(self._waiting)

    def tend(self) -> None:
        """Let newcomers in again, if they had to wait."""
        if self._listener.is_shut:
            self._listener.look()

    def relayed(self, head: bytes, content: Any) -> list[Any]:
        """The frames that answer what came by way of the router: good until the next one's.

        Raises:
            DecodeError: it is neither a request nor a part.
        """
        if upload.is_part([head, content]):
            return self._left([head, content])
        frames = self._answer(transfer.parse_get(head), transfer.RELAYED)
        self._close_file()
        return frames

    def _answer(self, get: transfer.Get, way: int) -> list[Any]:
        try:
            descriptor, size = self._file(get)
            chunk = memoryview(self._buffer)[: get.length]
            chunk = chunk[: os.preadv(descriptor, [chunk], min(get.offset, size))]
        except (ResultLost, OSError) as error:
            if isinstance(error, OSError) and error.errno in PASSES:
                return [transfer.pack_later(transfer.BUSY, get.token, get.offset)]
            return [transfer.pack_lost(get.token), str(error).encode()]
        is_last = get.offset + len(chunk) == size
        self._keeping.served(way, len(chunk), is_last=is_last)
        return [transfer.pack_chunk(get.token, get.offset, size), chunk]

    def _file(self, get: transfer.Get) -> tuple[int, int]:
        """The file of a result, open, and its size. It is found anew in each turn, for that takes
        half as long as to read a chunk, and what is removed must take no room."""
        name = (get.task, get.lease, get.number)
        if self._open is None or self._open[0] != name:
            self._close_file()
            file, size, _ = self._results.find(*name)
            self._open = name, os.open(file, os.O_RDONLY | os.O_CLOEXEC), size
        return self._open[1:]

    def _close_file(self) -> None:
        if self._open is not None:
            os.close(self._open[1])
            self._open = None

    def close(self) -> None:
        """Stop serving."""
        self._listener.close()
        if self._door is not None:
            self._door.close()


def data_address(access: Access, data: DataPort) -> str | None:
    """Where a worker of the mesh of `access` serves on TCP, if it does: to all who may reach its
    router.

    Raises:
        MeshError: it is to, and the mesh has no keys.
    """
    port = data.port
    if port == NO_PORT or port is None and access.keys is None and not data.advertise:
        return None
    if access.keys is None:
        raise MeshError(
            f"a data port is TCP, for which mesh {access.mesh} has no keys: start it with --listen"
        )
    far = [each for each in access.addresses if each.startswith("tcp://")]
    host = "127.0.0.1" if all(map(interfaces.is_loopback, far)) else "*"
    return interfaces.show(host, port or 0)
