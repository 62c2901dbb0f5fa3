"""The command line: ``mesh COMMAND``. Each command joins a mesh, asks or orders, and leaves.

A command's module is loaded when the command is: ``mesh --help`` must not wait for ZeroMQ.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from typing import Any

import click

from .. import __version__

#: Each command and the module it is in, in the order of a mesh's life.
COMMANDS = {
    "up": "up",
    "router": "serve",
    "worker": "serve",
    "access": "access",
    "launch": "launch",
    "launches": "launches",
    "submit": "submit",
    "run": "run",
    "result": "fetch",
    "logs": "fetch",
    "status": "look",
    "tasks": "look",
    "workers": "look",
    "explain": "explain",
    "wait": "wait",
    "cancel": "cancel",
    "retry": "retry",
    "export": "export",
    "forget": "forget",
    "prune": "forget",
    "stop": "stop",
    "doctor": "doctor",
}


class Commands(click.Group):
    """The group of all commands, and the one place where an error becomes an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands' names."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name; one that is nearly called so is named to who mistypes it."""
        if cmd_name not in COMMANDS:
            import difflib

            near = difflib.get_close_matches(cmd_name, COMMANDS, 1)
            if near and not ctx.resilient_parsing:
                ctx.fail(f"No such command {cmd_name!r}. Did you mean {near[0]!r}?")
            return None
        command: click.Command = getattr(
            import_module(f".{COMMANDS[cmd_name]}", __name__), cmd_name
        )
        return command

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = "mesh",
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run the command that `args` say and exit as it ended."""
        if not standalone_mode:
            return super().main(args, prog_name, complete_var, False, **extra)
        _open_streams()
        given = sys.argv[1:] if args is None else list(args)
        told: dict[str, Any] = extra.setdefault("obj", {})
        told["args"] = given
        try:
            code = super().main(given, prog_name, complete_var, False, **extra)
            sys.stdout.flush()
        except (SystemExit, GeneratorExit):
            raise
        except BaseException as error:
            from .exits import report

            code = report(error, as_json=told.get("json", "--json" in given))
        sys.exit(code if isinstance(code, int) else 0)


def _open_streams() -> None:
    """Have standard streams, all three: cron and daemons may begin with some of them closed, and
    what is opened next would be taken for those."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            with suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_RDWR), number)
            setattr(sys, name, os.fdopen(number, mode, closefd=False))


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="`mesh COMMAND --help` tells more, with an example.",
)
@click.version_option(__version__, prog_name="mesh")
def main() -> None:
    """Run Python functions on a mesh of workers, with no broker to install.

    \b
    mesh up                        start a mesh on this host
    mesh submit math:factorial 20  have it run something
    mesh result last               fetch the result
    """
