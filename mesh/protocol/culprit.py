"""Culprit: which part of a function or value it is that cannot be pickled, for the error's text.

Python names a type (``cannot pickle '_thread.lock' object``), and not where in the user's things
one is. This looks for the place, by trying the parts; only once something has failed.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Iterator
from typing import Any

#: So deep are values taken apart: ``self.model.layers[0].lock``.
DEPTH_MAX = 6

#: So many items of a list or map are tried at each depth.
ITEMS_MAX = 1000

#: Has an object pickled; raises if it cannot be.
Try = Callable[[Any], object]


def of_function(function: Any, dump: Try) -> str:
    """What a function takes along that cannot be pickled, as words; "" if it is not found."""
    for name, value in taken_along(function):
        found = _within(value, name, dump, DEPTH_MAX)
        if found is not None:
            return f"`{found[0]}` ({_kind(found[1])})"
    return ""


def of_value(value: Any, dump: Try) -> str:
    """The part of a value that cannot be pickled, as words: ``its `.a[0]` (lock)``; "" if that is
    the value itself, or it is not found."""
    found = _within(value, "", dump, DEPTH_MAX)
    return "" if found is None or found[1] is value else f"its `{found[0]}` ({_kind(found[1])})"


def taken_along(function: Any) -> Iterator[tuple[str, Any]]:
    """What a function by value takes along, by the names it has for that: variables around it,
    globals, defaults; what is bound to it."""
    while isinstance(function, functools.partial):
        yield from ((f"argument {nth + 1}", value) for nth, value in enumerate(function.args))
        yield from function.keywords.items()
        function = function.func
    if isinstance(function, types.MethodType):
        yield "self", function.__self__
        function = function.__func__
    if not isinstance(function, types.FunctionType):
        yield "self", function
        return
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield name, cell.cell_contents
        except ValueError:
            continue  # not assigned yet
    for name in function.__code__.co_names:
        if name in function.__globals__:
            yield name, function.__globals__[name]
    yield from (function.__kwdefaults__ or {}).items()
    names = function.__code__.co_varnames[: function.__code__.co_argcount]
    defaults = function.__defaults__ or ()
    yield from zip(names[len(names) - len(defaults) :], defaults, strict=True)


def _within(value: Any, name: str, dump: Try, depth: int) -> tuple[str, Any] | None:
    """The innermost part of `value` that cannot be pickled, by which name, if there is any."""
    if _can(value, dump):
        return None
    for step, part in _parts(value) if depth else ():
        found = _within(part, name + step, dump, depth - 1)
        if found is not None:
            return found
    return name, value


def advice(value: Any, otherwise: str) -> str:
    """What to do with a value that cannot be pickled."""
    if isinstance(value, types.GeneratorType):
        return "a generator runs where it was made: make it a list"
    if isinstance(value, types.AsyncGeneratorType):
        return "it runs where it was made: collect it, [x async for x in ...]"
    return otherwise


def _can(value: Any, dump: Try) -> bool:
    try:
        dump(value)
    except Exception:
        return False
    return True


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    items: Any = ()
    if isinstance(value, dict):
        items = ((f"[{key!r}]", item) for key, item in value.items())
    elif isinstance(value, (list, tuple)):
        items = ((f"[{nth}]", item) for nth, item in enumerate(value))
    elif not isinstance(value, (type, types.ModuleType)) and _is_plain(value):
        items = ((f".{key}", item) for key, item in getattr(value, "__dict__", {}).items())
    for _, each in zip(range(ITEMS_MAX), items):
        yield each


def _is_plain(value: Any) -> bool:
    """Whether a value is pickled by its parts, and says nothing itself."""
    return getattr(type(value), "__reduce__", None) is getattr(object, "__reduce__", None)


def _kind(value: Any) -> str:
    return type(value).__qualname__
