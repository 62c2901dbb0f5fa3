"""Batch: workers as a job of a cluster's manager, one on each node.

The job's script reads the access file, cut down to what a worker needs, from a folder that nodes
share: it is not in the script. Where a site needs another script, it is a template's.
"""

from __future__ import annotations

import math
import os
import re
import shlex
import socket
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from ..errors import LaunchFailed, MeshError
from ..options import seconds_of
from ..processes.walltime import clock_s
from ..transport.access import Access
from .launched import LOOK_S, Handed, Launched, Look, forget, hand_over, handed, reserve, warn
from .start import Start, advised
from .step import TOLD_CHARACTERS, Done, Step

#: A manager answers within this, or it is down: a busy one takes seconds.
MANAGER_S = 60.0

#: A job that runs has had a worker join within this, or is left alone: its nodes may be slow.
WATCH_S = 15.0

#: One that waits is left alone after this, or when its manager says that it waits for more than its
#: turn: managers begin jobs every few seconds.
QUEUED_S = 6.0

#: A time that managers do not take as it is: with a unit, or with days before it.
_TIME = re.compile(r"\s*[0-9.]+\s*(s|min|m|h|d)\s*|\s*[0-9]+-[0-9:]+\s*")

_PLACEHOLDER = re.compile(r"\{\{(\w+)\}\}")


@dataclass
class Job(Launched):
    """A job of a manager. `TURN`: what that says of one that waits for its turn alone; `BEGUN`: how
    it calls those that do not wait: what is about to end will tell soon how."""

    TURN: ClassVar[set[str]] = {""}
    BEGUN: ClassVar[set[str]] = {"running", "completing", "ending"}

    def look(self) -> Look:
        """How it is, by the manager's words."""
        try:
            return self.ask()
        except LaunchFailed as error:
            return Look("unknown", None, str(error))

    def ask(self) -> Look:
        """How it is; LaunchFailed: its manager does not answer."""
        raise NotImplementedError

    def await_join(self) -> None:
        """Wait until a worker of it has joined, or it is clear that it waits for its turn.

        Raises:
            LaunchFailed: it has ended; why, and what it has written.
        """
        begun = time.monotonic()
        while True:
            now = self.look()
            said = self.said()
            waited_s = time.monotonic() - begun
            if now.is_over:
                why = f": {now.why}" if now.why else ""
                words = f"{self} has ended at once, {now.state}{why}\n{advised(said)}"
                raise LaunchFailed(words.rstrip())
            if "joined mesh" in said:
                return
            is_queued = now.state not in self.BEGUN
            if is_queued and now.why not in self.TURN:
                return
            if waited_s > (QUEUED_S if is_queued else WATCH_S):
                return
            time.sleep(LOOK_S)

    def said(self) -> str:
        """The end of what it has written."""
        try:
            return Path(self.log).read_text(errors="replace")[-TOLD_CHARACTERS:]
        except OSError:
            return ""


def tool(*argv: str) -> Done:
    """What a manager's command says.

    Raises:
        LaunchFailed: there is none, or it does not end.
    """
    return Step(list(argv), "").run("", MANAGER_S)


