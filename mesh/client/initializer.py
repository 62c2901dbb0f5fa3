"""Initializer: what `Mesh` takes as other executors do: initializer=, initargs=, mp_context=."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any

from ..errors import PayloadError
from ..options import show_size
from ..protocol import functions
from ..protocol.parcel import Initializer
from .ending import warn
from .heavy import FUNCTION_BYTES_MAX, HEAVY_BYTES

#: One of more leaves no room for functions, with each of which it is sent.
INITIALIZER_BYTES_MAX = FUNCTION_BYTES_MAX // 2


def initializer_of(
    initializer: Callable[..., Any] | None, initargs: Iterable[Any], *, with_modules: bool
) -> Initializer | None:
    """What is to run first in each process; None: nothing is.

    Raises:
        TypeError: `initializer` cannot be called, or `initargs` are no arguments.
        PayloadError: it or an argument cannot be pickled, or they are too large.
    """
    if isinstance(initargs, (str, bytes)) or not isinstance(initargs, Iterable):
        raise TypeError(f"initargs is a tuple of arguments, as in (path,), not {initargs!r:.80}")
    if initializer is None:
        return None
    if not callable(initializer):
        raise TypeError(f"initializer is a callable, not {initializer!r:.80}")
    packed = functions.pack(functools.partial(initializer, *initargs), with_modules=with_modules)
    size = len(packed.payload)
    if size >= HEAVY_BYTES:
        text = (
            f"the initializer {packed.name} takes {show_size(size)} along, and goes with each "
            f"function that is submitted: have it read a file, or put that into the mesh "
            f"(m.put(it)) and pass it as an argument of tasks"
        )
        if size > INITIALIZER_BYTES_MAX:
            raise PayloadError(
                f"{text}; initializers of more than {show_size(INITIALIZER_BYTES_MAX)} are not sent"
            )
        warn(text)
    return Initializer(packed.digest, packed.parcel.call, packed.parcel.sources)


def check_context(context: object) -> None:
    """See that `context` is one of multiprocessing, or None.

    Raises:
        TypeError: it is neither.
    """
    if context is None:
        return
    from multiprocessing.context import BaseContext

    if not isinstance(context, BaseContext):
        raise TypeError(
            f"mp_context is what multiprocessing.get_context() gives, not {context!r:.80}; it is "
            f"taken for the sake of code that was written for other pools, and changes nothing"
        )
