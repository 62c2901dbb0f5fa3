"""The roll, as a client calls it: what became of each of some tasks, asked for page by page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from ..core.desk import PAGE_TASKS
from .source import Source

Span = tuple[str, int, int]


def call(
    connection: Source, spans: Sequence[Span], *, whole: bool = False
) -> Iterator[dict[str, Any]]:
    """A row for each task of `spans`, in their order: ``id``, ``name`` (the task's own id),
    ``function``, ``state`` (None: there is no such task), ``host``, ``begun_at``, ``took_s``,
    ``attempts``, ``error`` and ``message``; ``result`` of one that stays with a worker. A `whole`
    row also has, as they travel, ``digest``, ``options``, ``arguments``, ``inputs``, ``mark``,
    ``kind`` and ``rest``."""
    left = [span for span in reversed(spans) if span[2]]
    while left:
        page: list[Span] = []
        room = PAGE_TASKS
        while left and room:
            session, first, count = left.pop()
            take = min(count, room)
            page.append((session, first, take))
            room -= take
            if take < count:
                left.append((session, first + take, count - take))
        rows = connection.ask("roll", {"spans": page, "whole": whole})
        yield from rows
        left += reversed(list(_behind(page, len(rows))))


def _behind(page: list[Span], told: int) -> Iterator[Span]:
    """What is left of a page, the roll of which ended after so many."""
    for session, first, count in page:
        if told < count:
            yield session, first + told, count - told
        told = max(told - count, 0)


def merged(tasks: Iterable[tuple[str, int]]) -> list[Span]:
    """Tasks, in their order, as few spans as that takes."""
    spans: list[Span] = []
    for session, counter in tasks:
        if spans and spans[-1][0] == session and spans[-1][1] + spans[-1][2] == counter:
            spans[-1] = (session, spans[-1][1], spans[-1][2] + 1)
        else:
            spans.append((session, counter, 1))
    return spans


def members(session: str, first: int, size: int, older: Iterable[Sequence[Any]]) -> list[Span]:
    """The members of a group in their order, some of which are older tasks: rows of [index,
    session, counter, count]."""
    spans: list[Span] = []
    at = 0
    for index, whose, counter, count in older:
        if index > at:
            spans.append((session, first + at, index - at))
        spans.append((whose, counter, count))
        at = index + count
    return [*spans, (session, first + at, size - at)] if at < size else spans
