"""Outcomes → values and errors, in the thread that asks for them.

A failure becomes the error that was raised, rebuilt from its pickle with the remote traceback as
its cause; where its class cannot be had here, a `TaskFailed` that says all there is to say. So does
what is no `Exception`: a task that calls `sys.exit()` must not end the script that asks for it.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import CancelledError
from typing import Any

from ..errors import BY_NAME, Failure, MeshError, PayloadError, RemoteTraceback, TaskFailed
from ..protocol import outcome, payload
from ..task import SUCCESS, Kind

#: Fetches a stored result: (ref, seconds or None) → its bytes.
Fetch = Callable[[outcome.Ref, "float | None"], Any]


def value_of(kind: int, body: Any, task: str, fetch: Fetch, timeout: float | None = None) -> Any:
    """The value of a task that succeeded.

    Raises:
        BaseException: the task's error, if it did not; `PayloadError` if the value cannot be
            unpickled here; `ResultLost`, `ResultUnreachable` if it cannot be fetched.
    """
    if kind not in SUCCESS:
        raise error_of(kind, body, task)
    if kind == Kind.VALUE and (plain := outcome.plain_value(body)) is not None:
        raw: Any = plain
    else:
        raw = _raw_value(kind, body, fetch, timeout)
    try:
        return payload.load(raw)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # sys.exit() while it is unpickled must not end the script
        raise PayloadError(
            f"the result of {task} cannot be unpickled here: {type(error).__name__}: {error}; "
            f"import here what it is made of"
        ) from error


def _raw_value(kind: int, body: Any, fetch: Fetch, timeout: float | None) -> Any:
    rest = outcome.parse(body).rest
    return rest if kind == Kind.VALUE else fetch(outcome.parse_ref(rest), timeout)


def error_of(kind: int, body: Any, task: str) -> BaseException:
    """The error of a task that did not succeed."""
    failure, pickled = outcome.parse_failure(outcome.parse(body).rest)
    if kind == Kind.CANCELLED:
        return CancelledError(f"task {task} was cancelled")
    if failure.kind in BY_NAME and kind not in (Kind.ERROR, Kind.FINAL):
        named = task in failure.message
        text = failure.message if named else f"task {task}: {failure.message}"
        error = BY_NAME[failure.kind](text)
        if failure.traceback:
            error.__cause__ = RemoteTraceback(failure)
        return _annotated(error, failure)
    if failure.kind == MeshError.__name__:
        return MeshError(f"task {task}: {failure.message}")
    rebuilt = _rebuilt(pickled)
    if rebuilt is None:
        rebuilt = TaskFailed(f"task {task} raised {failure}")
    rebuilt.__cause__ = RemoteTraceback(failure)
    return _annotated(rebuilt, failure)


def _annotated(error: BaseException, failure: Failure) -> BaseException:
    if isinstance(error, TaskFailed):
        error.failure = failure
    return error


def _rebuilt(pickled: Any) -> BaseException | None:
    if not len(pickled):
        return None
    try:
        error = payload.load(pickled)
    except Exception:  # its class is not here, or its constructor wants other arguments
        return None
    return error if isinstance(error, Exception) else None
