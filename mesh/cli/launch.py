"""``mesh launch``: workers on other hosts, by ssh or a cluster's manager; or on this one.

What follows ``--`` goes to what starts them: to ssh, sbatch, qsub, mpiexec.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .amounts import Duration
from .exits import FAILED
from .lines import json_option, many, print_json, warn
from .place import Place, place_options
from .threads import threads_option

if TYPE_CHECKING:
    from ..launch.batch import Batch
    from ..launch.local import Local
    from ..launch.mpi import Mpi
    from ..launch.ssh import Ssh

    Launcher = Local | Ssh | Batch | Mpi

#: Where the arguments behind ``--`` are kept.
PASSED = "mesh.launch.passed"


class Passing(click.Command):
    """A command that passes on what follows ``--``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep that apart."""
        ctx.meta[PASSED] = []
        if "--" in args:
            at = args.index("--")
            args, ctx.meta[PASSED] = args[:at], args[at + 1 :]
        return super().parse_args(ctx, args)


@click.group()
def launch() -> None:
    """Start workers on other hosts. The mesh listens on TCP (`mesh up --listen any`).

    Each prints with --dry-run what it will run. What is started is listed by `mesh launches`, and
    ended with its mesh, unless --kept.

    \b
    mesh launch ssh n1 n2 user@n3:2222
    mesh launch ssh --hosts FILE --setup 'module load python' -- -i ~/.ssh/cluster
    mesh launch slurm -N 4 -t 01:00:00 -- --partition=long
    """


def _launcher(command: Callable[..., Launcher]) -> click.Command:
    """A command that makes a launcher of its arguments, and launches."""

    @click.option("--dry-run", is_flag=True, help="Print what will be run, and run nothing.")
    @click.option("--python", metavar="PATH", help="The interpreter there; default: this one's.")
    @click.option(
        "--setup",
        default="",
        metavar="COMMANDS",
        help="Before it, such as 'module load x; conda activate y'.",
    )
    @click.option(
        "--slots", type=click.IntRange(min=1), metavar="N", help="Of each worker; default: CPUs."
    )
    @threads_option
    @click.option(
        "--idle-timeout",
        type=Duration(),
        metavar="TIME",
        help="A worker leaves after so long without a task, such as 10m, and a job of which all "
        "have ends. Default: never.",
    )
    @click.option(
        "--worker-option",
        "worker_options",
        multiple=True,
        metavar="OPTION",
        help="For `mesh worker`, such as --store-quota=10GB. May be given again.",
    )
    @click.option("--kept", is_flag=True, help="Do not cancel it when the mesh is stopped.")
    @json_option
    @place_options
    @functools.wraps(command)
    def launching(
        *,
        place: Place,
        dry_run: bool,
        python: str | None,
        kept: bool,
        as_json: bool,
        **given: Any,
    ) -> int:
        if python is not None:
            given["python"] = python
        if passed := click.get_current_context().meta[PASSED]:
            given["options"] = passed
        try:
            launcher = command(**given)
        except (ValueError, TypeError, OSError) as error:
            raise click.UsageError(str(error)) from None
        return _show(place, launcher, as_json) if dry_run else _run(place, launcher, kept, as_json)

    return launch.command(cls=Passing, name=command.__name__)(launching)


def _show(place: Place, launcher: Launcher, as_json: bool) -> int:
    """Print what `launcher` will run."""
    from ..launch.launched import handed

    for step in launcher.plan(handed(place.read().mesh)):
        if as_json:
            told = {"argv": step.argv, "script": step.script, "takes_access": step.takes_access}
            print_json({"note": step.note} | told)
        else:
            click.echo(step.shown())
    return 0


def _run(place: Place, launcher: Launcher, kept: bool, as_json: bool) -> int:
    """Launch; the exit code: whether all of it was."""
    failed = []

    def say(line: str) -> None:
        failed.append(line)
        warn(line)

    for each in launcher.launch(place.read(), kept=kept, say=say):
        if as_json:
            print_json(each.as_json())
        else:
            now = each.look()
            why = f": {now.why}" if now.why else ""
            click.echo(f"launch {each.number}: {each}, {now.state}{why}; log in {each.log}")
    if failed and not as_json:
        warn(f"{many(len(failed), 'worker')} could not be started")
    return FAILED if failed else 0


@_launcher
@click.option(
    "-n", "--workers", type=click.IntRange(min=1), default=1, show_default=True, metavar="N"
)
def local(**given: Any) -> Launcher:
    """Start workers on this host.

    \b
    mesh launch local -n 2 --slots 4
    """
    from ..launch.local import Local

    return Local(**given)


@_launcher
@click.option(
    "--hosts",
    "file",
    type=click.Path(exists=True, dir_okay=False),
    metavar="FILE",
    help="A host a line.",
)
@click.argument("hosts", nargs=-1, metavar="[HOST]... [-- SSH OPTIONS]")
def ssh(file: str | None, hosts: tuple[str, ...], **given: Any) -> Launcher:
    """Start a worker on each HOST, by ssh, and leave it there.

    A HOST is USER@HOST:PORT. In a FILE there is one on each line, perhaps with slots=N behind it,
    and after # a comment. ssh must get in without a password.

    \b
    mesh launch ssh n1 n2
    mesh launch ssh --hosts FILE --dry-run
    """
    from ..launch.hosts import read
    from ..launch.ssh import Ssh

    listed = [] if file is None else read(Path(file))
    return Ssh([*listed, *hosts], **given)


def _batch(command: Callable[..., Launcher]) -> Callable[..., Launcher]:
    """The options of a job."""
    options = (
        click.option(
            "-N", "--nodes", type=click.IntRange(min=1), default=1, show_default=True, metavar="N"
        ),
        click.option(
            "-t",
            "--time",
            metavar="TIME",
            help="How long at most, such as 01:00:00, 90m, 12h, or whatever the manager takes: "
            "without a unit Slurm means minutes, PBS seconds.",
        ),
        click.option(
            "-c",
            "--cpus",
            type=click.IntRange(min=1),
            metavar="N",
            help="Of each node; default: all, for this job alone.",
        ),
        click.option(
            "--template",
            type=click.Path(exists=True, dir_okay=False),
            metavar="FILE",
            help="The job's script, with {{command}} for the worker's command.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


@_launcher
@_batch
def slurm(**given: Any) -> Launcher:
    """Submit a job to Slurm with a worker on each node. What follows -- is for sbatch.

    \b
    mesh launch slurm -N 4 -t 01:00:00 -- --partition=long --account=physics
    mesh launch slurm -N 4 --dry-run
    """
    from ..launch.slurm import Slurm

    return Slurm(**given)


@_launcher
@_batch
def pbs(**given: Any) -> Launcher:
    """Submit a job to PBS with a worker on each node. What follows -- is for qsub.

    \b
    mesh launch pbs -N 4 -c 32 -t 01:00:00 -- -q long -A physics
    """
    from ..launch.pbs import Pbs

    return Pbs(**given)


@_launcher
@click.option("-n", type=click.IntRange(min=1), default=1, show_default=True, metavar="N")
def mpi(**given: Any) -> Launcher:
    """Start N workers by mpiexec, in the background. What follows -- is for mpiexec.

    \b
    mesh launch mpi -n 64
    mesh launch mpi -n 4 --slots 32 -- --map-by ppr:1:node
    """
    from ..launch.mpi import Mpi

    return Mpi(**given)
