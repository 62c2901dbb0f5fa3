"""Pbs: workers as a job of PBS."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from ..errors import LaunchFailed
from .batch import Batch, Job, tool
from .launched import Handed, Look

#: What the letters mean; the last three are over.
STATES = {
    "Q": "queued", "H": "held", "W": "waiting", "T": "moved", "S": "suspended", "B": "begun",
    "R": "running", "E": "ending", "F": "finished", "C": "completed", "X": "expired",
}  # fmt: skip
OVER = "FCX"

#: What is said of a job that was forgotten.
UNKNOWN = re.compile("unknown job|has finished|does not exist", re.I)

#: PBS brings a job's output when that has ended; we want to see it while it runs. And pbsdsh starts
#: with a bare environment.
SCRIPT = """\
#!/bin/bash -l
#PBS -N {{name}}
#PBS -l select={{nodes}}{{chunk}}
#PBS -l place={{place}}
#PBS -l walltime={{time}}
#PBS -j oe
#PBS -o /dev/null
exec > {{log}} 2>&1
{{setup}}
cd /
# Said once, and not by each node
{{check}} || exit 1
exec pbsdsh -- bash -lc {{line}}
"""


@dataclass
class PbsJob(Job):
    """A job of PBS."""

    kind: ClassVar[str] = "pbs"

    def ask(self) -> Look:
        """By qstat; some sites tell of what has ended with -x alone."""
        done = tool("qstat", "-f", self.job)
        if done.code:
            history = tool("qstat", "-x", "-f", self.job)
            done = done if history.code else history
        found = dict(re.findall(r"^\s*(\w+) = (.*)$", done.out, re.M))
        letter = found.get("job_state", "")
        if letter not in STATES:
            if UNKNOWN.search(done.told):
                return Look("ended", True)
            raise LaunchFailed(done.told)
        code = found.get("Exit_status", "0")
        why = found.get("comment", "") if code == "0" else f"exit code {code}"
        return Look(STATES[letter], letter in OVER, why)

    def cancel(self) -> None:
        """SIGTERM: workers let what runs end first, as long as the site allows it."""
        done = tool("qdel", self.job)
        if done.code and not UNKNOWN.search(done.told):
            raise LaunchFailed(done.told)


@dataclass(frozen=True)
class Pbs(Batch):
    """Starts workers as a job of PBS, one on each node. See `Batch` for what it takes.

    Example:
        >>> with Mesh(launch=Pbs(nodes=4, cpus=32, time="01:00:00", options=["-q", "long"])) as m:
        ...     m.submit_many(simulate, Ts).results()
    """

    SCRIPT: ClassVar[str] = SCRIPT
    NAME: ClassVar[str] = "pbs"
    SUBMIT: ClassVar[Sequence[str]] = ("qsub",)
    JOB: ClassVar[type[Job]] = PbsJob

    def values(self, to: Handed) -> dict[str, str]:
        """What placeholders mean; `line`: the command after the setup, for a shell on each node;
        `chunk` and `place`: how much of a node is asked for."""
        slots = self.cpus if self.slots is None else self.slots
        return super().values(to) | {
            "line": shlex.quote(self.after_setup(self.worker(str(to.access), slots))),
            "chunk": "" if self.cpus is None else f":ncpus={self.cpus}",
            "place": "scatter:excl" if self.cpus is None else "scatter",
        }
