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
from .log import Log

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
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT, signal.SIGTERM])
        try:
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", warden.__file__, self.mark],
                stdin=read,
                stdout=subprocess.DEVNULL,
                stderr=self._log.file,
                start_new_session=True,
            )
        except OSError:
            os.close(write)
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            os.close(read)
        os.set_blocking(write, False)
        self._pipe = write
        return process

    def _is_there(self) -> bool:
        if self._process is None:
            return False
        code = self._process.poll()
        if code is None:
            return True
        self._log(f"the warden, process {self._process.pid}, ended with code {code}: another")
        self._process = None
        os.close(self._pipe)
        return False

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
