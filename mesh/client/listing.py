"""Lists of tasks, as long as they may be: asked for page by page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from . import roll
from .source import Source


def tasks(connection: Source, states: Sequence[str], limit: int | None) -> Iterator[dict[str, Any]]:
    """At most `limit` tasks in these states, open ones first. None and no states mean all. One that
    ends meanwhile may come twice, open and ended."""
    after: list[str] | None = None
    while limit is None or limit > 0:
        about = {"states": list(states), "after": after}
        rows = connection.ask("tasks", about if limit is None else about | {"limit": limit})
        if not rows:
            return
        yield from rows
        after = [rows[-1]["id"], rows[-1]["state"]]
        limit = None if limit is None else limit - len(rows)


def members(
    connection: Source,
    spans: Sequence[tuple[str, int, int]],
    states: Sequence[str],
    limit: int | None,
) -> Iterator[dict[str, Any]]:
    """At most `limit` of these tasks, in these states and in their order."""
    found = (row for row in roll.call(connection, spans) if row["state"] is not None)
    wanted = (row for row in found if not states or row["state"] in states)
    for row in islice(wanted, limit):
        yield {name: row.get(name) for name in ("id", "state", "name", "function", "result")}
