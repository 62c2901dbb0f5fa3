"""Calls: rows of arguments, counted, checked, and encoded block by block."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import PayloadError
from ..options import OPTIONS
from ..protocol.marks import mark
from ..protocol.messages import BLOCK_TASKS_MAX
from ..task import LAST
from .group import Group
from .outbox import MESSAGE_BYTES

#: What a user calls a task or group is at most so long.
WORD_CHARS_MAX = 256

#: Positional and keyword arguments.
Call = tuple[tuple[Any, ...], dict[str, Any]]


@dataclass(slots=True)
class Encoded:
    """A block of encoded calls, from `index` on, and those that cannot be pickled."""

    index: int
    payloads: list[bytes]
    inputs: list[bytes]
    marks: list[bytes]
    broken: list[tuple[int, PayloadError]]


def sized(
    iterables: Sequence[Iterable[Any]], kwargs: Iterable[dict[str, Any]] | None
) -> tuple[Iterator[Call], int]:
    """The calls, one by one, and how many they are."""
    columns: list[Iterable[Any]] = [*iterables, *([] if kwargs is None else [kwargs])]
    for nth, each in enumerate(columns):
        if not hasattr(each, "__iter__") and not hasattr(each, "__getitem__"):
            raise TypeError(
                f"submit_many() takes a series of values for each argument of the function, and "
                f"series {nth + 1} is {each!r:.80}: for a single call there is submit()"
            )
    if all(hasattr(each, "__len__") for each in columns):
        size = min(len(each) for each in columns)  # type: ignore[arg-type]
        columns = [each.members() if isinstance(each, Group) else each for each in columns]
        rows: Iterable[tuple[Any, ...]] = itertools.islice(zip(*columns, strict=False), size)
    else:  # only the shortest can be counted: beside it others may be endless
        rows = list(zip(*columns, strict=False))
        size = len(rows)
    if kwargs is None:
        return ((row, {}) for row in rows), size
    return ((row[:-1], row[-1]) for row in rows), size


def check_names(fn: Callable[..., Any], kwargs: dict[str, Any]) -> None:
    """See that what has an option's name among the arguments is an argument.

    Raises:
        TypeError: the function takes none of that name.
    """
    try:
        parameters = inspect.signature(fn).parameters
    except ValueError:
        return  # of a function that is not Python's: it says so itself
    if any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters.values()):
        return
    for name in kwargs:
        if name in OPTIONS and name not in parameters:
            raise TypeError(
                f"{getattr(fn, '__name__', fn)}() takes no argument {name!r}: an option of the "
                f"call is given by m.options({name}=...).submit(...)"
            )


def check_word(what: str, word: Any) -> None:
    """See that a task or group may be called so.

    Raises:
        TypeError: it is no string, or too long or short.
        ValueError: it is a word that means another task.
    """
    if not isinstance(word, str) or not 0 < len(word) <= WORD_CHARS_MAX:
        raise TypeError(f"{what} is a string of 1 to {WORD_CHARS_MAX} characters, not {word!r:.80}")
    if word == LAST:
        raise ValueError(f"{what} cannot be {LAST!r}: that means what was submitted last")


def checked_ids(ids: Iterable[str], size: int) -> list[str | None]:
    checked: list[str | None] = list(ids)
    if len(checked) != size:
        raise ValueError(f"{len(checked)} ids for {size} calls")
    for each in checked:
        check_word("an id", each)
    if len(set(checked)) != size:
        twice = next(each for each in checked if checked.count(each) > 1)
        raise ValueError(f"ids must differ; {twice!r} is there twice")
    return checked


def encoded(
    rows: Iterator[Call], marked: bool, encode: Callable[..., tuple[bytes, bytes]]
) -> Iterator[Encoded]:
    """Calls whose arguments `encode` makes a payload and inputs of, block by block."""
    index = 0
    row = next(rows, None)
    while row is not None:
        block = Encoded(index, [], [], [], [])
        payloads, inputs = block.payloads, block.inputs
        size = 0
        while row is not None and len(payloads) < BLOCK_TASKS_MAX and size < MESSAGE_BYTES:
            args, kwargs = row
            try:
                arguments, taken = encode(args, kwargs)
            except PayloadError as error:
                block.broken.append((len(payloads), error))
                arguments = taken = b""
            if marked:
                block.marks.append(mark(args, kwargs))
            payloads.append(arguments)
            inputs.append(taken)
            size += len(arguments) + len(taken)
            row = next(rows, None)
        yield block
        index += len(payloads)


def whole_runs(count: int, holes: list[int]) -> Iterator[tuple[int, int]]:
    """[0, count) without `holes`, as runs."""
    low = 0
    for hole in [*holes, count]:
        if low < hole:
            yield low, hole
        low = hole + 1
