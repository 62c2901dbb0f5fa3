"""Life: what ends a process from outside, as something to poll.

SIGTERM or SIGINT: leave in order, within a time (drain); the second: leave now. A warning: the same
as the first, however often. The end of the
*life pipe*, which the process that started us holds open: it is gone, however it went, so leave
now. It is a pipe and no parent-death signal: that comes when the *thread* ends that started us.
"""

from __future__ import annotations

import json
import os
import signal
import socket
from typing import Any

#: What runs may take so long after the first signal. Batch managers kill 30 s after SIGTERM; what
#: is interrupted then may take two seconds to clean up, and the last outcomes have to be recorded.
DRAIN_S = 25.0

#: What is sent ahead of the end: by Slurm (--signal, preemption), by Grid Engine (-notify), and by
#: the kernel at the soft limit of CPU time, each second.
WARNINGS = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU)


class Life:
    """Signals and the life pipe of this process. Call from the main thread.

    Args:
        pipe: the descriptor to watch for its end, or None.
        drain_s: what runs may take so long after the first signal, or a warning.
        interrupt_drain_s: the same, if that was SIGINT; default as `drain_s`.
    """

    def __init__(
        self,
        pipe: int | None,
        drain_s: float = DRAIN_S,
        interrupt_drain_s: float | None = None,
    ) -> None:
        self._drain_s = {
            signal.SIGTERM: drain_s,
            signal.SIGINT: drain_s if interrupt_drain_s is None else interrupt_drain_s,
        }
        self._within_s: float | None = None
        self._read, self._write = socket.socketpair()
        self._read.setblocking(False)
        self._write.setblocking(False)
        self._signals = 0
        self._said: float | None = None
        self.owner_gone = False
        self.pipe = pipe
        if pipe is not None:
            os.set_blocking(pipe, False)
        for number in (*self._drain_s, *WARNINGS):
            signal.signal(number, self._on_signal)
        signal.set_wakeup_fd(self._write.fileno(), warn_on_full_buffer=False)

    def _on_signal(self, number: int, frame: object) -> None:
        if number not in WARNINGS:
            self._signals += 1
            self._within_s = self._drain_s[signal.Signals(number)]
        elif self._within_s is None:
            self._within_s = self._drain_s[signal.SIGTERM]

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

    def ended(self) -> float | None:
        """None to go on; else what runs may take so many seconds before we leave: 0 is now. Each is
        said once."""
        self.clear()
        self.owner_gone = self._owner_is_gone()
        within_s = 0.0 if self.owner_gone or self._signals > 1 else self._within_s
        said, self._said = self._said, within_s
        return None if within_s == said else within_s

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