@dataclass(frozen=True)
class Batch(Start):
    """What all managers take.

    Args:
        nodes: how many; one worker runs on each.
        time: how long at most: a text such as ``"01:00:00"``, ``"90m"``, ``"12h"``, ``"2d"``, or
            whatever the manager takes; default: the manager's.
        cpus: of each node; default: all, for this job alone. So many slots a worker has, unless
            `slots` says otherwise.
        options: further arguments of the command that submits.
        template: a file with the script, if the usual one does not do: ``{{command}}`` in it is the
            worker's command; also `name`, `nodes`, `time`, `cpus`, `log`, `setup`, `check`. A line
            whose placeholders are all empty is left out.
    """

    nodes: int = 1
    time: str | None = None
    cpus: int | None = None
    options: Sequence[str] = ()
    template: str | os.PathLike[str] | None = None

    #: The usual script; what it is called; and the command that submits it, with what comes first.
    SCRIPT: ClassVar[str] = ""
    NAME: ClassVar[str] = ""
    SUBMIT: ClassVar[Sequence[str]] = ()
    JOB: ClassVar[type[Job]] = Job

    def __post_init__(self) -> None:
        for name, value in (("nodes", self.nodes), ("cpus", self.cpus)):
            if value is not None and value < 1:
                raise ValueError(f"{name} must be 1 or more, not {value}")
        if not isinstance(self.time, str | None):
            raise TypeError(f"time is a text such as '01:00:00' or '90m', not {self.time!r}")
        as_clock(self.time or "")
        if self.template is not None:  # what is wrong with it is said before anything is done
            self.script(Handed("", Path(), Path()))

    def plan(self, to: Handed) -> list[Step]:
        """What will be run."""
        note = f"a job with a worker on each of its {self.nodes} nodes"
        return [Step([*self.SUBMIT, *self.options], note, script=self.script(to))]

    def script(self, to: Handed) -> str:
        """The job's script.

        Raises:
            ValueError: the template has a placeholder that means nothing.
            OSError: it cannot be read.
        """
        given = self.SCRIPT if self.template is None else Path(self.template).read_text()
        values = self.values(to)
        lines = []
        for line in given.splitlines():
            names = _PLACEHOLDER.findall(line)
            for name in names:
                if name not in values:
                    raise ValueError(
                        f"{self.template}: {{{{{name}}}}} means nothing; there are "
                        f"{', '.join(sorted(values))}"
                    )
            if not names or any(values[name] for name in names):
                lines.append(_PLACEHOLDER.sub(lambda found: values[found[1]], line))
        return "\n".join(lines) + "\n"

    def values(self, to: Handed) -> dict[str, str]:
        """What placeholders mean."""
        slots = self.cpus if self.slots is None else self.slots
        command = self.worker(str(to.access), slots)
        return {
            "name": f"mesh-{to.mesh}",
            "nodes": str(self.nodes),
            "time": as_clock(self.time or ""),
            "cpus": "" if self.cpus is None else str(self.cpus),
            "log": shlex.quote(str(to.log)),
            "setup": self.setup.strip(),
            "check": shlex.join([self.python, "-c", _check()]),
            "command": shlex.join(command),
        }

    def launch(
        self, access: Access, *, kept: bool = False, say: Callable[[str], None] = warn
    ) -> list[Launched]:
        """Submit the job, and wait a moment to hear what becomes of it.

        Raises:
            LaunchFailed: it is not taken, or has ended by then; what the manager says, or its log.
        """
        cut = hand_over(access)
        number = reserve(cut.mesh)
        to = handed(cut.mesh, number)
        cut.write(to.access)
        job: Job | None = None
        try:
            (step,) = self.plan(to)
            done = step.run("", MANAGER_S)
            found = re.search(r"^\s*(\d[\w.\[\]-]*)", done.out, re.M)
            if done.code or found is None:
                raise LaunchFailed(f"{self.SUBMIT[0]}: {done.told}")
            where = f"{self.nodes} node{'' if self.nodes == 1 else 's'}"
            here, log = socket.gethostname(), str(to.log)
            job = self.JOB(cut.mesh, self.NAME, where, found[1], here, kept, log, number=number)
            job.write()
            job.await_join()
        except BaseException:  # Ctrl-C too: nobody would know of it
            if job is None:
                forget(cut.mesh, number)
            else:
                with suppress(MeshError):
                    job.cancel()
                job.forget()
            raise
        return [job]


def as_clock(time: str) -> str:
    """`time` as all managers take it: ``01:30:00`` for ``90m``. What has neither units nor days
    means different things to them, and is left as it is: ``5`` is minutes for Slurm."""
    if not _TIME.fullmatch(time):
        return time
    seconds = math.ceil(clock_s(time) or seconds_of("time", time))
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"


def _check() -> str:
    """Python that ends with the reason if a worker could not work there. The protocol is looked at
    by the worker itself."""
    ours = sys.version_info[:2]
    why = f"is not Python {ours[0]}.{ours[1]}, as where the mesh was launched from: name another"
    return (
        f"import sys, mesh.protocol.messages; "
        f"sys.version_info[:2] == {ours} or sys.exit(sys.executable + ' {why}')"
    )
