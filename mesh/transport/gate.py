"""Gate: keeps newcomers out of a TCP port while few descriptors are left.

Who has no key may connect all the same: until its handshake has failed, a connection costs a
descriptor. libzmq that is given none for its ipc socket ends the process, and it neither bounds
connections nor can stop to accept them without cutting those that are there. So Linux drops what
comes to the listening socket, before it is a connection: who is in stays in and notices nothing,
who is outside tries again. Elsewhere there is no gate, and one with few descriptors may be rushed.
"""

from __future__ import annotations

import ctypes
import os
import socket
import stat
import struct
import sys
import time

from . import descriptors
from .interfaces import parse

#: Of the descriptors so many are kept free of strangers, or this part of few: for files, for peers
#: on this host, and for who is accepted before the gate is shut. libzmq accepts some 20 in a
#: millisecond, so this is for a fifth of a second in which the loop of the process has other work.
KEPT = 4096
KEPT_PART = 3

#: A shut gate is looked at this often. Half-open connections are cut after ten seconds.
LOOK_S = 0.25

#: Linux's names for a filter of what comes to a socket (asm-generic/socket.h), and one that takes
#: nothing: "return 0" (linux/bpf_common.h).
_ATTACH, _DETACH = 26, 27
_NOTHING = struct.pack("@HBBI", 0x06, 0, 0, 0)


class Gate:
    """The gate of the TCP port at `address`, where libzmq listens already. Say who has `come`, and
    `tend` it now and then."""

    def __init__(self, address: str) -> None:
        self._port = _listening((parse(address) or ("", 0))[1])
        self._may_come = 0  # before descriptors are counted again
        self._look_at = 0.0
        self.is_shut = False

    def come(self, count: int) -> None:
        """So many were accepted."""
        self._may_come -= count
        if count and self._may_come < 0:
            self._count()

    def tend(self) -> None:
        """Open it, if there is room again."""
        if self.is_shut and time.monotonic() >= self._look_at:
            self._count()

    def _count(self) -> None:
        count, limit = descriptors.usage()
        kept = min(KEPT, limit // KEPT_PART)
        left = limit - count - kept
        self._may_come = max(0, left // 2)
        self._look_at = time.monotonic() + LOOK_S
        if left <= 0:
            self._shut()
        elif self.is_shut and left > kept // 2:  # else it would swing
            self._open()

    def _shut(self) -> None:
        if self._port is None:
            return
        program = ctypes.create_string_buffer(_NOTHING)
        told = struct.pack("@HP", 1, ctypes.addressof(program))
        self._port.setsockopt(socket.SOL_SOCKET, _ATTACH, told)
        self.is_shut = True
        try:
            while True:  # those that the kernel has let in, and libzmq has not taken
                self._port.accept()[0].close()
        except OSError:
            pass  # there are no more

    def _open(self) -> None:
        if self._port is not None:
            self._port.setsockopt(socket.SOL_SOCKET, _DETACH, 0)
        self.is_shut = False

    def close(self) -> None:
        """Let go of the port: libzmq's is not the only descriptor of it."""
        if self._port is not None:
            self._port.close()


def _listening(port: int) -> socket.socket | None:
    """The socket of this process that listens at a TCP port, as one of our own."""
    if not sys.platform.startswith("linux"):
        return None
    for number in map(int, os.listdir("/dev/fd")):
        try:
            if not stat.S_ISSOCK(os.fstat(number).st_mode):
                continue
            found = socket.socket(fileno=os.dup(number))
        except OSError:
            continue  # that of the listing
        listens = found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        if listens and found.family != socket.AF_UNIX and found.getsockname()[1] == port:
            found.setblocking(False)
            return found
        found.close()
    return None
