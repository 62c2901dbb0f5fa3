"""Heavy: says once of a function that it takes much along, and what: it travels to each slot anew
and stays in the mesh's records, where an object that was put travels once to each worker.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from typing import Any

from ..errors import PayloadError
from ..options import show_size
from ..protocol.culprit import taken_along
from ..protocol.functions import Packed

#: A function of more than so many bytes is worth a word.
HEAVY_BYTES = 10_000_000

#: One of more cannot be sent: it would have to fit a message whole, at each step of its way.
FUNCTION_BYTES_MAX = 512 * 1024 * 1024


class Heavy:
    """Looks at functions. `warn` takes a line that the user should see."""

    def __init__(self, warn: Callable[[str], None]) -> None:
        self._warn = warn
        self._said: set[str] = set()

    def look(self, function: Any, packed: Packed) -> None:
        """A function of HEAVY_BYTES or more is about to be sent.

        Raises:
            PayloadError: it is too large to be.
        """
        size = len(packed.payload)
        if packed.name in self._said and size <= FUNCTION_BYTES_MAX:
            return
        name = _largest(function)
        what = "what it refers to" if name is None else f"`{name}`"
        text = (
            f"function {packed.name} takes {show_size(size)} along, of which most is {what}: put "
            f"it into the mesh once (put = m.put({name or 'it'})), and pass that as an argument"
        )
        if size > FUNCTION_BYTES_MAX:
            raise PayloadError(
                f"{text}; functions of more than {show_size(FUNCTION_BYTES_MAX)} are not sent"
            )
        self._said.add(packed.name)
        self._warn(text)


def _largest(function: Any) -> str | None:
    """The name of the largest thing that a function takes along, if there is one."""
    named = dict(taken_along(function))
    return max(named, key=lambda name: _size(named[name]), default=None)


def _size(value: Any, depth: int = 3) -> int:
    """About how many bytes a value has: exact for buffers, and good enough for what holds them."""
    size = int(getattr(value, "nbytes", 0) or 0) or sys.getsizeof(value, 64)
    if not depth or isinstance(value, (type, types.ModuleType, types.FunctionType, str, bytes)):
        return size
    items: Any = value.values() if isinstance(value, dict) else ()
    if isinstance(value, (list, tuple, set, frozenset)):
        items = value
    return size + sum(
        _size(each, depth - 1) for each in (*items, *getattr(value, "__dict__", {}).values())
    )
