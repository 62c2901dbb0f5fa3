"""Inputs: the futures among a call's arguments, and the values they stand for.

While arguments are pickled, each future leaves a number in the pickle, and the id of its task in a
list that travels beside it: the router sees who needs what without looking into payloads. While
they are unpickled in a slot, each number becomes the value of that input: unpickled once, however
often the arguments name it.

The pickle holds no more than ``value(number)``, so that futures may be anywhere in the arguments,
inside objects that this module has never heard of.
"""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

from ..errors import PayloadError
from ..task import SESSION_CHARS

#: A task id.
INPUT_BYTES = 16

#: One task takes at most so many: their ids are a megabyte then, as much as a message may well be.
INPUTS_MAX = 65_536

#: And one more, if its arguments are one.
_IDS_BYTES_MAX = (INPUTS_MAX + 1) * INPUT_BYTES

#: Classes whose instances stand for results of tasks: their `reference()` is which task of which
#: mesh, and `refer` makes of it what they are pickled as. They have no buffers.
REFERRING: set[type] = set()

#: Arguments that are nothing but so many inputs, in order, are known by their pickle.
_IN_ORDER_MAX = 8


class _Here(threading.local):
    """What this thread is pickling or unpickling."""

    gathered: dict[bytes, int] | None = None
    mesh: object = None
    load: Callable[[int], Any] | None = None


_here = _Here()


class Gathering:
    """While this lasts, futures of `mesh` may be pickled: their ids, in order, with numbers. As a
    generator it took twice as long."""

    __slots__ = ("_mesh",)

    def __init__(self, mesh: object) -> None:
        self._mesh = mesh

    def __enter__(self) -> dict[bytes, int]:
        gathered: dict[bytes, int] = {}
        _here.gathered, _here.mesh = gathered, self._mesh
        return gathered

    def __exit__(self, *about: object) -> None:
        _here.gathered = _here.mesh = None


def refer(task: bytes, mesh: object, who: object) -> tuple[Callable[[int], Any], tuple[int]]:
    """What a future of `mesh` is pickled as: for its `__reduce__`. `who` is it.

    Raises:
        PayloadError: no arguments are being pickled, or those of a call on another mesh.
    """
    gathered = _here.gathered
    if gathered is None:
        raise PayloadError(
            f"{who!r} can be pickled as an argument of a task alone: use its result()"
        )
    if mesh != _here.mesh:
        raise _foreign(who)
    number = gathered.setdefault(task, len(gathered))
    if number >= INPUTS_MAX:
        raise _too_many()
    return value, (number,)


def _foreign(who: object) -> PayloadError:
    return PayloadError(f"{who!r} belongs to another mesh: pass its result()")


def _too_many() -> PayloadError:
    return PayloadError(
        f"a task takes at most {INPUTS_MAX:,} futures: let others combine some of them first"
    )


def references(args: tuple[Any, ...], mesh: object) -> tuple[bytes, bytes]:
    """The pickle of the arguments of a call that are nothing but REFERRING, and the ids of its
    inputs, one after the other: as if each had been pickled, which takes three times as long.

    Raises:
        PayloadError: they are too many, or one is of another mesh.
    """
    tasks = []
    for each in args:
        task, of = each.reference()
        if of != mesh:
            raise _foreign(each)
        tasks.append(task)
    once = dict.fromkeys(tasks)
    if len(once) > INPUTS_MAX:
        raise _too_many()
    if len(once) == len(tasks):
        return _in_order(len(tasks)), b"".join(tasks)
    numbers = {task: number for number, task in enumerate(once)}
    return _pickled(map(numbers.__getitem__, tasks)), b"".join(once)


def are_in_order(arguments: Any, count: int) -> bool:
    """Whether the arguments of a call are its `count` inputs, in order, and nothing else. Of many
    it is not known."""
    return count <= _IN_ORDER_MAX and bool(arguments == _in_order(count))


@lru_cache(maxsize=_IN_ORDER_MAX)
def _in_order(count: int) -> bytes:
    return _pickled(range(count))


def _pickled(numbers: Iterable[int]) -> bytes:
    return pickle.dumps((tuple(map(_Reference, numbers)), {}), protocol=5)


class _Reference:
    """What stands for an input in a pickle."""

    __slots__ = ("_number",)

    def __init__(self, number: int) -> None:
        self._number = number

    def __reduce__(self) -> Any:
        return value, (self._number,)


def value(number: int) -> Any:
    """The value of an input of the task that is being unpickled."""
    if _here.load is None:
        raise PayloadError("the arguments of a task with inputs are unpickled in its slot alone")
    return _here.load(number)


class Given:
    """While this lasts, arguments may be unpickled that take inputs of these `values`."""

    __slots__ = ("_values",)

    def __init__(self, values: list[Any]) -> None:
        self._values = values

    def __enter__(self) -> None:
        _here.load = self._values.__getitem__

    def __exit__(self, *about: object) -> None:
        _here.load = None


def split(ids: bytes) -> list[bytes]:
    """The ids in a list of them."""
    return [ids[at : at + INPUT_BYTES] for at in range(0, len(ids), INPUT_BYTES)]


def are_inputs(ids: Any) -> bool:
    """Whether `ids` is a list of task ids, one after the other."""
    return _may_be(ids) and _have_sessions(ids)


def are_all_inputs(column: Any) -> bool:
    """Whether `column` is of such lists: that of a block, looked at as one."""
    return type(column) is list and all(map(_may_be, column)) and _have_sessions(b"".join(column))


def _may_be(ids: Any) -> bool:
    return type(ids) is bytes and not len(ids) % INPUT_BYTES and len(ids) <= _IDS_BYTES_MAX


def _have_sessions(ids: bytes) -> bool:
    """Whether each of them begins with ASCII: looked at byte by byte of all, not id by id."""
    if ids.isascii():
        return True
    return all(ids[at::INPUT_BYTES].isascii() for at in range(SESSION_CHARS))
