"""How a command ends: which error is which exit code, and what is said of it.

Errors are told in one line that names the next step; a task's own error with its remote
traceback. With ``--json`` they are one JSON object on standard output.
"""

from __future__ import annotations

import concurrent.futures
import sys
import traceback
from typing import Any, TypeGuard

import click

from ..errors import (
    DISK_FULL,
    AccessDenied,
    MeshError,
    RemoteTraceback,
    ResultLost,
    ResultUnreachable,
    RouterUnreachable,
    TaskFailed,
    TaskNotFound,
)
from .lines import print_json

FAILED, USAGE, NO_ROUTER, DENIED, TIMED_OUT, NOT_FOUND, BUG, INTERRUPTED = 1, 2, 3, 4, 5, 6, 70, 130


class TaskEnded(Exception):
    """A task that a command was to fetch or wait for did not succeed.

    Args:
        task: its id.
        error: what its future raises.
        before: a line to begin with.
    """

    def __init__(self, task: str, error: BaseException, before: str = "") -> None:
        super().__init__(str(error))
        self.task = task
        self.error = error
        self.before = before


#: The first that fits decides.
CODES: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], int], ...] = (
    (click.UsageError, USAGE),
    ((KeyboardInterrupt, click.Abort), INTERRUPTED),
    (RouterUnreachable, NO_ROUTER),
    (AccessDenied, DENIED),
    ((TaskNotFound, ResultLost, ResultUnreachable), NOT_FOUND),
    ((MeshError, TaskEnded, click.ClickException), FAILED),
    ((TimeoutError, concurrent.futures.TimeoutError), TIMED_OUT),
)

HINTS = {
    USAGE: "see --help",
    NO_ROUTER: "start a mesh with `mesh up`, or name another with --access",
    DENIED: "use an access file of your own, with mode 0600",
    TIMED_OUT: "wait longer, with a larger --timeout",
    NOT_FOUND: "list what is there with `mesh tasks`; submit again what was lost",
    BUG: "please report it, with the traceback",
}


def code_of(error: BaseException) -> int:
    """The exit code that `error` means."""
    if _is_full(error):
        return FAILED
    return next((code for kinds, code in CODES if isinstance(error, kinds)), BUG)


def _is_full(error: BaseException) -> TypeGuard[OSError]:
    """Whether there was no room for what was printed: who writes files says which."""
    return isinstance(error, OSError) and error.errno in DISK_FULL and error.filename is None


def is_of_the_task(error: BaseException) -> bool:
    """Whether a future's error is how its task ended, rather than why that cannot be known."""
    return isinstance(error, (TaskFailed, concurrent.futures.CancelledError)) or isinstance(
        error.__cause__, RemoteTraceback
    )


def report(error: BaseException, *, as_json: bool) -> int:
    """Tell the user of `error`; the exit code."""
    code = code_of(error)
    if code == BUG:
        traceback.print_exception(error)
        click.echo("error: this is a bug in Mesh: please report it, with the lines above", err=True)
    if as_json:
        print_json({"error": _described(error, code)})
    elif isinstance(error, click.ClickException):
        error.show()
    elif isinstance(error, TaskEnded):
        click.echo(_told(error), err=True)
    elif code == INTERRUPTED:
        click.echo("interrupted", err=True)
    elif code != BUG:
        what = f"standard output: {error.strerror}" if _is_full(error) else error
        click.echo(f"error: {what}", err=True)
    sys.stderr.flush()
    return code


def _told(ended: TaskEnded) -> str:
    cause = ended.error.__cause__
    if isinstance(cause, RemoteTraceback):
        text = f"task {ended.task} failed {cause}"
    else:
        text = f"error: {ended.error}"
    return f"{ended.before}\n{text}" if ended.before else text


def _described(error: BaseException, code: int) -> dict[str, Any]:
    said: dict[str, Any] = {}
    shown = error
    if isinstance(error, TaskEnded):
        shown = error.error
        cause = shown.__cause__
        said = {"task": error.task}
        if isinstance(cause, RemoteTraceback):
            said["traceback"] = cause.failure.traceback
            return {
                "type": cause.failure.kind.removeprefix("builtins."),
                "message": cause.failure.message,
                "hint": f"mesh logs {error.task}",
            } | said
    message = error.format_message() if isinstance(error, click.ClickException) else str(shown)
    return {"type": type(shown).__name__, "message": message, "hint": HINTS.get(code)} | said
