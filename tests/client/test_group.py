"""A group asks about its members wherever they are."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from mesh.client import group as group_module
from mesh.client.group import Group
from mesh.task import Kind

OWN, OTHER = "cccccccc", "dddddddd"


class Asked:
    """A connection that notes what it is asked."""

    def look(self, session: str, first: int, count: int = 1) -> None:
        """Nobody keeps account."""

    def __init__(self) -> None:
        self.no_room: str | None = None
        self.spans: list[tuple[str, int, int]] = []

    def shown(self) -> None:
        """Nothing is printed."""

    def count(self, spans: list[tuple[str, int, int]]) -> dict[str, int]:
        self.spans = spans
        return {"queued": 2, "running": 1}

    def cancel(self, spans: list[tuple[str, int, int]], *, running: bool) -> dict[str, int]:
        assert not running
        self.spans = spans
        return {"cancelled": 3, "running": 0, "ended": 1}


def test_members_that_are_older_tasks_are_counted_and_cancelled_as_well():
    asked = Asked()
    group = Group(asked, OWN, 0, 4)
    group.is_older(1, OTHER, 7, ended=True)
    group.is_older(2, OTHER, 3, ended=False)
    group.take([2], [Kind.VALUE], [b""])  # by its counter: member 1, which is an older task
    open_ones = [(OWN, 1, 4), (OTHER, 3, 1)]

    status = group.status()
    assert asked.spans == open_ones
    assert {word: n for word, n in status.items() if n} == {
        "done": 1,
        "queued": 2,
        "running": 1,
        "total": 4,
        "found": 1,
    }

    asked.spans = []
    assert (group.cancel(), asked.spans) == (3, open_ones)


def test_members_that_wait_for_room_are_said_to_wait_and_not_to_run():
    asked = Asked()
    group = Group(asked, OWN, 0, 10)

    asked.no_room = "no room on the disk"

    status = group.status()
    assert (status["waiting"], status["queued"], status["running"]) == (7, 2, 1)
    asked.no_room = None
    status = group.status()
    assert (status["waiting"], status["queued"], status["running"]) == (0, 2, 8)


def test_progress_begins_when_the_wait_begins(monkeypatch: pytest.MonkeyPatch):
    group = Group(Asked(), OWN, 0, 2)
    seen: list[int] = []

    class Seen(group_module.Bar):
        def show(self, done: int, *about: object, **more: object) -> None:
            seen.append(done)

    def wait_for(over: Callable[[], bool], timeout: float | None) -> bool:
        threading.Thread(target=group.take, args=([0, 1], [Kind.VALUE] * 2, [b"", b""])).start()
        return waited(over, timeout)

    waited = group._changed.wait_for
    monkeypatch.setattr(group_module, "Bar", Seen)
    monkeypatch.setattr(group._changed, "wait_for", wait_for)
    assert group.wait(progress=True)

    assert (seen[0], seen[-1]) == (0, 2), "a rate that is measured from the first end on is none"
