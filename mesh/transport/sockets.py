"""ZeroMQ sockets, with every option set and the reason beside it; frames in, frames out.

`Listener` is the router's one ROUTER socket (and a worker's data socket), `Dialer` a peer's
DEALER. Neither knows messages. A send that succeeds proves nothing; what they can tell is that a
connection broke, through a monitor, and that is turned into `gone` and `cut` at once.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import zmq

from ..errors import AccessDenied, MeshError, RouterUnreachable
from .gate import Gate
from .keys import Pair
from .poller import has_input

#: One frame: the largest payload taken. Beyond it the sender's connection is dropped by libzmq.
FRAME_BYTES_MAX = 1 << 30

#: Messages read from a socket in one turn, so that timers and other sockets have theirs.
RECEIVE_MAX = 256

#: The pipe's limit is never the mechanism (credit is); it must only not be in the way.
HIGH_WATER_MARK = 100_000

#: Sockets of one process, and connections of the router: more hosts than anybody has.
SOCKETS_MAX = 65_000

#: libzmq's I/O threads: one is enough for a machine's worth of peers.
IO_THREADS = 1

#: Who finds no router tries again this much later at most. A router that is back waits for the
#: workers of its last life, and then gives their tasks to others: it has to be found long before.
#: A thousand that try once a second cost nothing.
RECONNECT_MS_MAX = 1_000

#: RFC 27 wants a name for what a door is of; there is one.
ZAP_DOMAIN = b"mesh"

#: An ipc path has 107 bytes at most; the mesh's id and a socket's name come behind the root.
ROOT_CHARS_MAX = 70

#: As plain numbers: see poller.py.
_DONTWAIT, _SNDMORE = int(zmq.DONTWAIT), int(zmq.SNDMORE)
_MORE_DONTWAIT = _SNDMORE | _DONTWAIT

#: What becomes of a connection that is dialled, by libzmq's event.
_TOLD = {
    int(zmq.EVENT_HANDSHAKE_SUCCEEDED): "connected",
    int(zmq.EVENT_DISCONNECTED): "cut",
    int(zmq.EVENT_HANDSHAKE_FAILED_AUTH): "refused",
    int(zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL): "failed",
    int(zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL): "failed",
    int(zmq.EVENT_CLOSED): "failed",
}

#: What happened, and a value that tells more.
_MONITORED = struct.Struct("=Hi")

#: The name of a mesh's folder of sockets is the mesh's id.
_MESH = re.compile(r"[a-z0-9]{8}")

#: With IPv6 enabled libzmq names an IPv4 address so.
_MAPPED = re.compile(r"\[::ffff:([0-9.]+)\]")


def context() -> zmq.Context[zmq.Socket[bytes]]:
    """A context of this process's own, which never hangs at its end."""
    made = zmq.Context(IO_THREADS)
    made.set(zmq.MAX_SOCKETS, SOCKETS_MAX)
    return made


def _common(socket: zmq.Socket[bytes]) -> None:
    socket.setsockopt(zmq.LINGER, 0)  # what matters is acknowledged; nothing waits for ever
    socket.setsockopt(zmq.SNDHWM, HIGH_WATER_MARK)
    socket.setsockopt(zmq.RCVHWM, HIGH_WATER_MARK)
    socket.setsockopt(zmq.MAXMSGSIZE, FRAME_BYTES_MAX)  # else a peer announces 2**63 bytes
    socket.setsockopt(zmq.HANDSHAKE_IVL, 10_000)  # half-open connections are dropped after 10 s
    socket.setsockopt(zmq.RECONNECT_IVL, 50)
    socket.setsockopt(zmq.RECONNECT_IVL_MAX, RECONNECT_MS_MAX)
    socket.setsockopt(zmq.CONNECT_TIMEOUT, 5_000)
    socket.setsockopt(zmq.BACKLOG, 4096)  # a job array starts at once
    socket.setsockopt(zmq.IPV6, 1)
    socket.setsockopt(zmq.TCP_KEEPALIVE, 1)


