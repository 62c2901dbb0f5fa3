"""What tasks print while they run: from workers that are asked to look, to clients that listen."""

from __future__ import annotations

from typing import Any

import pytest
from lone_router import C1, W1, W2, LoneRouter
from test_worker import LoneWorker, said

from mesh.core.events import Connected, Printed, SlotAnswered
from mesh.core.listeners import ON_WAY_BYTES_MAX, SPANS_MAX
from mesh.core.tails import LOOK_EVERY_S
from mesh.core.tails import ON_WAY_BYTES_MAX as UNTAKEN_BYTES_MAX
from mesh.protocol import messages as m
from mesh.task import Kind

C2 = "dddddddd"
ALL = [[C1, 0, 2**63 - 1]]


def running() -> tuple[LoneRouter, m.Tasks]:
    """A router whose worker has been given a task of C1."""
    lone = LoneRouter()
    lone.hello(C1)
    lone.hello(C2)
    lone.hello(W1)
    [given] = [each for name, each in lone.submit(C1, 5) if type(each) is m.Tasks]
    return lone, given


def printed(given: m.Tasks, at: int = 0, text: bytes = b"a line\n") -> m.Printed:
    [[session, first, lease, *_]] = given.pieces
    return m.Printed(session, first, lease, 1.0, at, text)


def heard(answer: list[Any]) -> list[tuple[str, bytes]]:
    return [(name, each.text) for name, each in answer if type(each) is m.Printed]


# -- the router -------------------------------------------------------------------------------


def test_workers_are_told_what_is_listened_to_and_that_it_is_no_more():
    lone, _ = running()

    assert (W1, m.Listen(ALL)) in lone.say(C1, m.Listen(ALL))
    assert not any(type(each) is m.Listen for _, each in lone.say(C2, m.Listen(ALL))), "the same"
    assert (W1, m.Listen([*ALL, [C1, 5, 1]])) in lone.say(C2, m.Listen([*ALL, [C1, 5, 1]]))
    assert (W2, m.Listen([*ALL, [C1, 5, 1]])) in lone.hello(W2)
    assert (W1, m.Listen(ALL)) in lone.say(C2, m.Bye())
    assert (W1, m.Listen([])) in lone.say(C1, m.Listen([]))


def test_who_listens_to_a_task_hears_what_it_prints_and_nobody_else():
    lone, given = running()
    assert heard(lone.say(W1, printed(given))) == []

    lone.say(C2, m.Listen([[C1, 5, 1]]))
    assert heard(lone.say(W1, printed(given))) == [(C2, b"a line\n")]
    lone.say(C1, m.Listen(ALL))
    lone.say(C2, m.Listen([[C1, 6, 1]]))
    assert heard(lone.say(W1, printed(given))) == [(C1, b"a line\n")]


def test_a_worker_speaks_for_the_tasks_it_has_been_given_alone():
    lone, given = running()
    lone.say(C1, m.Listen(ALL))
    lone.hello(W2)

    assert heard(lone.say(W2, printed(given))) == []
    [[session, first, lease, *_]] = given.pieces
    assert heard(lone.say(W1, m.Printed(session, first + 1, lease, 1.0, 0, b"x"))) == []


def test_who_does_not_read_is_told_little_and_hears_again_when_it_reads():
    lone, given = running()
    lone.say(C1, m.Listen(ALL))
    half = bytes(ON_WAY_BYTES_MAX // 2)

    assert [len(heard(lone.say(W1, printed(given, text=half)))) for _ in range(4)] == [1, 1, 0, 0]
    read = lone.core.peers.by_who["client", C1].link.sent
    lone.say(C1, m.Beat(), ack=read)
    assert heard(lone.say(W1, printed(given))) == [(C1, b"a line\n")]


def test_too_many_spans_are_refused_and_nothing_changes():
    lone, given = running()
    lone.say(C1, m.Listen(ALL))

    [(_, error)] = lone.say(C1, m.Listen([[C1, n, 1] for n in range(SPANS_MAX + 1)]))

    assert type(error) is m.Error and str(SPANS_MAX) in error.text
    assert heard(lone.say(W1, printed(given))) == [(C1, b"a line\n")]


# -- the worker -------------------------------------------------------------------------------


def test_a_worker_looks_while_somebody_listens_and_a_task_runs():
    lone = LoneWorker()
    assert not lone.tasks(1, 1).look, "nobody listens"
    assert lone.hear(m.Listen(ALL)).look
    assert not lone.tick(LOOK_EVERY_S / 2).look
    assert lone.tick(LOOK_EVERY_S).look
    assert lone.core.tails.deadline() == lone.now + LOOK_EVERY_S
    lone.turn(SlotAnswered(0, [(1, Kind.VALUE, b"body", 1.0, False)]))
    assert lone.core.tails.deadline() == float("inf"), "nothing runs"
    lone.tasks(2, 1)
    assert not lone.hear(m.Listen([])).look
    assert lone.core.tails.deadline() == float("inf"), "nobody listens"


def test_a_worker_tells_what_was_printed_by_what_it_has():
    lone = LoneWorker()
    lone.tasks(1, 1)
    lone.hear(m.Listen(ALL))

    told = said(lone.turn(Printed(1, 2.5, 10, b"text")), m.Printed)
    assert told == [m.Printed(C1, 1, 1, 2.5, 10, b"text")]
    assert said(lone.turn(Printed(9, 2.5, 10, b"text")), m.Printed) == []


@pytest.mark.parametrize(("spans", "is_heard"), [([[C1, 1, 1]], True), ([[C1, 2, 9]], False)])
def test_only_what_is_listened_to_is_read(spans: list[list[Any]], is_heard: bool):
    lone = LoneWorker()
    lone.tasks(1, 1)
    lone.hear(m.Listen(spans))

    assert lone.core.tails.is_heard(1) == lone.core.tails.is_new(1) == is_heard
    lone.core.tails.looked()
    assert not lone.core.tails.is_new(1)
    lone.hear(m.Listen([*spans, [C1, 1, 2]]))
    assert lone.core.tails.is_new(1), "somebody else has come"


def test_of_what_the_router_does_not_take_no_more_is_sent():
    lone = LoneWorker()
    lone.tasks(1, 1)
    lone.hear(m.Listen(ALL))
    much = Printed(1, 2.5, 0, bytes(UNTAKEN_BYTES_MAX))

    assert said(lone.turn(much), m.Printed)
    assert not said(lone.turn(much), m.Printed)
    lone.hear(m.Beat(), ack=lone.core.link.sent)
    assert said(lone.turn(much), m.Printed)


def test_a_router_that_is_greeted_anew_says_again_who_listens():
    lone = LoneWorker()
    lone.tasks(1, 1)
    lone.hear(m.Listen(ALL))

    lone.turn(Connected())
    assert not lone.core.tails.is_heard(1)
    lone.hear_welcome()
    assert lone.hear(m.Listen(ALL)).look and lone.core.tails.is_new(1)
