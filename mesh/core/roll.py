"""The roll: what became of each of some tasks, a row each, in their order.

What has ended the store knows (store/roll.py); of the others memory knows where they are. What is
asked for is a page, and the roll may be shorter than that: who asks goes on behind its last row.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from ..task import ENDED, State, parse

if TYPE_CHECKING:
    from .block import Block
    from .router import RouterCore

Span = tuple[str, int, int]


def call(
    core: RouterCore,
    spans: list[Span],
    is_whole: bool,
    then: Callable[[float, list[dict[str, Any]]], None],
) -> None:
    """Call the roll; `then(now, rows)` is called in a later turn. With `is_whole` a row has all
    that its task was called with and gave."""
    ask = partial(core.lookups.ask, "roll", (spans, is_whole))

    def found(rows: list[dict[str, Any]], now: float, *, again: bool = True) -> None:
        if not _fill(core, rows) and again:  # one has ended since the store was asked
            ask(partial(found, again=False))
            return
        then(now, rows)

    ask(found)


def _fill(core: RouterCore, rows: list[dict[str, Any]]) -> bool:
    """Say where those are that have not ended; whether all that exist are accounted for."""
    runs: dict[tuple[Block, int], str | None] | None = None
    is_all = True
    for row in rows:
        if row["state"] is not None:
            continue
        session, counter = parse(row["id"])  # type: ignore[misc]  # it is one
        found = core.ledger.blocks.find(session, counter)
        if found is None or found[0].states[found[1]] >= ENDED:
            is_all = is_all and row["function"] is None
            continue
        block, i = found
        if row["function"] is None:  # the store is about to have it
            row["function"] = core.ledger.functions[block.function][0]
            row["name"] = block.names[i] if block.names is not None else None
        row["state"] = State(block.states[i]).word
        if block.states[i] == State.RUNNING:
            runs = _hosts(core) if runs is None else runs
            row["host"] = runs.get((block, i))
            row["attempts"] += 1
    return is_all


def _hosts(core: RouterCore) -> dict[tuple[Block, int], str | None]:
    """On which host each task is that a worker has been given."""
    return {
        (block, i): worker.about.get("host")
        for worker in core.fleet
        for block, i, _ in worker.held.values()
    }
