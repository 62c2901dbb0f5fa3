"""Exceptions as payloads, also of classes whose constructor takes other arguments than `args`.

Python pickles an exception as a call of its class with `args`; a class that makes its message of
other arguments cannot be unpickled then. Such ones are made without their constructor: class,
`args` and attributes are what they were.
"""

from __future__ import annotations

from typing import Any

from . import payload


def dump(error: BaseException, bytes_max: int) -> bytes:
    """The payload of `error`, without its traceback; nothing if it has none, or a larger one: it
    arrives as `TaskFailed` then, with all there is to say in its text."""
    error = error.with_traceback(None)
    for each in (error, _Bare(error)):
        try:
            dumped = payload.join(payload.dump(each))
            payload.load(dumped)  # some pickle and do not unpickle: tell here, not there
        except BaseException:  # a user's class may do anything
            continue
        return dumped if len(dumped) <= bytes_max else b""
    return b""


class _Bare:
    """An exception that is to be made without the constructor of its class, and those in it, if it
    is a group."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def __reduce__(self) -> Any:
        error = self._error
        if type(error).__reduce__ is not _native(type(error)).__reduce__:
            return error.__reduce__()  # its class has a way of its own
        reduced: Any = error.__reduce__()
        return revived, (type(error), tuple(map(_bared, reduced[1])), *reduced[2:])


def _bared(value: Any) -> Any:
    if isinstance(value, BaseException):
        return _Bare(value.with_traceback(None))
    return type(value)(map(_bared, value)) if type(value) in (list, tuple) else value


def _native(cls: type[BaseException]) -> type[BaseException]:
    """The class of Python's own that `cls` is made of."""
    return next(each for each in cls.__mro__ if each.__module__ == "builtins")


def revived(
    cls: type[BaseException], args: tuple[Any, ...], attributes: dict[str, Any] | None = None
) -> BaseException:
    """An exception as it was when it was raised. Payloads name this function."""
    error = cls.__new__(cls, *args)
    _native(cls).__init__(error, *args)
    error.__dict__.update(attributes or {})
    return error
