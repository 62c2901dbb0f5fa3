"""Start: how a worker is started wherever it may be: by which Python, after what, with what.

All launchers are one. What is said here holds for each: no key is in what is built here.
"""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import LaunchFailed
from ..protocol.messages import VERSION_MAX, VERSION_MIN

#: Prints Python's version and that of the protocol: the least that says whether a worker can work.
CHECK = (
    "import json, sys; from mesh.protocol.messages import VERSION_MAX, VERSION_MIN; "
    "print(json.dumps([*sys.version_info[:2], VERSION_MIN, VERSION_MAX]))"
)

#: How shells and Python say that there is none, or no Mesh for it.
_NO_PYTHON = re.compile(r"python[\w.]*'?: .*(no such|not found)|(no such|not found).*python", re.I)
_NO_MESH = re.compile(r"No module named '?mesh\b")


@dataclass(frozen=True, kw_only=True)
class Start:
    """What all launchers take.

    Args:
        python: the interpreter there; default: the path of this one.
        setup: shell commands that come before it, such as ``module load x; conda activate y``.
        slots: of each worker; default: the CPUs that it may use.
        threads: so many tasks run at once in each process of a worker, for tasks that wait.
        idle_timeout: a worker that had nothing to do for so many seconds leaves, and a job of which
            all have ends; default: it stays.
        worker_options: further arguments of `mesh worker`.
    """

    python: str = field(default_factory=lambda: sys.executable)
    setup: str = ""
    slots: int | None = None
    threads: int = 1
    idle_timeout: float | None = None
    worker_options: Sequence[str] = ()

    def worker(self, access: str, slots: int | None, *more: str) -> list[str]:
        """The command of a worker that joins by `access`, with so many `slots`."""
        count = [] if slots is None else ["--slots", str(slots)]
        idle = [] if self.idle_timeout is None else ["--idle-timeout", f"{self.idle_timeout:g}"]
        lanes = [] if self.threads == 1 else ["--threads", str(self.threads)]
        worker = [self.python, "-m", "mesh", "worker", "--access", access]
        return [*worker, *more, *count, *lanes, *idle, *self.worker_options]

    def check(self) -> list[str]:
        """The command that says whether a worker could run there."""
        return [self.python, "-c", CHECK]

    def after_setup(self, command: Sequence[str]) -> str:
        """`command` for a shell, after the setup. In the root folder: what lies in a user's folder
        must not be taken for our modules."""
        line = f"cd / && exec {shlex.join(command)}"
        return f"{{ {self.setup.strip().rstrip(';')}; }} && {line}" if self.setup.strip() else line

    def shell(self, command: Sequence[str]) -> str:
        """The same for a shell of any kind, with one of its own that knows `module` and the like,
        if there is a setup."""
        line = self.after_setup(command)
        return f"exec bash -lc {shlex.quote(line)}" if self.setup.strip() else line

    def judge(self, said: str, where: str) -> None:
        """Make sure that a worker which says `said` to `check` can work for us.

        Raises:
            LaunchFailed: it cannot.
        """
        found = last_json(said)
        if not (isinstance(found, list) and len(found) == 4):
            raise LaunchFailed(f"{where}: {self.python} does not say which Python it is: {said!r}")
        theirs, (low, high) = tuple(found[:2]), found[2:]
        if theirs != sys.version_info[:2]:
            raise LaunchFailed(
                f"{where}: {self.python} is Python {'.'.join(map(str, theirs))}, and this is "
                f"{'.'.join(map(str, sys.version_info[:2]))}: functions that are pickled need the "
                f"same. Name another with --python, or load one with --setup"
            )
        if low > VERSION_MAX or high < VERSION_MIN:
            raise LaunchFailed(
                f"{where}: its Mesh speaks protocol {low} to {high}, this one {VERSION_MIN} to "
                f"{VERSION_MAX}: use the same Mesh version"
            )


def advised(said: str) -> str:
    """What a host has said, and behind it what to do about that, where there is no Mesh."""
    for found, advice in (
        (_NO_MESH, "install Mesh for that Python there, or name another with --python"),
        (_NO_PYTHON, "name the interpreter there with --python"),
    ):
        if found.search(said):
            return f"{said}\n{advice}, or load one with --setup 'module load x; conda activate y'"
    return said


def last_json(said: str) -> Any:
    """What the last line says, if that is JSON: what comes before may be a login's greeting."""
    try:
        return json.loads(said.strip().splitlines()[-1])
    except (ValueError, IndexError):
        return None
