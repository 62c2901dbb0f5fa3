"""Every error a user of Mesh can meet, as one tree.

    MeshError
    ├── RouterUnreachable      no router answers              also a ConnectionError
    ├── AccessDenied           the access file or key fails   also a PermissionError
    ├── VersionMismatch        the other side speaks another protocol
    ├── TaskNotFound           no such task or group          also a LookupError
    ├── TaskConflict           this id means another call
    ├── QueueFull              the mesh takes no more work now
    ├── PayloadError           something cannot be pickled    also a TypeError
    ├── StoreError             a store folder cannot be used
    ├── ResultLost             the result existed and is gone
    ├── ResultUnreachable      its holder does not answer
    ├── LaunchFailed           a worker could not be started elsewhere
    └── TaskFailed             the task itself ended badly
        ├── CommandFailed      a command's exit code was not 0
        ├── TaskTimeout        it ran longer than its time_limit
        ├── TaskOutOfMemory    it used more than its memory
        ├── TaskExpired        it was not started in time
        ├── WorkerLost         it took its slot or worker down
        ├── InitializerFailed  what was to run before it raised    also a BrokenExecutor
        └── DependencyFailed   what it waited for failed

A message names the offender, the place and the next step. `CancelledError` is the one of
`concurrent.futures`. Errors travel as data (`Failure`), never as pickled exceptions alone:
what cannot be rebuilt at the client arrives as `TaskFailed` with the remote traceback.
"""

from __future__ import annotations

import errno
import linecache
import re
from collections.abc import Sequence

#: What a system call says when the disk, or a quota of it, is used up.
DISK_FULL = {errno.ENOSPC, errno.EDQUOT}


#: A line of a traceback that names a place; in a group of exceptions with a margin before it.
_FRAME = re.compile(r'(?P<margin>[ |+-]*?)  File "(?P<file>[^"]+)", line (?P<line>\d+), in ')


class MeshError(Exception):
    """The root of every error of Mesh. What a task raised is not one of them: it arrives as its own
    class.

    Example:
        >>> try:
        ...     print(m.result("T=2.30"))
        ... except mesh.MeshError as error:
        ...     print(error)  # names what, where, and what to do next
    """


class RouterUnreachable(MeshError, ConnectionError):
    """No router answers at the address, or it stopped answering. ``mesh doctor`` says what is in
    the way."""


class AccessDenied(MeshError, PermissionError):
    """The access file cannot be used: missing, readable by others, its key taken back; or what it
    allows is not enough for what was asked."""


class VersionMismatch(MeshError):
    """The other side speaks no protocol version that this one speaks, or runs another Python."""


class TaskNotFound(MeshError, LookupError):
    """The mesh knows no task, group or id of your own by this text; or several begin with it."""


class TaskConflict(MeshError):
    """The id is taken by a call of another function, with other code or other arguments. Choose
    another id, or `Mesh.forget` the old task.

    Example:
        >>> m.options(id="T=2.3").submit(simulate, 2.3).result()
        >>> m.options(id="T=2.3").submit(simulate, 9.9).result()
        Traceback (most recent call last):
        mesh.errors.TaskConflict: ...
    """


class QueueFull(MeshError):
    """The mesh cannot record more work: its quota or its disk was full for `router_timeout`
    seconds. Until then a submit waits."""


class PayloadError(MeshError, TypeError):
    """A function, argument or result cannot be pickled or unpickled; the message says which."""


class StoreError(MeshError):
    """A store folder cannot be used: corrupt, newer, in use, read-only, on a network."""


class ResultLost(MeshError):
    """The result was recorded, and the store that held it is gone. Submit the call again under its
    id, and it is made again."""


class ResultUnreachable(MeshError):
    """The result exists; the worker that holds it could not be reached in time. Ask again later."""


class LaunchFailed(MeshError):
    """A worker could not be started by ssh or a cluster's manager; what that said is told."""


class TaskFailed(MeshError):
    """The task raised an error whose class cannot be rebuilt here, or did not end well.

    Attributes:
        failure: what is known of it (see `Failure`), or None if the error arose at the client.

    Example:
        >>> try:
        ...     future.result()
        ... except mesh.TaskFailed as error:
        ...     print(error, future.logs())
    """

    failure: Failure | None = None


