"""Failing: what a task raised, as data, with the lines of a traceback that are the user's.

Ours are cut off at both ends: what called the task, and what gave it its arguments. So are those of
asyncio before the user's first: it ran a coroutine for us.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path
from types import TracebackType
from typing import Any

from ..errors import Failure
from ..protocol import exceptions, outcome, packets

#: Of a traceback the end is kept: the error that was raised last is told last.
TRACEBACK_BYTES_MAX = outcome.TEXT_BYTES_MAX - 256

#: What `input()` says where nothing can be read, and what it does not say.
_NO_LINE = "EOF when reading a line"
_NO_INPUT = "a task has no standard input; ask before you submit, and pass the answer"

_OURS = str(Path(__file__).resolve().parents[1]) + os.sep
_ASYNCIO = os.path.join(os.path.dirname(os.__file__), "asyncio") + os.sep


def of_user(error: BaseException) -> list[Any]:
    """The failure of a task that raised `error`, as parts of its outcome."""
    if isinstance(error, EOFError) and error.args == (_NO_LINE,):
        error.args = (f"{_NO_LINE}: {_NO_INPUT}",)
    kind, *bases = (f"{each.__module__}.{each.__qualname__}" for each in type(error).__mro__)
    failure = Failure(kind, message(error), _traceback(error), _host(), os.getpid(), bases)
    exception = exceptions.dump(error, packets.PAYLOAD_BYTES_MAX // 2)
    return [outcome.pack_failure(failure, exception)]


def by_initializer(error: BaseException) -> BaseException:
    """What a task fails with whose mesh has an initializer that has raised `error`."""
    from ..broken import InitializerFailed

    error.__traceback__ = _users(error.__traceback__)
    what = f"{type(error).__name__}: {message(error)}"
    failed = InitializerFailed(f"the initializer of this mesh failed: {what}")
    failed.__cause__ = error
    return failed


def of_loading(error: BaseException) -> list[Any]:
    """The failure of a task whose function or arguments do not load in this process."""
    text = "the function or its arguments cannot be loaded on the worker: "
    text += f"{type(error).__name__}: {message(error)}"
    if isinstance(error, ImportError):
        text += "; install the module there, or define the function in the script itself"
    trace = _traceback(error) if _users(error.__traceback__) is not None else ""
    return [outcome.pack_failure(Failure("PayloadError", text, trace, _host(), os.getpid()))]


def of_result(value: Any, error: BaseException) -> list[Any]:
    """The failure of a task whose result cannot be pickled."""
    from ..protocol import culprit, payload

    try:
        part = culprit.of_value(value, payload.dump)
    except BaseException:  # a user's __reduce__ may do anything
        part = ""
    where = f", which is {part}" if part else ""
    what = culprit.advice(value, "return plain data instead")
    text = f"the result ({type(value).__qualname__}) cannot be pickled: "
    text += f"{message(error)}{where}; {what}"
    return [outcome.pack_failure(Failure("PayloadError", text, "", _host(), os.getpid()))]


def message(error: BaseException) -> str:
    """``str(error)``, of any length that travels."""
    try:
        return str(error)[: packets.PAYLOAD_BYTES_MAX // 4]
    except BaseException as broken:  # a user's __str__ may do anything
        return f"(its message cannot be had: {type(broken).__name__})"


def _host() -> str:
    return socket.gethostname()


def _traceback(error: BaseException) -> str:
    """What Python would print of `error`, without our frames; of much, the end."""
    import traceback  # only failures need it

    trace = _users(error.__traceback__)
    try:
        text = "".join(traceback.format_exception(type(error), error, trace))
    except BaseException as broken:  # a user's __repr__ or __notes__ may do anything
        return f"(it cannot be shown: {type(broken).__name__})"
    if len(text.encode("utf-8", "backslashreplace")) <= TRACEBACK_BYTES_MAX:
        return text
    text = text[-TRACEBACK_BYTES_MAX // 4 :] if not text.isascii() else text[-TRACEBACK_BYTES_MAX:]
    whole = text.find("\nTraceback (most recent call last):\n")
    return "[... what came before is left out ...]\n" + text[max(whole, text.find("\n")) + 1 :]


def _users(trace: TracebackType | None) -> TracebackType | None:
    """The part of a traceback that begins with the user's code, if there is any."""
    while trace is not None and _is_ours(trace.tb_frame.f_code.co_filename):
        trace = trace.tb_next
    return trace


def _is_ours(file: str) -> bool:
    """Whether a file is of this package, or of what makes objects of bytes, or runs coroutines."""
    parts = Path(file).parts
    return file.startswith((_OURS, _ASYNCIO, "<frozen importlib")) or "cloudpickle" in parts
