"""Slurm: workers as a job of Slurm."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from ..errors import LaunchFailed
from .batch import Batch, Job, tool
from .launched import Handed, Look

#: What Slurm calls a job that is over; all but the first went wrong, or were told to.
OVER = {
    "COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "BOOT_FAIL",
    "DEADLINE", "PREEMPTED", "REVOKED",
}  # fmt: skip

#: There is no --signal: a worker knows from Slurm when its time ends, and leaves before. A signal
#: ahead of that would hurry it, and one to the batch shell (``B:``) is srun's, which has taken its
#: place. What comes unforeseen, by preemption or scancel, is SIGTERM, which the step is sent.
SCRIPT = """\
#!/bin/bash -l
#SBATCH --job-name={{name}}
#SBATCH --nodes={{nodes}}
#SBATCH --ntasks-per-node=1
#SBATCH {{share}}
#SBATCH --time={{time}}
#SBATCH --output={{log}}
{{setup}}
cd /
# Said once, and not by each node
{{check}} || exit 1
exec srun --cpu-bind=none {{step}}{{command}}
"""


@dataclass
class SlurmJob(Job):
    """A job of Slurm."""

    kind: ClassVar[str] = "slurm"
    TURN: ClassVar[set[str]] = {"", "Resources", "Priority"}

    def ask(self) -> Look:
        """By scontrol, which knows a job for some minutes after its end; then by sacct, where a
        site has that."""
        done = tool("scontrol", "show", "job", "-o", self.job)
        found = dict(re.findall(r"(\w+)=(\S*)", done.out))
        if "JobState" in found:
            return how_it_is(found["JobState"], found.get("Reason", ""), found.get("ExitCode", ""))
        if "Invalid job id" not in done.told:
            raise LaunchFailed(done.told)
        told = tool("sacct", "-n", "-X", "-P", "-j", self.job, "-o", "State,ExitCode")
        state, _, code = told.out.strip().partition("|")
        return (
            Look("ended", True) if told.code or not state else how_it_is(state.split()[0], "", code)
        )

    def cancel(self) -> None:
        """SIGTERM: workers let what runs end first, as long as the site allows it."""
        done = tool("scancel", self.job)
        if done.code and "Invalid job id" not in done.told:
            raise LaunchFailed(done.told)


def how_it_is(state: str, reason: str, code: str) -> Look:
    """What Slurm's words mean; `code` is an exit code and a signal, as in ``0:15``."""
    is_over = state in OVER
    why = [] if reason in ("None", "") else [reason]
    if is_over:
        words = zip(("exit code", "signal"), code.split(":"), strict=False)
        why += [f"{word} {number}" for word, number in words if number not in ("", "0")]
    return Look(state.lower(), is_over, ", ".join(why))


@dataclass(frozen=True)
class Slurm(Batch):
    """Starts workers as a job of Slurm, one on each node. See `Batch` for what it takes.

    Example:
        >>> with Mesh(launch=Slurm(nodes=4, time="01:00:00", options=["--partition=long"])) as m:
        ...     m.submit_many(simulate, Ts).results()
    """

    SCRIPT: ClassVar[str] = SCRIPT
    NAME: ClassVar[str] = "slurm"
    SUBMIT: ClassVar[Sequence[str]] = ("sbatch", "--parsable")
    JOB: ClassVar[type[Job]] = SlurmJob

    def values(self, to: Handed) -> dict[str, str]:
        """What placeholders mean; `share`: how much of a node is asked for; `step`: how much of
        that srun takes. That is all of it if nothing is said: its --exclusive means one CPU."""
        if self.cpus is None:
            return super().values(to) | {"share": "--exclusive", "step": ""}
        share = f"--cpus-per-task={self.cpus}"
        return super().values(to) | {"share": share, "step": f"{share} "}