class CommandFailed(TaskFailed):
    """A command ended with an exit code other than 0; the message has its last lines. What it has
    written is in the task's log.

    Attributes:
        exit_code: its exit code; None if a signal ended it, or it could not be started.
        signal: the number of that signal, or None.
        begun: when it began, in seconds since 1970.
        took_s: how long it ran, in seconds.
        stdout_bytes: so much of the log is its standard output, and its standard error follows;
            None if they are as they were written, mixed.
    """

    exit_code: int | None = None
    signal: int | None = None
    begun: float = 0.0
    took_s: float = 0.0
    stdout_bytes: int | None = None


class TaskTimeout(TaskFailed):
    """The task ran longer than its `time_limit` and was stopped. Not a `TimeoutError`:
    that one says that *waiting* took too long."""


class TaskOutOfMemory(TaskFailed, MemoryError):
    """The task used more than its `memory` and was stopped."""


class TaskExpired(TaskFailed):
    """The task was not started before its time ran out. Nothing raises it yet: there are no
    deadlines."""


class WorkerLost(TaskFailed):
    """The task's slot or worker died under it, as often as the mesh allows: three slots by default.
    The message says how: an exit code, a signal, perhaps the kernel for want of memory."""


class DependencyFailed(TaskFailed):
    """A task whose result this one takes failed, was cancelled or is not known; the message names
    the first cause."""


class Failure:
    """A task's failure as plain data, the same on every side.

    Attributes:
        kind: the qualified name of the error's class, such as ``builtins.ValueError``.
        message: ``str(error)``.
        traceback: the formatted remote traceback, the user's frames only.
        host: the name of the host it ran on.
        pid: the slot's process id.
        bases: the qualified names of the classes that the error's class derives from.
    """

    __slots__ = ("bases", "host", "kind", "message", "pid", "traceback")

    def __init__(
        self,
        kind: str,
        message: str,
        traceback: str,
        host: str,
        pid: int,
        bases: Sequence[str] = (),
    ) -> None:
        self.kind = kind
        self.message = message
        self.traceback = traceback
        self.host = host
        self.pid = pid
        self.bases = tuple(bases)

    def __str__(self) -> str:
        name = self.kind.removeprefix("builtins.").removeprefix("__main__.")
        return f"{name}: {self.message}" if self.message else name


class RemoteTraceback(Exception):
    """The cause of a task's error: its traceback as the slot formatted it."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure)
        self.failure = failure

    def __str__(self) -> str:
        where = f"on {self.failure.host}, process {self.failure.pid}"
        return f"{where}\n\n{with_source(self.failure.traceback.rstrip())}"


def with_source(text: str) -> str:
    """A traceback with the lines of code that are known here and were not where it was made: of a
    notebook's cell, of a script that is not on that host."""
    lines = text.split("\n")
    told: list[str] = []
    for nth, line in enumerate(lines):
        told.append(line)
        found = _FRAME.match(line)
        if found is not None and not (
            nth + 1 < len(lines) and lines[nth + 1].startswith(found["margin"] + "    ")
        ):
            source = linecache.getline(found["file"], int(found["line"])).strip()
            if source:
                told.append(f"{found['margin']}    {source}")
    return "\n".join(told)


#: The errors that a router or worker may name in a failure; they are rebuilt by name alone.
BY_NAME: dict[str, type[MeshError]] = {
    cls.__name__: cls
    for cls in (
        RouterUnreachable,
        AccessDenied,
        VersionMismatch,
        TaskNotFound,
        TaskConflict,
        QueueFull,
        PayloadError,
        StoreError,
        ResultLost,
        ResultUnreachable,
        LaunchFailed,
        TaskFailed,
        CommandFailed,
        TaskTimeout,
        TaskOutOfMemory,
        TaskExpired,
        WorkerLost,
        DependencyFailed,
    )
}


def public_name(error: BaseException) -> str:
    """The name of the error's class, or of its nearest base that is in this tree: by it another
    process makes an error of the same kind."""
    return next(
        (cls.__name__ for cls in type(error).__mro__ if cls.__name__ in BY_NAME), "MeshError"
    )
