"""Wards: the slots that a warden ends when this worker is gone, and the warden itself.

Call from the worker's main thread. A warden that was killed is replaced: the next one is told of
all that there is. `mark` is for the environment of every slot.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

from . import warden
from .complaints import Complaints
from .life import WARNINGS
from .log import Log

#: What is sent to a whole job, and is not for a warden.
BLOCKED = (signal.SIGINT, signal.SIGTERM, *WARNINGS)

#: A warden that dies at once is not started again at once: something is wrong with it.
RESTART_PAUSE_S = 1.0

#: When the worker leaves, its warden has done its work within this.
LEAVE_S = 5.0


class Wards:
    """The wards of one worker, and their warden. `start` it when the first slots are there."""

    def __init__(self, log: Log) -> None:
        self.mark = os.urandom(8).hex()
        self._log = log
        self._slots: dict[int, int] = {}  # their start times
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe = -1
        self._complaints: Complaints | None = None
        self._started_at = -RESTART_PAUSE_S

    def start(self) -> None:
        """Start a warden, if there is none."""
        now = time.monotonic()
        if self._is_there() or now < self._started_at + RESTART_PAUSE_S:
            return
        self._started_at = now
        try:
            self._process = self._spawn()
        except OSError as error:  # no descriptors, no memory: later, perhaps
            self._log(f"a warden cannot be started: {error}")
            return
        for pid, start in self._slots.items():
            self._tell("+", pid, start)

    def _spawn(self) -> subprocess.Popen[bytes]:
        read, write = os.pipe()
        # Blocked, and that is inherited: no signal to a whole job ends it, not even at its start.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, BLOCKED)
        complaints = None
        try:
            complaints = Complaints()
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", warden.__file__, self.mark],
                stdin=read,
                stdout=subprocess.DEVNULL,
                stderr=complaints.write,
                start_new_session=True,
            )
        except OSError:
            os.close(write)
            if complaints is not None:
                complaints.close()
            raise
        finally:
            if complaints is not None:
                complaints.started()
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            os.close(read)
        os.set_blocking(write, False)
        self._pipe, self._complaints = write, complaints
        return process

    def _is_there(self) -> bool:
        if self._process is None:
            return False
        code = self._process.poll()
        if code is None:
            return True
        self._log(f"the warden, process {self._process.pid}, ended with code {code}: another")
        os.close(self._pipe)
        self._bury()
        return False

    def _bury(self) -> None:
        """The warden has ended: what it has said, and what it leaves."""
        assert self._process is not None and self._complaints is not None
        for line in self._complaints.lines(last=True):
            pid = self._process.pid
            self._log(f"the warden, process {pid}: {line}", "warden said", warden_pid=pid)
        self._complaints.close()
        self._process = None

    def add(self, pid: int) -> None:
        """A slot was started."""
        self._slots[pid] = warden.start_of(pid) or 0
        self._tell("+", pid, self._slots[pid])

    def remove(self, pid: int) -> None:
        """A slot has ended, and its process group with it."""
        self._tell("-", pid, self._slots.pop(pid))

    def _tell(self, sign: str, pid: int, start: int) -> None:
        if self._process is None:
            return  # the next one is told everything
        try:
            os.write(self._pipe, f"{sign} {pid} {start}\n".encode())
        except OSError:
            self._process.kill()  # gone, or it does not listen; SIGCHLD says when to replace it

    def close(self) -> None:
        """Have what is left of the slots ended, the warden last."""
        if self._process is None:
            return
        os.close(self._pipe)
        try:
            self._process.wait(LEAVE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._bury()
