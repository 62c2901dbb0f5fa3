"""Step: one command of a launch, as it is shown and as it is run.

What `shown` shows is what `run` runs, but for the access file: that goes by standard input, and is
never shown, nor in the arguments.
"""

from __future__ import annotations

import shlex
import subprocess
from dataclasses import dataclass
from typing import NamedTuple

from ..errors import LaunchFailed

#: What is shown instead of keys.
ACCESS_SHOWN = "ACCESS-FILE-FOR-WORKERS"

#: So much of what a command says is shown; its end tells why it failed.
TOLD_CHARACTERS = 4000


class Done(NamedTuple):
    """How a step ended."""

    code: int
    out: str
    err: str

    @property
    def told(self) -> str:
        """What it said, for people."""
        said = self.err.strip() or self.out.strip() or f"exit code {self.code}"
        return said[-TOLD_CHARACTERS:]


@dataclass(frozen=True)
class Step:
    """A command.

    Attributes:
        argv: its arguments.
        note: what it is for, for people.
        script: its standard input, unless that is the access file.
        takes_access: whether it is.
    """

    argv: list[str]
    note: str
    script: str = ""
    takes_access: bool = False

    def shown(self) -> str:
        """As it could be typed into a shell."""
        line = shlex.join(self.argv)
        if self.takes_access:
            line += f" < {ACCESS_SHOWN}"
        elif self.script:
            line += f" <<'END'\n{self.script.rstrip()}\nEND"
        return f"# {self.note}\n{line}"

    def run(self, access: str, timeout_s: float) -> Done:
        """Run it to its end; `access` is what an access file says.

        Raises:
            LaunchFailed: there is no such command, or it has not ended within `timeout_s`.
        """
        try:
            done = subprocess.run(
                self.argv,
                input=access if self.takes_access else self.script,
                capture_output=True,
                timeout=timeout_s,
                text=True,
                errors="replace",
            )
        except OSError as error:
            raise LaunchFailed(f"{self.argv[0]} cannot be run: {error.strerror}") from error
        except subprocess.TimeoutExpired as late:
            said = (late.stderr or b"").decode(errors="replace").strip()
            raise LaunchFailed(
                f"{self.argv[0]} has not ended within {timeout_s:g} s{': ' if said else ''}{said}"
            ) from None
        return Done(done.returncode, done.stdout, done.stderr)
