"""Who waits for which task, and is told: also after the connection broke, and if it is another."""

from __future__ import annotations

from typing import Any

import pytest

from mesh.client.future import Future
from mesh.client.group import Group
from mesh.client.waiting import Waiting
from mesh.errors import TaskNotFound
from mesh.protocol.outcome import body, failure_body
from mesh.task import Kind

OWN, OTHER, THIRD = "cccccccc", "dddddddd", "eeeeeeee"

#: An outcome without a log whose value is a pickled None.
VALUE = body(0.0, 0.0, b"", b"\x80\x05N.")


class Nobody:
    """A connection of which nothing is asked but to call back."""

    outbox = None

    def __init__(self) -> None:
        self.waiting = Waiting(self, OWN)
        self.recorded: set[int] = set()

    def call(self, callback: Any) -> None:
        callback()

    def look(self, session: str, first: int, count: int = 1) -> None:
        """Nobody keeps account."""

    def shown(self) -> None:
        """Nothing is."""

    def is_recorded(self, counter: int) -> bool:
        return counter in self.recorded


@pytest.fixture
def waiting() -> Waiting:
    return Nobody().waiting


def group_of(waiting: Waiting, counter: int, size: int, session: str = OWN) -> Group:
    return Group(waiting._connection, session, counter, size)


def own_group(waiting: Waiting, counter: int, size: int) -> Group:
    group = group_of(waiting, counter, size)
    waiting.add(group)
    return group


def ends(waiting: Waiting, session: str, *counters: int) -> None:
    waiting.news(
        session, list(counters), bytes([Kind.VALUE]) * len(counters), [VALUE] * len(counters)
    )


def not_found(waiting: Waiting, session: str, counter: int) -> None:
    refusal = failure_body("TaskNotFound", "no such task")
    waiting.news(session, [counter], bytes([Kind.REFUSED]), [refusal])


def watched(waiting: Waiting) -> set[tuple[str, int]]:
    """What is asked for after a reconnect."""
    return {(s, c) for s, first, count in waiting.all_spans() for c in range(first, first + count)}


# -- after a reconnect -----------------------------------------------------------------------


def test_own_tasks_and_those_of_others_are_asked_for_again(waiting: Waiting):
    waiting.future(0)
    own_group(waiting, 1, 2)
    waiting.join(OTHER, 7)
    ends(waiting, OWN, 2)

    assert watched(waiting) == {(OWN, 0), (OWN, 3), (OTHER, 7)}


def test_a_future_by_id_of_an_own_task_that_nobody_else_waits_for_is_asked_for_again(
    waiting: Waiting,
):
    waiting.future(0)
    ends(waiting, OWN, 0)

    future = waiting.join(OWN, 0)

    assert watched(waiting) == {(OWN, 0)}
    ends(waiting, OWN, 0)
    assert future.done() and watched(waiting) == set()


def test_a_group_by_id_of_own_tasks_is_asked_for_again(waiting: Waiting):
    group = group_of(waiting, 0, 2)
    waiting.join_group(group)

    assert watched(waiting) == {(OWN, 1), (OWN, 2)}
    ends(waiting, OWN, 1, 2)
    assert group.ended


@pytest.mark.parametrize("session", [OWN, OTHER], ids=["an own one", "another client's"])
def test_who_waits_for_a_task_that_is_an_older_one_asks_for_that(waiting: Waiting, session: str):
    future = waiting.future(10)
    group = own_group(waiting, 11, 1)

    waiting.is_older(OWN, 10, session, 3, False)
    waiting.is_older(OWN, 12, session, 4, False)

    assert watched(waiting) == {(session, 3), (session, 4)}
    ends(waiting, session, 3, 4)
    assert future.done() and group.ended
    assert watched(waiting) == set()


def test_what_was_asked_for_before_it_was_sent_is_not_missed(waiting: Waiting):
    future = waiting.future(0)
    own_group(waiting, 1, 1)
    for counter in (0, 2):
        not_found(waiting, OWN, counter)

    assert watched(waiting) == {(OWN, 0), (OWN, 2)} and not future.done()


def test_what_was_recorded_and_is_not_known_any_more_is_gone():
    nobody = Nobody()
    future = nobody.waiting.future(0)
    group = own_group(nobody.waiting, 1, 1)
    nobody.recorded = {0, 2}

    for counter in (0, 2):
        not_found(nobody.waiting, OWN, counter)

    assert group.ended
    with pytest.raises(TaskNotFound):
        future.result(0)


# -- older tasks -----------------------------------------------------------------------------


def test_a_members_future_made_before_it_is_known_to_be_older_is_told(waiting: Waiting):
    group = own_group(waiting, 0, 1)
    future = waiting.member(group, 0)

    waiting.is_older(OWN, 1, OTHER, 5, False)
    ends(waiting, OTHER, 5)

    assert future.done() and group.ended
    assert future.id == "dddddddd.5"


def test_a_task_of_another_client_may_be_an_older_one(waiting: Waiting):
    mine: Future = waiting.future(5)
    future = waiting.join(OTHER, 5)

    waiting.is_older(OTHER, 5, THIRD, 9, True)
    ends(waiting, THIRD, 9)

    assert future.done() and future.id == "eeeeeeee.9"
    assert not mine.done() and mine.id == "cccccccc.5"


def test_a_member_that_was_never_sent_is_not_found(waiting: Waiting):
    own = own_group(waiting, 0, 2)
    own.take([1], [Kind.REFUSED], [failure_body("PayloadError", "cannot be pickled")])
    again = group_of(waiting, 0, 2)
    waiting.join_group(again)

    not_found(waiting, OWN, 1)
    ends(waiting, OWN, 2)

    assert own.ended and again.ended


def test_a_foreign_group_that_has_ended_is_not_taken_for_an_own_one_with_the_same_numbers(
    waiting: Waiting,
):
    own, foreign = own_group(waiting, 0, 2), group_of(waiting, 0, 2, OTHER)
    waiting.join_group(foreign)

    ends(waiting, OTHER, 1, 2)
    assert foreign.ended and not own.ended and not waiting.wait_idle(0)
    assert waiting.all_spans() == [(OWN, 1, 2)]
    ends(waiting, OWN, 1, 2)

    assert own.ended and waiting.wait_idle(0)


def test_a_foreign_group_has_no_entry_for_each_of_its_members(waiting: Waiting):
    group, twin = (group_of(waiting, 9, 1000, OTHER) for _ in range(2))
    group.older.add(0, THIRD, 5, 2)
    for each in (group, twin):
        waiting.join_group(each)
    assert len(waiting._others) == 2
    assert set(waiting.all_spans()) >= {(OTHER, 12, 998), (OTHER, 10, 1000), (THIRD, 5, 2)}

    ends(waiting, OTHER, *range(5, 1010))
    ends(waiting, THIRD, 5)
    assert twin.ended and not group.ended
    waiting.is_older(THIRD, 6, OTHER, 3, ended=False)
    ends(waiting, OTHER, 3)

    assert group.ended and waiting.all_spans() == []
