"""A task's options: what they are called, what they may be, and what they are if nothing is said.

An option travels only where it differs from its default, so a plain call's options are an empty
map. Clients check what users give, the router what clients send: by the same rules.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Mapping
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

#: Hours, minutes and seconds, as managers of clusters write them; perhaps with days before.
_CLOCK = re.compile(r"\s*(?:([0-9]+)-)?([0-9]+):([0-5]?[0-9]):([0-5]?[0-9])\s*")
_SPAN = re.compile(r"\s*([0-9]+(?:\.[0-9]*)?)\s*(s|min|m|h|d)?\s*")
_SPANS = {None: 1, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}

#: What a resource may be called, and how many a worker may have: all are told in its HELLO.
_RESOURCE = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}")
_RESOURCES_MAX = 32


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


def seconds_of(name: str, value: Any) -> float:
    """A number of seconds, or a text: ``"01:30:00"`` (also with days, ``"2-12:00:00"``), ``"90m"``,
    ``"12h"``.

    Raises:
        TypeError: it is neither.
        ValueError: it is not more than 0 s.
    """
    seconds = value
    if isinstance(value, str):
        if found := _CLOCK.fullmatch(value):
            days, hours, minutes, rest = (int(each or 0) for each in found.groups())
            seconds = ((days * 24 + hours) * 60 + minutes) * 60 + rest
        elif found := _SPAN.fullmatch(value):
            seconds = float(found[1]) * _SPANS[found[2]]
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise TypeError(
            f"{name} is a number of seconds, or a text such as '01:30:00' or '90m', "
            f"not {value!r:.80}"
        )
    if not 0 < seconds < float("inf"):
        raise ValueError(f"{name} must be more than 0 s, not {value!r}")
    return float(seconds)


def show_size(count: float) -> str:
    """A number of bytes as people see it: ``30 MB``."""
    units = iter(("B", "kB", "MB", "GB", "TB"))
    unit = next(units)
    while count >= 999.5 and unit != "TB":
        count, unit = count / 1000, next(units)
    return f"{count:.0f} {unit}" if count >= 9.95 or unit == "B" else f"{count:.1f} {unit}"


def show_seconds(count: float) -> str:
    """A duration as people see it: ``2 h 5 min``."""
    if count < 60:
        return f"{count:.0f} s"
    minutes, rest = divmod(int(count), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"


def _cpus(name: str, value: Any) -> int:
    if _integer(name, value) < 1:
        raise ValueError(f"{name} must be 1 or more, not {value!r}")
    return int(value)


def _resources(name: str, value: Any) -> dict[str, int]:
    """What a task asks for, by name. None of something is nothing asked."""
    if isinstance(value, dict) and "mem" in value:
        raise ValueError(f"{name}: memory is asked for with memory=, not as 'mem' in {name}")
    return {each: count for each, count in amounts_of(name, value).items() if count}


def _flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{name} is True or False, not {value!r}")
    return value


def _variables(name: str, value: Any) -> dict[str, str]:
    """Environment variables."""
    if not isinstance(value, Mapping):
        raise TypeError(f"{name} is a dict of strings, not {value!r:.80}")
    for each, text in value.items():
        if not isinstance(each, str) or not isinstance(text, str):
            raise TypeError(f"{name} is a dict of strings, not {each!r:.80}: {text!r:.80}")
        if not each or "=" in each or "\0" in each + text:
            raise ValueError(f"{name}: {each!r:.80} cannot be an environment variable")
    return dict(value)


def _folder(name: str, value: Any) -> str:
    """A folder on the worker's host, as a whole path."""
    folder = os.fspath(value) if isinstance(value, os.PathLike) else value
    if not isinstance(folder, str):
        raise TypeError(f"{name} is a folder, not {value!r:.80}")
    if "\0" in folder or not os.path.isabs(folder):
        raise ValueError(f"{name} is a whole path, for the hosts of workers, not {folder!r:.80}")
    return folder


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


def amounts_of(name: str, value: Any) -> dict[str, int]:
    """Amounts by name: of what a worker has, or a task asks for. Whole numbers; ``mem`` is bytes,
    or a text such as 64G.

    Raises:
        TypeError, ValueError: it is none, with what is wrong with which of them.
    """
    if not isinstance(value, dict):
        raise TypeError(f"{name} is a dict such as {{'gpu': 1}}, not {value!r:.80}")
    if len(value) > _RESOURCES_MAX:
        raise ValueError(f"{name} has more than {_RESOURCES_MAX} names: {len(value)}")
    amounts: dict[str, int] = {}
    for each, amount in value.items():
        if not isinstance(each, str) or not _RESOURCE.fullmatch(each):
            raise ValueError(f"{name}: {each!r:.80} is no name, such as gpu or license.matlab")
        if each in ("cpu", "cpus", "slots", "memory"):
            ours = (
                "mem" if each == "memory" else "cpus= of a task, and --slots or slots= of workers"
            )
            raise ValueError(f"{name}: {each!r} is not for here: use {ours}")
        if each == "mem":
            amounts[each] = size_of(f"{name}: mem", amount)
            continue
        if isinstance(amount, bool) or not isinstance(amount, int):
            raise TypeError(f"{name}: {each} is a whole number, not {amount!r:.80}")
        if not 0 <= amount < 2**31:
            raise ValueError(f"{name}: {each} must be 0 or more and fit 32 bits, not {amount!r}")
        amounts[each] = amount
    return amounts


#: The options a call may carry: default, and check.
OPTIONS: dict[str, tuple[Any, Callable[[str, Any], Any]]] = {
    "priority": (0, _integer),  # larger goes first
    "retries": (0, _count),  # further runs after the user's code raised
    "retry_on": (None, _errors),  # only after these; None: after any
    "backoff": (0.1, _pause),  # seconds before the first retry; doubled for each further one
    "time_limit": (None, _time_limit),  # seconds of one run
    "env": (None, _variables),  # environment variables while it runs
    "cwd": (None, _folder),  # runs there and nowhere else; None: where it was submitted, if there
    "memory": (None, size_of),  # bytes that one run may use, and has for itself
    "cpus": (1, _cpus),  # of a worker's slots it has so many for itself
    "resources": ({}, _resources),  # what else of a worker it has for itself: name → how many
    "time_request": (None, seconds_of),  # it is given to no worker that ends sooner
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
            known = ["id", *OPTIONS]
            near = " or ".join(map(repr, difflib.get_close_matches(name, known, 2)))
            meant = f" (did you mean {near}?)" if near else ""
            raise TypeError(f"unknown option {name!r}{meant}; the options are {', '.join(known)}")
        default, check = OPTIONS[name]
        options[name] = default if value is None else check(name, value)
    return options


def sparse(options: dict[str, Any]) -> dict[str, Any]:
    """`options` as they travel: without what equals its default, and without an `id`."""
    return {
        name: value
        for name, value in options.items()
        if name in OPTIONS and value != OPTIONS[name][0]
    }


def over(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """The options of who is nearer to the call win; environments are laid over each other."""
    if below.get("env") and above.get("env"):
        above = above | {"env": below["env"] | above["env"]}
    return below | above


def option(options: Mapping[str, Any], name: str) -> Any:
    """An option of sparse `options`."""
    return options.get(name, OPTIONS[name][0])
