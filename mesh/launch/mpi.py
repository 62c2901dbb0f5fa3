"""Mpi: workers as the processes of mpiexec, wherever that starts them.

The access file is on a folder that hosts share, as mpiexec passes standard input to one alone.
"""

from __future__ import annotations

import shlex
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from ..errors import LaunchFailed, MeshError
from ..transport.access import Access
from .launched import LOOK_S, Handed, Launched, forget, hand_over, handed, reserve, warn
from .process import Process
from .start import Start
from .step import TOLD_CHARACTERS, Step

#: All workers have joined within this, or are left alone; if none has, something is wrong.
JOIN_S = 20.0


@dataclass(frozen=True)
class Mpi(Start):
    """Starts workers by mpiexec, which goes on in the background.

    Args:
        n: how many.
        slots: of each; default 1: a worker for each CPU is what mpiexec is used for. With a worker
            for each host (``options=["--map-by", "ppr:1:node"]``) give the host's CPUs.
        options: further arguments of mpiexec.

    Example:
        >>> with Mesh(launch=Mpi(n=64)) as m:
        ...     m.wait_for_slots(64)
    """

    n: int = 1
    options: Sequence[str] = ()

    def __post_init__(self) -> None:
        if self.n < 1:
            raise ValueError(f"n must be 1 or more, not {self.n}")

    def plan(self, to: Handed) -> list[Step]:
        """What will be run."""
        worker = self.worker(str(to.access), 1 if self.slots is None else self.slots)
        command = ["mpiexec", "-n", str(self.n), *self.options, *worker]
        shell = "bash -lc" if self.setup.strip() else "sh -c"
        line = f"exec > {shlex.quote(str(to.log))} 2>&1; {self.after_setup(command)}"
        return [Step([*shell.split(), line], f"{self.n} workers, in the background")]

    def launch(
        self, access: Access, *, kept: bool = False, say: Callable[[str], None] = warn
    ) -> list[Launched]:
        """Start them, and wait until they have joined.

        Raises:
            LaunchFailed: mpiexec has ended, or none has joined; what they say.
        """
        cut = hand_over(access)
        number = reserve(cut.mesh)
        to = handed(cut.mesh, number)
        cut.write(to.access)
        try:
            started = subprocess.Popen(
                self.plan(to)[0].argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            forget(cut.mesh, number)
            raise LaunchFailed(f"it cannot be run: {error.strerror}") from error
        here = socket.gethostname()
        where, job = f"{self.n} ranks", str(started.pid)
        launched = Process(cut.mesh, "mpi", where, job, here, kept, str(to.log), number=number)
        try:
            launched.write()
            self._await_join(started, to)
        except BaseException:  # Ctrl-C too: nobody would know of it
            with suppress(MeshError):
                launched.cancel()
            launched.forget()
            raise
        return [launched]

    def _await_join(self, started: subprocess.Popen[bytes], to: Handed) -> None:
        until = time.monotonic() + JOIN_S
        while True:
            code = started.poll()
            said = to.log.read_text(errors="replace") if to.log.exists() else ""
            joined = said.count("joined mesh")
            if code is not None:
                raise LaunchFailed(f"mpiexec: exit code {code}\n{said[-TOLD_CHARACTERS:]}".rstrip())
            if joined >= self.n:
                return
            if time.monotonic() > until:
                if joined:
                    return
                raise LaunchFailed(
                    f"mpiexec: no worker has joined within {JOIN_S:g} s\n{said[-TOLD_CHARACTERS:]}"
                )
            time.sleep(LOOK_S)
