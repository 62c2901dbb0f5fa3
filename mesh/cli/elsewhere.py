"""Elsewhere: options of GNU parallel that ``mesh run`` does not have, and what does it here.

Those of the same name and meaning it simply has. Click would guess by spelling.
"""

from __future__ import annotations

import click

_SHOWN = "how far it is, and what time is left, is shown by default: see --progress"
_ONE_EACH = "each job has one value of each source: see {1} and :::+"
_HOSTS = "workers on other hosts are started by `mesh launch`, and --access joins their mesh"
_LINES = "-u, --line-buffer prints lines as they come"

#: By the options that stand for it there.
PARALLEL = {
    "--bar": _SHOWN,
    "--eta": _SHOWN,
    "--delay": "there is no pause between jobs; -j N begins no more than N at once",
    "--halt": "--max-fails N begins no more when so many have failed, and lets what runs end",
    "--halt-on-error": "--max-fails N begins no more when so many have failed",
    "-I": "{} is the value, and nothing else stands for it",
    "-i": "{} is the value, wherever it stands",
    "--lb": _LINES,
    "--ungroup": _LINES,
    "--load": "jobs begin where slots are free; -j N begins no more than N at once",
    "--memfree": "--memory SIZE begins a job where others leave so much, and stops it beyond",
    "-n": _ONE_EACH,
    "-N": _ONE_EACH,
    "--max-args": _ONE_EACH,
    "--resume-failed": "--retry-failed runs again what has failed, --resume what is not done",
    "-S": _HOSTS,
    "--sshlogin": _HOSTS,
    "--timeout": "--time-limit TIME stops a run after so long",
    "--wd": "--cwd DIR runs in DIR",
    "--workdir": "--cwd DIR runs in DIR",
}


class LikeParallel(click.Command):
    """A command of which who knows GNU parallel expects its options."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As any command does; an option of there is refused with what does it here."""
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            name = error.option_name
            if name not in PARALLEL:
                raise
            line = f"No such option {name!r}, as GNU parallel has: {PARALLEL[name]}"
            raise click.UsageError(line, ctx) from None
