"""Door: who may connect to the TCP sockets of a process.

They speak CURVE. libzmq asks here (ZAP, ZeroMQ RFC 27) about each key that wants to connect: one
that has a role is let in, every other is not, as long as nothing was said. The answer is given in
the loop of the process, so it is about keys alone: nothing is looked up.

What comes in bears the key of its connection (`Listener.receive`), and `role_of` says what that may
do now: a key that was taken back is nobody's from that moment on, and its connection says nothing
any more.
"""

from __future__ import annotations

import time

import zmq
from zmq.utils import z85

from ..errors import MeshError
from .interfaces import here
from .keys import Pair
from .poller import has_input
from .sockets import Dialer

#: Where libzmq asks: fixed by RFC 27.
_ADDRESS = "inproc://zeromq.zap.01"

#: A handshake with oneself takes a millisecond; a machine that is stopped and continued, more.
PROOF_S = 10.0

_DONTWAIT = int(zmq.DONTWAIT)


class Door:
    """The door of all TCP sockets of `context`, with the key pair `own`. To be made before them,
    closed after them; its `socket` is to be polled and `answer`ed. At first it lets in nobody."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], own: Pair) -> None:
        self.own = own
        self._context = context
        self._roles: dict[str, str] = {}
        self.refused = 0  # how many were turned away
        self.socket = context.socket(zmq.ROUTER)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.bind(_ADDRESS)

    def let_in(self, roles: dict[str, str]) -> None:
        """From now on these public keys, with the role of each, and no others."""
        self._roles = roles

    def role_of(self, key: str) -> str:
        """The role of a key; "" is that of one which was taken back."""
        return self._roles.get(key, "")

    def answer(self) -> None:
        """Say yes or no to all who are at the door."""
        while has_input(self.socket):
            frames = self.socket.recv_multipart(_DONTWAIT)
            if len(frames) < 9:
                continue  # no question of libzmq's
            asker, number, mechanism, key = frames[0], frames[3], frames[7], frames[8]
            public = z85.encode(key).decode() if len(key) == 32 else ""
            good = mechanism == b"CURVE" and public in self._roles
            self.refused += not good
            code, text = (b"200", b"") if good else (b"400", b"no key of this mesh")
            self.socket.send_multipart(
                [asker, b"", b"1.0", number, code, text, public.encode(), b""]
            )

    def prove(self, address: str) -> None:
        """Try to get in at `address`, a TCP socket of this process, as a stranger.

        Raises:
            MeshError: that worked, or nobody can tell.
        """
        context = zmq.Context(1)
        dialer = Dialer(context, f"{here(address)}#{self.own.public}", Pair.new())
        poller = zmq.Poller()
        poller.register(self.socket, zmq.POLLIN)
        poller.register(dialer.monitor, zmq.POLLIN)
        until = time.monotonic() + PROOF_S
        try:
            while time.monotonic() < until:
                poller.poll(100)
                self.answer()
                changes = dialer.changes()
                if "refused" in changes:
                    self.refused -= 1
                    return
                if "connected" in changes:
                    raise MeshError(
                        f"{address} lets strangers in: this ZeroMQ ({zmq.zmq_version()}) does not "
                        f"authenticate. Install a pyzmq wheel"
                    )
            raise MeshError(
                f"{address} cannot be reached from this host, so nothing proves that "
                f"it is closed to strangers: see that no firewall blocks it here"
            )
        finally:
            dialer.close()
            context.term()

    def close(self) -> None:
        """Let nobody in any more."""
        self.socket.close(0)
