"""Wake: how one thread interrupts another's poll. A byte in a socket pair, at most one."""

from __future__ import annotations

import socket
import threading


class Wake:
    """`set` from any thread makes `fileno` readable until `clear`."""

    def __init__(self) -> None:
        self._read, self._write = socket.socketpair()
        self._read.setblocking(False)
        self._write.setblocking(False)
        self._set = False
        self._lock = (
            threading.Lock()
        )  # flag and byte go together: one alone would spin, or sleep on

    def fileno(self) -> int:
        """The descriptor to poll."""
        return self._read.fileno()

    @property
    def is_set(self) -> bool:
        """Whether it was set and not cleared yet."""
        return self._set

    def set(self) -> None:
        """Wake the poller, unless it has been woken already."""
        if self._set:
            return  # soon looked at: who clears it does so before it looks
        with self._lock:
            if not self._set:
                self._set = True
                try:
                    self._write.send(b"\0")
                except (BlockingIOError, OSError):
                    pass  # full or closed: either way there is nothing to add

    def clear(self) -> None:
        """Take the wake-up back, before looking at what it was for."""
        with self._lock:
            self.hush()
            self._set = False

    def hush(self) -> None:
        """Sleep on in spite of it, and let nobody wake us: we shall look by ourselves, soon."""
        try:
            self._read.recv(64)
        except BlockingIOError:
            pass

    def close(self) -> None:
        """Free the descriptors."""
        self._read.close()
        self._write.close()