class Listener:
    """A ROUTER bound at a path, and perhaps at TCP addresses too, which are encrypted.

    Args:
        context: the process's own.
        path: its ipc socket, in a folder that is its owner's alone.

    Raises:
        MeshError: the path cannot be bound.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], path: Path) -> None:
        self.socket = context.socket(zmq.ROUTER)
        _common(self.socket)
        self.socket.setsockopt(zmq.ROUTER_MANDATORY, 1)  # else it drops what it cannot route
        events = zmq.EVENT_DISCONNECTED | zmq.EVENT_ACCEPTED
        self.monitor = self.socket.get_monitor_socket(events)  # to be looked at, or libzmq stands
        self._gates: list[Gate] = []
        self._file: Path | None = None
        self._encrypts = False
        try:
            self.path = self._bind(f"ipc://{path}")
        except MeshError:
            self.close()
            raise
        self._file = path
        path.chmod(0o600)

    def listen(self, address: str, own: Pair) -> str:
        """Listen on TCP, too, with the key pair `own`; the address, with its port. Who may connect
        says a door (door.py), which has to be there before. Port 0 takes any.

        Raises:
            MeshError: the address cannot be bound.
        """
        self._encrypts = True
        set_option = self.socket.setsockopt  # for what is bound from now on
        set_option(zmq.CURVE_SERVER, 1)
        set_option(zmq.CURVE_SECRETKEY, own.secret.encode())
        set_option(zmq.ZAP_DOMAIN, ZAP_DOMAIN)
        set_option(zmq.ZAP_ENFORCE_DOMAIN, 1)  # with nobody at the door nobody gets in
        bound = self._bind(address)
        self._gates.append(Gate(bound))
        return bound

    def _bind(self, address: str) -> str:
        try:
            self.socket.bind(address)
        except zmq.ZMQError as error:
            raise MeshError(f"cannot listen on {address}: {error}. Choose another") from error
        bound = self.socket.getsockopt_string(zmq.LAST_ENDPOINT).rstrip("\0")
        return _MAPPED.sub(r"\1", bound)

    def receive(
        self, most: int | None = RECEIVE_MAX
    ) -> Iterator[tuple[bytes, list[bytes], str | None]]:
        """What has come in, all of it if `most` is None: routing id, frames, and the public key of
        the connection; None: it came to the path, which only its owner reaches."""
        while most != 0 and has_input(self.socket):
            id, *frames = _message(self.socket)
            # A routing id proves nothing: who connects may choose it.
            key = _key_of(id) if self._encrypts else None
            yield id.bytes, [frame.bytes for frame in frames], key
            most = None if most is None else most - 1

    def send(self, peer: bytes, frames: list[Any]) -> bool:
        """Send to one peer; False if it is gone or does not read."""
        send = self.socket.send
        try:
            send(peer, _MORE_DONTWAIT)  # the id alone decides: what follows is sure
        except zmq.ZMQError as error:
            if error.errno in (zmq.EHOSTUNREACH, zmq.EAGAIN):
                return False
            raise
        _send(send, frames)
        return True

    def look(self) -> int:
        """See who has come and gone, and to the gates; how many connections broke since the last
        call."""
        seen = []
        while has_input(self.monitor):
            seen.append(_event(self.monitor))
        for gate in self._gates:
            gate.come(seen.count(zmq.EVENT_ACCEPTED))
            gate.tend()
        return seen.count(zmq.EVENT_DISCONNECTED)

    @property
    def is_shut(self) -> bool:
        """Whether newcomers by TCP have to wait, for few descriptors are left."""
        return any(gate.is_shut for gate in self._gates)

    def close(self, linger_ms: int = 0) -> None:
        """Unbind. What was sent last has `linger_ms` to leave, before the context's end."""
        for gate in self._gates:
            gate.close()
        self.socket.disable_monitor()
        self.monitor.close(linger=0)
        self.socket.close(linger=linger_ms)
        if self._file is not None:  # libzmq leaves it
            self._file.unlink(missing_ok=True)


class Dialer:
    """A DEALER connected to one address: libzmq reconnects it by itself, with backoff.

    Args:
        context: the process's own.
        address: ``ipc://PATH``, or ``tcp://HOST:PORT#KEY`` with the listener's public key.
        own: the key pair that opens the door there; a path needs none.

    Raises:
        RouterUnreachable: it is no address.
        AccessDenied: it is TCP, and a key is missing: nothing goes there in the clear.
    """

    def __init__(
        self, context: zmq.Context[zmq.Socket[bytes]], address: str, own: Pair | None = None
    ) -> None:
        self.address = address
        target, _, server = address.partition("#")
        if not target.startswith("ipc://") and not (server and own):
            raise AccessDenied(f"{target} cannot be dialled without keys: join with an access file")
        self.socket = context.socket(zmq.DEALER)
        _common(self.socket)
        self.monitor = self.socket.get_monitor_socket(sum(_TOLD))
        try:
            if own is not None and server:
                self.socket.setsockopt(zmq.CURVE_SERVERKEY, server.encode())
                self.socket.setsockopt(zmq.CURVE_PUBLICKEY, own.public.encode())
                self.socket.setsockopt(zmq.CURVE_SECRETKEY, own.secret.encode())
            self.socket.connect(target)
        except zmq.ZMQError as error:
            self.close()
            raise RouterUnreachable(
                f"{target} is no address that can be dialled: {error}"
            ) from error

    def receive(self) -> Iterator[list[bytes]]:
        """What has come in: frames, RECEIVE_MAX messages at most."""
        for _ in range(RECEIVE_MAX):
            if not has_input(self.socket):
                return
            yield [frame.bytes for frame in _message(self.socket)]

    def receive_large(self) -> Iterator[list[Any]]:
        """The same; large frames behind the first are views of what libzmq has, not copies."""
        for _ in range(RECEIVE_MAX):
            if not has_input(self.socket):
                return
            first, *others = _message(self.socket)
            yield [first.bytes, *(frame.buffer for frame in others)]

    def send(self, frames: list[Any]) -> bool:
        """Send; False if not even the pipe takes it."""
        try:
            _send(self.socket.send, frames)
        except zmq.Again:
            return False
        return True

    def changes(self) -> list[str]:
        """What happened to the connection since the last call: "connected"; "cut"; "refused", for
        our key is not known there; "failed", for nobody listens there, or nobody whom we know."""
        changes = []
        while has_input(self.monitor):
            changes.append(_TOLD[_event(self.monitor)])
        return changes

    def close(self, linger_ms: int = 0) -> None:
        """Disconnect. What was sent last has `linger_ms` to leave, before the context's end."""
        self.socket.disable_monitor()
        self.monitor.close(linger=0)
        self.socket.close(linger=linger_ms)


