"""Context: what a task is told beside its arguments: its surroundings, and which of many it is.

It travels from worker to slot with each packet of tasks that has any; a plain task has none, and
costs nothing. Worker and slot are one Python, started one by the other: marshal will do, and a slot
has it without an import.
"""

from __future__ import annotations

import marshal
from collections.abc import Mapping
from typing import Any, NamedTuple


class Context(NamedTuple):
    """What the tasks of one packet are told.

    Attributes:
        env: environment variables for their time.
        cwd: the folder to run in, which must be there; None leaves that to the function.
        group: the counter of their group's id, or None.
        member: the first of them is this one of it.
        attempts: lease → which run of its task this is, where that is not the first.
        limit_s: seconds that each may take, or None.
    """

    env: dict[str, str]
    cwd: str | None
    group: int | None
    member: int
    attempts: dict[int, int]
    limit_s: float | None


#: That of a plain task.
PLAIN = Context({}, None, None, 0, {}, None)


def pack(options: Mapping[str, Any], at: int, env: Mapping[str, str] = PLAIN.env) -> bytes:
    """The context of the tasks from index `at` of a piece on, as the `options` of a piece say it;
    `env` is what their worker adds, and wins."""
    if not options and not env:
        return b""
    member, env = options.get("member"), {**options.get("env", {}), **env}
    group, index = (None, 0) if member is None else (member[0], member[1] + at)
    attempts, cwd = dict(options.get("attempts", ())), options.get("cwd")
    context = Context(env, cwd, group, index, attempts, options.get("time_limit"))
    return b"" if context == PLAIN else marshal.dumps(tuple(context))


def parse(packed: Any) -> Context:
    """The context in a packet."""
    return Context(*marshal.loads(packed)) if packed else PLAIN
