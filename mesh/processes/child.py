"""Child: a slot's process, as its worker holds it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections import deque


class Child:
    """A slot's process, and the pair to it."""

    def __init__(
        self,
        number: int,
        process: subprocess.Popen[bytes],
        pair: socket.socket,
        theirs: socket.socket,
    ) -> None:
        self.number = number
        self.process = process
        self.pid = process.pid
        self.pair = pair  # the worker's end
        self.theirs = theirs  # a duplicate of the slot's end: what is in it was not read
        self.waiting: deque[bytes] = deque()
        self.numbers: dict[bytes, int] = {}  # functions, by the number the slot knows them by
        self.output = f"slot-{self.pid}.out"

    def flush(self) -> None:
        """Write what waits, as far as the pair takes it."""
        while self.waiting:
            try:
                self.pair.send(self.waiting[0], socket.MSG_DONTWAIT)
            except (BlockingIOError, ConnectionError):
                return  # full: an answer will make room; or dead: SIGCHLD is on its way
            self.waiting.popleft()

    def freeze(self) -> bool:
        """Stop the process where it is; whether it is still there."""
        try:
            os.kill(self.pid, signal.SIGSTOP)
            state = os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        except (ProcessLookupError, ChildProcessError):
            return False
        return state is not None and state.si_code == os.CLD_STOPPED

    def thaw(self) -> None:
        """Let it go on."""
        self.signal(signal.SIGCONT)

    def signal(self, number: int) -> None:
        """Signal it and whatever it has started. Until it is waited for the group is its own."""
        try:
            os.killpg(self.pid, number)
        except (ProcessLookupError, PermissionError):
            pass  # it was faster, and left nobody

    def is_dead(self) -> bool:
        """Whether it is dead; if so, what it had started is ended too, and it is waited for."""
        how = os.WEXITED | os.WNOHANG | os.WNOWAIT  # waited for last: then its pid is anybody's
        if os.waitid(os.P_PID, self.pid, how) is None:
            return False
        self.signal(signal.SIGKILL)
        self.process.wait()
        return True

    def close(self) -> None:
        """Free the descriptors."""
        self.pair.close()
        self.theirs.close()


def how_it_ended(code: int) -> str:
    """A return code in words."""
    if code < 0:
        name = signal.Signals(-code).name
        hint = " (out of memory?)" if -code == signal.SIGKILL else ""
        return f"was killed by {name}{hint}"
    return f"exited with code {code}"
