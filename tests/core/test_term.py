"""How long a worker stays: until its time ends, or as long as there is something to do."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
from lone_router import C1, W1, W2, LoneRouter
from test_worker import OTHER_ROW, ROW, Leaver, LoneWorker, last_words, offered, said

from mesh.core.events import Connected, SlotAnswered, TakenBack, Tick, TimeLeft
from mesh.core.term import ASKS_BEFORE_S, LAST_ROUND_S, Term
from mesh.protocol import messages as m
from mesh.protocol.stores import STAYS
from mesh.task import Kind

BEGUN, ENDS = 1000.0, 1600.0


def of_600_s(**given: Any) -> LoneWorker:
    """A worker of one slot with ten minutes, that leaves a minute before they are over."""
    lone = LoneWorker()
    lone.core.term = Term(ENDS, 60.0, **given)
    lone.turn()
    return lone


def wait(lone: LoneWorker, for_what: Callable[[Any], object]) -> Any:
    """The turn of which it is so; its router is there."""
    while True:
        if for_what(turn := lone.turn(Tick())):
            return turn
        if for_what(turn := lone.hear(m.Beat(), ack=lone.core.link.sent)):
            return turn
        lone.now = min(lone.core.deadline(lone.now), lone.now + 1.0)
        assert lone.now < BEGUN + 10_000


def pass_time(lone: LoneWorker, seconds: float) -> None:
    """Its router is there meanwhile."""
    until = lone.now + seconds
    wait(lone, lambda turn: lone.now >= until)


def test_a_minute_before_its_end_it_takes_no_more_and_half_of_that_is_for_what_runs():
    lone = of_600_s()
    lone.tasks(1, 3)
    turn = wait(lone, lambda turn: lone.core.leaving)
    assert (lone.now, lone.core.window, turn.take_back) == (1540.0, 0, [0])
    assert [each.leases for each in said(turn, m.Returned)] == [[2, 3]]
    lone.turn(TakenBack(0, []))

    wait(lone, lambda turn: turn.kills)
    assert lone.now == 1570.0
    assert lone.core.slots.struck(0, lone.now)
    turn = lone.turn(SlotAnswered(0, [(1, Kind.ERROR, b"KeyboardInterrupt", 2.5, False)]))

    assert [each.leases for each in said(turn, m.Returned)] == [[1]] and not said(turn, m.Done)
    assert (last_words(turn)[-1], turn.stop) == (m.Bye, "its time ends")
    assert not lone.core.failed


def test_what_ends_in_time_is_told_and_it_goes():
    lone = of_600_s()
    lone.tasks(1, 1)
    wait(lone, lambda turn: lone.core.leaving)
    turn = lone.turn(SlotAnswered(0, [(1, Kind.VALUE, b"v", 0.1, False)]))

    assert said(turn, m.Done)
    assert wait(lone, lambda turn: turn.stop).stop == "its time ends" and lone.now < 1570


def test_it_says_how_long_what_begins_may_run():
    lone = of_600_s()
    pass_time(lone, 100)
    [hello] = said(lone.turn(Connected()), m.Hello)
    assert hello.about["ends_s"] == 470.0
    lone.hear_welcome()

    [hello] = said(LoneWorker().turn(Connected()), m.Hello)
    assert "ends_s" not in hello.about


@pytest.mark.parametrize(
    ("at", "within_s", "then"), [(0, 25, 25), (560, 25, 10), (0, math.inf, 570)]
)
def test_who_is_told_to_go_has_no_longer_than_its_time(at: float, within_s: float, then: float):
    lone = of_600_s()
    lone.tasks(1, 1)
    pass_time(lone, at)
    lone.core.leave("told to by a signal", within_s, lone.now)
    wait(lone, lambda turn: turn.kills)
    assert lone.now == BEGUN + at + then


def test_told_again_it_has_the_shorter_time():
    lone = of_600_s()
    lone.tasks(1, 1)
    lone.core.leave("warned", math.inf, lone.now)
    lone.core.leave("told to by a signal", 25, lone.now + 5)
    wait(lone, lambda turn: turn.kills)
    assert lone.now == BEGUN + 30


def test_a_worker_without_a_router_has_no_longer_than_its_time_either():
    lone = of_600_s()
    lone.tasks(1, 1)
    lone.core.give_up("no router has answered")
    wait(lone, lambda turn: turn.kills)
    assert lone.now == 1570.0


@pytest.mark.parametrize(("ends", "over"), [(math.inf, 5 + LAST_ROUND_S), (BEGUN + 10, 5 + 4.0)])
def test_what_ended_while_others_ran_is_offered_when_those_have_had_their_time(
    ends: float, over: float
):
    lone = Leaver([ROW], [OTHER_ROW])
    lone.core.term = Term(ends, 10.0)
    lone.tasks(1, 1)
    turn = lone.leave(5.0)
    lone.core.handle(TakenBack(0, []), lone.now)
    lone.listed(turn)
    lone.hear(m.Settled([[*ROW, STAYS]]))
    lone.now += 5
    lone.core.handle(Tick(), lone.now)
    assert lone.core.settle(lone.now).kills
    lone.core.slots.struck(0, lone.now)
    lone.core.handle(SlotAnswered(0, [(1, Kind.ERROR, b"KeyboardInterrupt", 5, False)]), lone.now)
    assert offered(lone.listed(lone.core.settle(lone.now))) == [OTHER_ROW]
    while lone.core.settle(lone.now).stop is None:  # nobody answers that
        lone.core.handle(Tick(), lone.now)
        lone.now = lone.core.deadline(lone.now) + 0.001
    assert BEGUN + over <= lone.now < BEGUN + over + 1.1


def test_who_has_nothing_to_do_for_so_long_goes():
    lone = of_600_s(idle_timeout_s=20.0)
    pass_time(lone, 19)
    lone.tasks(1, 1)
    pass_time(lone, 100)
    assert lone.core.leaving is None
    lone.turn(SlotAnswered(0, [(1, Kind.VALUE, b"v", 0.1, False)]))
    done = lone.now

    turn = wait(lone, lambda turn: turn.stop)
    assert (turn.stop, last_words(turn)[-1]) == ("it had nothing to do", m.Bye)
    assert lone.now - done == 20.0 and not lone.core.failed


def test_it_asks_once_for_more_time_and_stays_if_there_is_more():
    lone = of_600_s(asks=True)
    wait(lone, lambda turn: turn.ask_time)
    assert lone.now == 1540.0 - ASKS_BEFORE_S and lone.core.leaving is None
    [report] = said(lone.turn(TimeLeft(675.0)), m.Report)
    assert lone.now + report.about["ends_s"] == 2170.0, "what runs has its half of the margin"

    wait(lone, lambda turn: turn.ask_time)
    assert lone.now == 2140.0 - ASKS_BEFORE_S
    lone.turn(TimeLeft(75.9))  # in whole seconds it is never the same
    turns: list[Any] = []
    wait(lone, lambda turn: turns.append(turn) or lone.core.leaving)
    assert 2140.0 <= lone.now < 2142.0 and not any(turn.ask_time for turn in turns)


def test_a_time_that_has_no_end_any_more_is_told_as_that():
    lone = of_600_s(asks=True)
    wait(lone, lambda turn: turn.ask_time)
    [report] = said(lone.turn(TimeLeft(math.inf)), m.Report)
    assert report.about["ends_s"] is None
    pass_time(lone, 5000)
    assert lone.core.leaving is None


def test_what_nobody_answers_changes_nothing_and_an_answer_comes_too_late_in_the_end():
    lone = of_600_s(asks=True)
    wait(lone, lambda turn: lone.core.leaving)
    assert lone.now == 1540.0
    assert not said(lone.turn(TimeLeft(6000.0)), m.Report) and lone.core.leaving
    without = of_600_s()
    assert not wait(without, lambda turn: turn.ask_time or without.core.leaving).ask_time


def test_without_a_router_it_does_not_know_that_there_is_nothing_to_do():
    lone = of_600_s(idle_timeout_s=20.0)
    lone.turn(Connected())
    lone.now += 30
    assert lone.turn(Tick()).stop is None
    lone.hear_welcome()
    welcomed = lone.now
    assert wait(lone, lambda turn: turn.stop).stop == "it had nothing to do"
    assert lone.now == welcomed + 20


def test_a_router_tells_how_long_what_a_worker_begins_may_run():
    router = LoneRouter()
    router.hello(W1, about={"slots": 1, "ends_s": 470.0})
    router.hello(W2, about={"slots": 1})
    router.hello(C1)
    router.now += 20
    [(_, told)] = router.say(C1, m.Ask(1, "workers", {}))
    assert [row["ends_s"] for row in told.value] == [450.0, None]
