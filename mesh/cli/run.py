"""``mesh run``: commands as tasks, in the habit of GNU parallel."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack, nullcontext
from typing import TYPE_CHECKING, Any

import click

from ..options import options_of
from .amounts import Duration, Share, ShareType, Size
from .elsewhere import LikeParallel
from .exits import FAILED
from .joblog import Joblog
from .jobtree import Jobtree
from .lines import warn
from .live import LivePrinter
from .place import Place, place_options
from .plan import Plan, Record
from .printer import Printer
from .resources import task_resource_option
from .rows import Array, sources, split
from .running import Running

if TYPE_CHECKING:
    from ..client.bar import Bar
    from ..client.command import Command
    from ..client.echo import Show
    from ..client.mesh import Mesh

HELP = """Run a command once for each input value, as GNU parallel does.

Values follow the command, or come from files or standard input, a line each. Several sources make
all combinations; `:::+` and `::::+` go along with the one before. {} is the value, {.} without its
extension, {/} without its folder, {//} its folder, {/.} without both; {1} {2} that of one source;
{#} the job's number. Without any of them the values follow at the end.

One word is a line for the shell, in which values are quoted safely. Several words are a program
and its arguments: no shell sees them. Without a command each value is a line for the shell.

A mesh that runs is joined: that of --access or $MESH_ACCESS, of --name or --dir, else the default
one. If none does, one begins here, and ends with this command.

--resume and --retry-failed go by command and values, not by numbers. What was done before is read
from --joblog or --results. A mesh that stays knows it, too, if --resume was given from the first
run on; what it has is not run, and printed again.

The exit code is 0 if all jobs are done, 1 if any has failed, and 130 after Ctrl-C, which cancels
what is left.

\b
mesh run gzip -9 ::: *.txt
mesh run 'sort {} | uniq -c > {.}.count' :::: files
find . -name '*.wav' -print0 | mesh run -0 flac --silent
mesh run -j 4 --array 1-1000 --joblog log --resume ./simulate --seed {}
mesh run --name sweep --resume ./simulate {1} {2} ::: 0.1 0.2 ::: a b
"""


def _folder(ctx: click.Context, option: click.Parameter, folder: str) -> str:
    try:
        return os.path.abspath(folder)
    except FileNotFoundError:
        raise click.UsageError(
            "the current folder is gone: change to another, or give --cwd"
        ) from None


def _array(ctx: click.Context, option: click.Parameter, texts: tuple[str, ...]) -> list[Array]:
    try:
        return [Array(text) for text in texts]
    except ValueError as error:
        raise click.BadParameter(str(error), ctx, option) from None


def _pattern(
    ctx: click.Context, option: click.Parameter, text: str | None
) -> re.Pattern[str] | None:
    try:
        return None if text is None else re.compile(text)
    except re.error as error:
        raise click.BadParameter(
            f"{text!r} is no regular expression: {error}", ctx, option
        ) from None


def _variables(
    ctx: click.Context, option: click.Parameter, texts: tuple[str, ...]
) -> dict[str, str]:
    variables = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not name or not (equals or name in os.environ):
            raise click.BadParameter(f"{name!r} is not set here: give NAME=VALUE", ctx, option)
        variables[name] = value if equals else os.environ[name]
    return variables


def _input_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Where values come from."""
    for option in (
        click.option(
            "--array",
            "arrays",
            multiple=True,
            callback=_array,
            metavar="1-1000:2",
            help="Numbers as values, such as 1-9:2,20; %N behind them is -j N.",
        ),
        click.option(
            "-a",
            "--arg-file",
            "files",
            multiple=True,
            metavar="FILE",
            help="Lines of FILE as values, as `:::: FILE`; - is standard input.",
        ),
        click.option("-0", "--null", is_flag=True, help="Values in files end with NUL."),
        click.option(
            "-C",
            "--colsep",
            callback=_pattern,
            metavar="REGEX",
            help="What separates the columns of a value, which are {1}, {2}, …",
        ),
    ):
        command = option(command)
    return command


def _record_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """What stays of a run, and what a next one makes of it."""
    for option in (
        click.option(
            "--retry-failed", is_flag=True, help="Run again what has failed, and nothing else."
        ),
        click.option("--resume", is_flag=True, help="Do not run again what is done."),
        click.option(
            "--joblog",
            metavar="FILE",
            help="Write a line for each job that ends, as parallel does.",
        ),
        click.option(
            "--results",
            metavar="DIR",
            help="Keep stdout, stderr, seq, command and exit of each job in DIR/1/VALUE/…",
        ),
    ):
        command = option(command)
    return command


def _task_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options of the tasks."""
    for option in (
        click.option(
            "--time-request",
            metavar="TIME",
            help="Only where there is so much left: 3600, 90m, 01:30:00.",
        ),
        task_resource_option,
        click.option("--cpus", type=int, metavar="N", help="Take so many of a worker's slots."),
        click.option("--priority", type=int, metavar="N", help="Larger goes first; default 0."),
        click.option("--memory", type=Size(), metavar="SIZE", help="Stop a run that uses more."),
        click.option(
            "--time-limit",
            type=Duration(),
            metavar="TIME",
            help="Stop a run after so long: 90, 2h.",
        ),
        click.option("--backoff", type=float, metavar="SECONDS", help="Before a retry; doubles."),
        click.option(
            "--retries", type=int, metavar="N", help="Run a job that fails so often again."
        ),
    ):
        command = option(command)
    return command


@click.command(cls=LikeParallel, help=HELP, context_settings={"allow_interspersed_args": False})
@click.argument("words", metavar="[COMMAND]... [::: VALUES]...", nargs=-1, type=click.UNPROCESSED)
@click.option(
    "-j",
    "-P",
    "--jobs",
    "at_once",
    type=ShareType(),
    metavar="N|P%",
    help="Run so many at once. Default: as many as there are CPUs, or slots.",
)
@_input_options
@click.option("-k", "--keep-order", is_flag=True, help="Print in the order of the values.")
@click.option("-u", "--line-buffer", is_flag=True, help="Print lines as they come.")
@click.option("--tag", is_flag=True, help="Print the values in front of each line.")
@click.option("--dry-run", is_flag=True, help="Print the commands, and run nothing.")
@click.option(
    "--progress/--no-progress",
    default=True,
    help="Tell on stderr how far it is: on a terminal by a bar, if meshrun[progress] is there.",
)
@click.option(
    "--max-fails",
    type=ShareType(),
    metavar="N|P%",
    help="Begin no more when so many have failed; a share counts from three failures on.",
)
@_task_options
@_record_options
@click.option(
    "--env",
    multiple=True,
    callback=_variables,
    metavar="NAME[=VALUE]",
    help="Set an environment variable for jobs; without =VALUE as it is here.",
)
@click.option(
    "--cwd",
    default=".",
    callback=_folder,
    metavar="DIR",
    help="Run in DIR. Default: the current folder.",
)
@place_options
def run(
    place: Place,
    words: tuple[str, ...],
    at_once: Share | None,
    arrays: list[Array],
    files: tuple[str, ...],
    null: bool,
    colsep: re.Pattern[str] | None,
    keep_order: bool,
    line_buffer: bool,
    tag: bool,
    dry_run: bool,
    progress: bool,
    max_fails: Share | None,
    results: str | None,
    joblog: str | None,
    resume: bool,
    retry_failed: bool,
    **options: Any,
) -> int:
    from ..client.bar import Bar

    given = {name: value for name, value in options.items() if value not in (None, {})}
    try:
        options_of(given)
    except (TypeError, ValueError) as error:
        raise click.UsageError(str(error)) from None
    line, behind = split(words)
    if line_buffer and keep_order:
        raise click.UsageError("--line-buffer prints lines as they come, --keep-order does not")
    command = _command(line, live=line_buffer)
    values = sources(behind, arrays, files, b"\0" if null else b"\n", colsep)
    at_once = next((Share(each.at_once, False) for each in arrays if each.at_once), at_once)
    goes_on = resume or retry_failed
    stays = goes_on and (place.home is not None or place.is_there())
    if goes_on and not (joblog or results or stays):
        raise click.UsageError(
            "--resume and --retry-failed go by what an earlier run has left: name its --joblog "
            "FILE or --results DIR, or a mesh that stays, with --name NAME"
        )
    with ExitStack() as stack:
        records: list[Record] = []
        if goes_on or not dry_run:  # what is not run must not begin a log anew
            records = _records(stack, joblog, results, goes_on=goes_on)
        plan = Plan(command, values, records, resume=resume, retry_failed=retry_failed)
        if dry_run:
            for job in plan.jobs():
                click.echo(os.fsencode(job.command))
            return 0
        bar = Bar(plan.total()) if progress else None
        aside = nullcontext if bar is None else bar.aside
        echo: bool | Show = False
        if line_buffer:
            printer: Printer = (live := LivePrinter(tagged=tag, aside=aside))
            echo = live.show
        else:
            printer = Printer(in_order=keep_order, tagged=tag, aside=aside)
        mesh, is_joined = place.embed(_slots(at_once, options["cpus"] or 1), echo)
        running = Running(
            plan,
            mesh,
            given,
            named=stays,
            at_once=at_once.whole_of(mesh.wait_for_slots(0)) if at_once and is_joined else None,
            max_fails=max_fails,
            printer=printer,
        )
        return _carry_out(mesh, running, bar)


def _slots(at_once: Share | None, each: int) -> int | None:
    """How many slots a mesh of its own has for jobs that take `each` of them; None: the CPUs."""
    from ..processes.cpus import cpus

    return None if at_once is None else each * at_once.whole_of(max(1, cpus() // each))


def _carry_out(mesh: Mesh, running: Running, bar: Bar | None) -> int:
    """Run the jobs, and say how that went; the exit code."""
    try:
        with mesh, nullcontext() if bar is None else bar:
            running.run(_nothing if bar is None else bar.show)
    except KeyboardInterrupt:
        warn(f"{running.unfinished()}; {running.remedy()}")
        raise
    except BrokenPipeError:  # as of `mesh run … | head`; what is still in a buffer is for nobody
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        warn(f"nobody reads the output any more: {running.unfinished()}")
        return FAILED
    for line in running.digest():
        warn(line)
    return FAILED if running.failed else 0


def _nothing(*about: object, **more: object) -> None:
    """Told how far it is, and nobody wants to know."""


def _command(line: Sequence[str], *, live: bool) -> Command:
    """The command of a command line: one word is a line for the shell, none each value is one."""
    from ..client.command import Command

    try:
        return Command(line if len(line) > 1 else "".join(line), live=live)
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def _records(
    stack: ExitStack, joblog: str | None, results: str | None, *, goes_on: bool
) -> list[Record]:
    """What tells of earlier runs, and of this one; closed with `stack`. A job is in the log last:
    what is found there is left alone by the next run, so its results must be there."""
    records: list[Record] = []
    if results is not None:
        records.append(Jobtree(results))
    if joblog is not None:
        log = Joblog(joblog, goes_on=goes_on)
        stack.callback(log.close)
        records.append(log)
    return records
