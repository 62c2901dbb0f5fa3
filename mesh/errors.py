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
        └── DependencyFailed   what it waited for failed

A message names the offender, the place and the next step. `CancelledError` is the one of
`concurrent.futures`. Errors travel as data (`Failure`), never as pickled exceptions alone:
what cannot be rebuilt at the client arrives as `TaskFailed` with the remote traceback.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence

#: What a system call says when the disk, or a quota of it, is used up.
DISK_FULL = {errno.ENOSPC, errno.EDQUOT}


class MeshError(Exception):
    """The root of every error of Mesh."""


class RouterUnreachable(MeshError, ConnectionError):
    """No router answers at the address, or it stopped answering."""


class AccessDenied(MeshError, PermissionError):
    """The access file cannot be used: missing rights, wrong key, readable by others."""


class VersionMismatch(MeshError):
    """The other side speaks no protocol version that this one speaks."""


class TaskNotFound(MeshError, LookupError):
    """The mesh knows no task, group or alias of this name."""


class TaskConflict(MeshError):
    """The id is taken by a call of another function or with other arguments."""


class QueueFull(MeshError):
    """The mesh cannot record more work at present: quota or disk."""


class PayloadError(MeshError, TypeError):
    """A function, argument or result cannot be pickled or unpickled; the message says which."""


class StoreError(MeshError):
    """A store folder cannot be used: corrupt, newer, in use, read-only, on a network."""


class ResultLost(MeshError):
    """The result was recorded, and the store that held it is gone."""


class ResultUnreachable(MeshError):
    """The result exists; its holder could not be reached in time."""


class LaunchFailed(MeshError):
    """A worker could not be started by ssh or a cluster's manager; what that said is told."""


class TaskFailed(MeshError):
    """The task raised an error whose class cannot be rebuilt here, or did not end well.

    Attributes:
        failure: what is known of it, or None if the error arose at the client.
    """

    failure: Failure | None = None


class CommandFailed(TaskFailed):
    """A command ended with an exit code other than 0."""


class TaskTimeout(TaskFailed):
    """The task ran longer than its `time_limit` and was stopped. Not a `TimeoutError`:
    that one says that *waiting* took too long."""


class TaskOutOfMemory(TaskFailed, MemoryError):
    """The task used more than its `memory` and was stopped."""


class TaskExpired(TaskFailed):
    """The task was not started before its time ran out."""


class WorkerLost(TaskFailed):
    """The task's slot or worker died under it, as often as the mesh allows."""


class DependencyFailed(TaskFailed):
    """A task this one waited for failed, was cancelled or never existed."""


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
        name = self.kind.removeprefix("builtins.")
        return f"{name}: {self.message}" if self.message else name


class RemoteTraceback(Exception):
    """The cause of a task's error: its traceback as the slot formatted it."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure)
        self.failure = failure

    def __str__(self) -> str:
        where = f"on {self.failure.host}, process {self.failure.pid}"
        return f"{where}\n\n{self.failure.traceback.rstrip()}"


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
