"""Process: a launched process, on this host or on one that ssh leads to.

It is known by its number and by the id of its mesh, which is in its command line: a number alone
may be another process's by now.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass, field
from typing import ClassVar

from ..errors import LaunchFailed
from .launched import Launched, Look
from .step import Done, Step

#: A process is looked at, or told to end, within this; longer, and its host does not answer.
LOOK_TIMEOUT_S = 20.0

#: What the commands here say of a process that is gone.
GONE = 7


@dataclass
class Process(Launched):
    """One process; `reach`: the command that leads to its host, if that is another one."""

    kind: ClassVar[str] = "process"

    reach: list[str] = field(default_factory=list)

    def look(self) -> Look:
        """How it is."""
        try:
            done = self._do("true")
        except LaunchFailed as error:
            return Look("unknown", None, str(error))
        if done.code == GONE:
            return Look("ended", True)
        return Look("unknown", None, done.told) if done.code else Look("running", False)

    def cancel(self) -> None:
        """SIGTERM: a worker lets what runs end first, for a while."""
        done = self._do(f"kill -TERM {int(self.job)}")
        if done.code not in (0, GONE):
            raise LaunchFailed(done.told)

    def _do(self, command: str) -> Done:
        """Do it, if the process is there."""
        if not self.reach and self.host != socket.gethostname():
            raise LaunchFailed(f"it was started on {self.host}: look there")
        script = (
            f"ps -ww -o args= -p {int(self.job)} | grep -q {self.mesh} || exit {GONE}; {command}"
        )
        shell = ["sh", "-c", script]
        argv = [*self.reach, f"exec sh -c '{script}'"] if self.reach else shell
        return Step(argv, "").run("", LOOK_TIMEOUT_S)
