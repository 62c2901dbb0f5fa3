"""A task's options: what they are called, what they may be, and what they are if nothing is said.

An option travels only where it differs from its default, so a plain call's options are an empty
map. Clients check what users give, the router what clients send: by the same rules.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

#: More than any machine has, and fits a message.
_BYTES_MAX = 2**62

_SIZE = re.compile(r"\s*([0-9]+(?:\.[0-9]*)?)\s*([kKmMgGtT]?(?:i?[bB])?)\s*")

#: kB is 1000 bytes, KiB 1024; a K alone is 1024, as for ulimit and Slurm.
_UNITS = {"": 1, "b": 1} | {
    unit: base**power
    for power, letter in enumerate("kmgt", 1)
    for unit, base in ((letter, 1024), (f"{letter}ib", 1024), (f"{letter}b", 1000))
}


def _integer(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} is an integer, not {value!r}")
    if not -(2**31) < value < 2**31:
        raise ValueError(f"{name} must fit 32 bits, not {value!r}")
    return value


def _count(name: str, value: Any) -> int:
    if _integer(name, value) < 0:
        raise ValueError(f"{name} must be 0 or more, not {value!r}")
    return int(value)


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} is a number of seconds, not {value!r}")
    return float(value)


def _time_limit(name: str, value: Any) -> float:
    if not _number(name, value) > 0:
        raise ValueError(f"{name} must be more than 0 s, not {value!r}")
    return float(value)


def _pause(name: str, value: Any) -> float:
    if not 0 <= _number(name, value) < float("inf"):
        raise ValueError(f"{name} must be 0 s or more, not {value!r}")
    return float(value)


def size_of(name: str, value: Any) -> int:
    """A number of bytes, or a text such as 500MB, 2.5 GB or 4GiB."""
    size = value
    if isinstance(value, str) and (found := _SIZE.fullmatch(value)):
        size = int(float(found[1]) * _UNITS[found[2].lower()])
    if isinstance(size, bool) or not isinstance(size, int):
        raise TypeError(f"{name} is a number of bytes, or a text such as '2GB', not {value!r}")
    if not 0 < size <= _BYTES_MAX:
        raise ValueError(f"{name} must be more than 0 bytes, not {value!r}")
    return size


def show_size(count: float) -> str:
    """A number of bytes as people see it: ``30 MB``."""
    units = iter(("B", "kB", "MB", "GB", "TB"))
    unit = next(units)
    while count >= 999.5 and unit != "TB":
        count, unit = count / 1000, next(units)
    return f"{count:.0f} {unit}" if count >= 9.95 or unit == "B" else f"{count:.1f} {unit}"


def _flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{name} is True or False, not {value!r}")
    return value


def _errors(name: str, value: Any) -> list[str]:
    """Classes of errors as qualified names: the router knows no classes."""
    names: list[str] = []
    for each in value if isinstance(value, (list, tuple, set, frozenset)) else [value]:
        if isinstance(each, type) and issubclass(each, BaseException):
            names.append(f"{each.__module__}.{each.__qualname__}")
        elif isinstance(each, str) and each:
            names.append(each)
        else:
            raise TypeError(f"{name} is one or several classes of errors, not {each!r}")
    if not names:
        raise ValueError(f"{name} names no class of errors; retries=0 is no retries")
    return names


#: The options a call may carry: default, and check.
OPTIONS: dict[str, tuple[Any, Callable[[str, Any], Any]]] = {
    "priority": (0, _integer),  # larger goes first
    "retries": (0, _count),  # further runs after the user's code raised
    "retry_on": (None, _errors),  # only after these; None: after any
    "backoff": (0.1, _pause),  # seconds before the first retry; doubled for each further one
    "time_limit": (None, _time_limit),  # seconds of one run
    "memory": (None, size_of),  # bytes that one run may use
    "rerun": (True, _flag),  # made again when its result is lost and somebody waits for it
}


def options_of(given: dict[str, Any]) -> dict[str, Any]:
    """`given`, checked. None stands for the default.

    Raises:
        TypeError: an option is unknown (all are listed) or its value is of a wrong type.
        ValueError: a value is out of range.
    """
    options: dict[str, Any] = {}
    for name, value in given.items():
        if name not in OPTIONS:
            known = ", ".join(["id", *OPTIONS])
            raise TypeError(f"unknown option {name!r}; the options are {known}")
        default, check = OPTIONS[name]
        options[name] = default if value is None else check(name, value)
    return options


def sparse(options: dict[str, Any]) -> dict[str, Any]:
    """`options` as they travel: without what equals its default."""
    return {name: value for name, value in options.items() if value != OPTIONS[name][0]}


def option(options: dict[str, Any], name: str) -> Any:
    """An option of sparse `options`."""
    return options.get(name, OPTIONS[name][0])
