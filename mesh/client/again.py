"""Again: a value whose stored result is lost, once more for the script that submitted its task.

Who holds a live future, or the group that `submit_many` returned, waits for a value: the router is
asked to have it made again. Who comes later and asks by id gets `ResultLost`: looking a result up
has no side effects.
"""

from __future__ import annotations

import concurrent.futures
import time
from typing import TYPE_CHECKING, Any

from ..errors import ResultLost, RouterUnreachable
from ..protocol.outcome import parse, parse_ref
from ..task import show
from . import decode

if TYPE_CHECKING:
    from .connection import Connection

#: How a task ended: kind and body.
Raw = tuple[int, Any]


def load(
    connection: Connection,
    task: tuple[str, int],
    raw: Raw,
    timeout: float | None,
    *,
    is_live: bool,
) -> tuple[Raw, Any]:
    """The value of a task that has ended, and how it ended: `raw`, or, if `is_live` and its result
    was lost, what took that one's place.

    Raises:
        BaseException: see `decode.value_of`.
        TimeoutError: it was not made again within `timeout` seconds.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    while True:
        rest = None if deadline is None else max(0.0, deadline - time.monotonic())
        try:
            return raw, decode.value_of(*raw, show(*task), connection.fetch, rest)
        except ResultLost:
            if not is_live or task[0] != connection.session:
                raise
        raw = _made_again(connection, task, raw, deadline)


def _made_again(
    connection: Connection, task: tuple[str, int], raw: Raw, deadline: float | None
) -> Raw:
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
