"""What the router keeps of payloads and outcomes on their way."""

from __future__ import annotations

from typing import Any

from mesh.core.ledger import RECORD
from mesh.processes.payloads import OUTCOMES_BYTES, Cache, Payloads
from mesh.protocol.outcome import body
from mesh.task import Kind, key


def test_the_oldest_give_way_once_they_are_on_disk() -> None:
    cache = Cache(100)
    for nth in range(4):
        cache.keep(b"%d" % nth, nth + 1, nth, 40)
    cache.trim(0)
    assert len(cache.values) == 4, "none of them can be asked for again"
    cache.trim(4)
    assert list(cache.values) == [b"3"]


def test_what_is_kept_again_stays_until_it_is_on_disk() -> None:
    cache = Cache(100)
    cache.keep(b"a", 5, "outcome", 40)
    cache.keep(b"a", 0, "outcome", 40)  # for somebody else, by whom nothing is written
    cache.keep(b"b", 6, "more", 90)
    cache.trim(4)
    assert b"a" in cache.values
    cache.trim(6)
    assert b"a" not in cache.values


class Recorded:
    """Records that have these outcomes, and note which are asked for."""

    def __init__(self, outcomes: dict[bytes, bytes]) -> None:
        self.has = outcomes
        self.asked: list[bytes] = []

    def outcomes(self, tasks: list[bytes]) -> Any:
        self.asked += tasks
        return ((task, self.has[task]) for task in tasks)


def test_outcomes_are_here_until_they_are_on_disk_and_asked_for_afterwards() -> None:
    value = body(0.0, 0.0, b"", b"x" * 10_000)
    tasks = [key("cccccccc", each) for each in range(OUTCOMES_BYTES // 5_000)]
    records = Recorded({task: RECORD.pack(Kind.VALUE, 1, b"w" * 8) + value for task in tasks})
    payloads = Payloads(records)  # type: ignore[arg-type]

    def given(*wanted: bytes) -> list[Any]:
        row: list[Any] = [1, [len(wanted)], b"".join(wanted), None, None]
        payloads.fill_in([row])
        return [*zip(row[3], row[4], strict=True)]

    for nth, task in enumerate(tasks, 1):
        payloads.ended([(task, records.has[task])], nth)
        payloads.trim(0)
    assert given(*tasks) == [(Kind.VALUE, b"x" * 10_000)] * len(tasks)
    assert not records.asked, "none of them can be asked for"

    payloads.trim(len(tasks))
    payloads.ended([(tasks[-1], records.has[tasks[-1]])], 0)
    assert given(tasks[0], tasks[-1], tasks[0]) == [(Kind.VALUE, b"x" * 10_000)] * 3
    assert records.asked == [tasks[0]]