def _key_of(frame: zmq.Frame) -> str | None:
    """What the door said of the connection by which a frame came."""
    try:
        return str(frame.get("User-Id"))
    except zmq.ZMQError:
        return None  # nobody was asked: it came to the path


def _message(socket: zmq.Socket[bytes]) -> list[zmq.Frame]:
    """The frames of a message that is there. Each says itself whether others follow it: to ask the
    socket takes as long as to receive."""
    frames = [socket.recv(_DONTWAIT, copy=False)]
    while frames[-1].more:
        frames.append(socket.recv(_DONTWAIT, copy=False))
    return frames


def _send(send: Callable[[Any, int], Any], frames: list[Any]) -> None:
    """Send a message: whoever takes its first frame takes the others."""
    for frame in frames[:-1]:
        send(frame, _MORE_DONTWAIT)
    send(frames[-1], _DONTWAIT)


def _event(monitor: zmq.Socket[bytes]) -> int:
    """The next event of a monitor. `zmq.utils.monitor` would load asyncio for it."""
    event, _ = _MONITORED.unpack(monitor.recv_multipart()[0])
    return int(event)


def _root() -> Path:
    """Where this user's meshes have their sockets."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    root = Path(runtime) / "mesh" if runtime else Path(f"/tmp/mesh-{os.getuid()}")
    return root if len(str(root)) <= ROOT_CHARS_MAX else Path(f"/tmp/mesh-{os.getuid()}")


def sweep(most: int) -> None:
    """Remove folders of sockets, `most` of them, in which nobody listens any more."""
    try:
        names = sorted(filter(_MESH.fullmatch, os.listdir(_root())))
    except OSError:
        return  # there are none
    for name in names:
        folder = _root() / name
        try:
            held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            continue  # it has just gone, or is none of ours
        try:
            if os.fstat(held).st_uid == os.getuid() and most > 0:
                most -= _remove_if_left(folder, held)
        finally:
            os.close(held)


def _remove_if_left(folder: Path, held: int) -> bool:
    """Remove a folder, open as `held`, unless somebody listens there."""
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        left = os.path.samestat(os.fstat(held), folder.lstat())
    except OSError:
        return False  # others listen there, or have removed it
    if left:
        shutil.rmtree(folder, ignore_errors=True)
    return left


class SocketFolder:
    """The 0700 folder of a mesh's sockets, for as long as this process listens there.

    Whoever listens there holds a shared flock on it, which the death of a process ends too. Who
    leaves last removes the folder, with the sockets of those that were killed: it never goes
    between its being made and a socket's being bound in it, nor with a socket that serves.

    Raises:
        MeshError: it exists and is not ours alone.
    """

    def __init__(self, mesh: str) -> None:
        self.path = _root() / mesh
        while not self._is_held():
            pass

    def _is_held(self) -> bool:
        """Make and hold it; False if who was about to leave has removed it meanwhile."""
        try:
            for each in (self.path.parent, self.path):
                with suppress(FileExistsError):  # `exist_ok` would look again, and may find it gone
                    each.mkdir(mode=0o700, parents=True)
                stat = each.lstat()
                if stat.st_uid != os.getuid() or stat.st_mode & 0o077:
                    raise MeshError(
                        f"{each} is not yours alone (0700): remove it, ask uid {stat.st_uid} to, "
                        f"or have sockets below another folder, in $XDG_RUNTIME_DIR"
                    )
            self._held = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        fcntl.flock(self._held, fcntl.LOCK_SH)
        try:
            if os.path.samestat(os.fstat(self._held), self.path.stat()):
                return True
        except FileNotFoundError:
            pass
        os.close(self._held)
        return False

    def leave(self) -> None:
        """This process listens there no more."""
        _remove_if_left(self.path, self._held)
        os.close(self._held)
