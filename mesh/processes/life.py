"""Life: what ends a process from outside, as something to poll.

SIGTERM or SIGINT: leave in order (drain); the second: leave now. The end of the *life pipe*, which
the process that started us holds open: it is gone, however it went, so leave now.
"""

from __future__ import annotations

import json
import os
import signal
import socket
from typing import Any


class Life:
    """Signals and the life pipe of this process. Call from the main thread.

    Args:
        pipe: the descriptor to watch for its end, or None.
    """

    def __init__(self, pipe: int | None) -> None:
        self._read, self._write = socket.socketpair()
        self._read.setblocking(False)
        self._write.setblocking(False)
        self._signals = 0
        self._told = False
        self.owner_gone = False
        self.pipe = pipe
        if pipe is not None:
            os.set_blocking(pipe, False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        signal.set_wakeup_fd(self._write.fileno(), warn_on_full_buffer=False)

    def _on_signal(self, number: int, frame: object) -> None:
        self._signals += 1

    def fileno(self) -> int:
        """Readable after a signal (SIGCHLD with a handler included)."""
        return self._read.fileno()

    @property
    def sources(self) -> list[Any]:
        """What to poll."""
        return [self] if self.pipe is None else [self, self.pipe]

    def clear(self) -> None:
        """Take back the readiness, before looking at what it was for."""
        try:
            self._read.recv(4096)
        except BlockingIOError:
            pass

    def first_line(self) -> str:
        """The line with which the owner begins: waits for it. "" if the owner is gone."""
        assert self.pipe is not None
        line = b""
        os.set_blocking(self.pipe, True)
        while not line.endswith(b"\n"):
            byte = os.read(self.pipe, 1)
            if not byte:
                self.owner_gone = True
                return ""
            line += byte
        os.set_blocking(self.pipe, False)
        return line.decode()

    def ended(self) -> bool | None:
        """None to go on; True to leave in order; False to leave now."""
        self.clear()
        if self._owner_is_gone():
            self.owner_gone = True
            return False
        if self._signals > 1:
            return False
        return True if self._signals else None

    def _owner_is_gone(self) -> bool:
        if self.pipe is None or self.owner_gone:
            return self.owner_gone
        try:
            return os.read(self.pipe, 1) == b""
        except BlockingIOError:
            return False


def tell_owner(descriptor: int, line: dict[str, Any]) -> None:
    """Say one line to the process that has started us, and nothing more. If that is gone, the life
    pipe says so, too: whoever leaves then does so in order."""
    try:
        os.write(descriptor, json.dumps(line).encode() + b"\n")
    except BrokenPipeError:
        pass
    os.close(descriptor)
