"""Again: a value whose stored result is lost, once more for a script that submitted its task.

Who holds a live future, or the group that `submit_many` returned, waits for a value: the router is
asked to have it made again. That the task turned out to be an older one, of a script that ran
before, makes no difference: whoever submits a call wants its value. Who asks by id gets
`ResultLost`: looking a result up has no side effects.
"""

from __future__ import annotations

import concurrent.futures
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from ..errors import ResultLost, ResultUnreachable, RouterUnreachable
from ..protocol.outcome import parse, parse_ref
from ..task import SUCCESS, show
from . import decode
from .saving import Ended

if TYPE_CHECKING:
    from .source import Source

#: Members whose results are lost are waited for by so many threads: as many run again at once.
AT_ONCE = 64

#: How a task ended: kind and body.
Raw = tuple[int, Any]


def load(
    connection: Source,
    task: tuple[str, int],
    raw: Raw,
    timeout: float | None,
    *,
    is_live: bool,
    alias: str | None,
) -> tuple[Raw, Any]:
    """The value of a task that has ended, and how it ended: `raw`, or, if `is_live` and its result
    was lost, what took that one's place. Where results are kept, it is from now on, under its
    `alias`, too.

    Raises:
        BaseException: see `decode.value_of`.
        TimeoutError: it was not made again within `timeout` seconds.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    while True:
        rest = None if deadline is None else max(0.0, deadline - time.monotonic())
        try:
            return raw, _value(connection, Ended(show(*task), *raw, connection.fetch), alias, rest)
        except (ResultUnreachable, ResultLost) as error:
            newest = _newest(connection, task)
            if newest is not None and newest != raw:  # another store has it meanwhile
                raw = newest
                continue
            if isinstance(error, ResultUnreachable) or not is_live:
                raise
        raw = _made_again(connection, task, raw, deadline)


def load_many(
    load: Callable[[int], Any], indices: list[int]
) -> Iterator[tuple[Any, BaseException | None]]:
    """What `load` makes of members whose values could not be had at the first look, or errors that
    name their tasks. What is lost is made again meanwhile: many at a time, for each takes its
    task's time."""
    pool = ThreadPoolExecutor(min(AT_ONCE, max(len(indices), 1)), "mesh-again")
    try:
        begun = [pool.submit(load, i) for i in indices]
        for each in begun:
            error = each.exception()
            yield (each.result(), None) if error is None else (None, error)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _value(connection: Source, ended: Ended, alias: str | None, timeout: float | None) -> Any:
    if connection.kept is not None and ended.kind in SUCCESS:
        return connection.kept.value(ended, alias, timeout=timeout)
    return decode.value_of(ended.kind, ended.body, ended.id, ended.fetch, timeout)


def _newest(connection: Source, task: tuple[str, int]) -> Raw | None:
    """How a task ended, as the router has it now."""
    told = connection.ask("newest", {"session": task[0], "counter": task[1]})
    return None if told is None else (told[0], told[1])


def _made_again(connection: Source, task: tuple[str, int], raw: Raw, deadline: float | None) -> Raw:
    """What takes the place of a result that is lost.

    Raises:
        ResultLost: it cannot be made again, and why.
    """
    lease = parse_ref(parse(raw[1]).rest).lease
    about = {"session": task[0], "counter": task[1], "lease": lease}
    rest = None if deadline is None else max(0.0, deadline - time.monotonic())
    try:
        kind, body = connection.ask("again", about, rest)
    except RouterUnreachable:
        if deadline is None or time.monotonic() < deadline:
            raise
        raise concurrent.futures.TimeoutError(
            f"the result of {show(*task)} was lost, and not made again in time"
        ) from None
    return kind, body
