"""Placement: who gets how many tasks, and what is taken back."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lone_router import C1, W1, W2, W3, LoneRouter

from mesh.core.events import Committed, Gone
from mesh.core.fleet import RECALL_PAUSE_S
from mesh.protocol import messages as m
from mesh.task import Kind


def fleet(*sizes: tuple[int, int]) -> LoneRouter:
    """A router with a client and workers of so many slots and with such windows."""
    lone = LoneRouter()
    lone.hello(C1)
    for who, (slots, window) in zip((W1, W2, W3), sizes):
        lone.hello(who, about={"slots": slots, "window": window})
    return lone


def held(lone: LoneRouter) -> list[int]:
    return [len(worker.held) for worker in lone.core.fleet]


def recalled(sent: list) -> list[tuple[str, int]]:
    """From whom how many tasks are asked back."""
    return [(name, message.count) for name, message in sent if type(message) is m.Recall]


def given_out(sent: list) -> dict[str, list[int]]:
    """Who got which tasks."""
    found: dict[str, list[int]] = {}
    for name, message in sent:
        if isinstance(message, m.Tasks):
            for _, first, _, _, _, payloads in message.pieces:
                counters = range(first, first + payloads.high - payloads.low)
                found.setdefault(name, []).extend(counters)
    return found


def test_few_tasks_are_spread_over_idle_slots():
    lone = fleet((2, 8), (2, 8), (2, 8))

    lone.submit(C1, 0, 6)

    assert held(lone) == [2, 2, 2]


def test_the_least_laden_gets_the_next():
    lone = fleet((2, 8), (2, 8))
    lone.submit(C1, 0, 2)

    assert given_out(lone.submit(C1, 2, 1)).keys() == {W2}


def test_the_rest_is_shared_evenly_and_travels_in_runs():
    lone = fleet((1, 50), (1, 50), (1, 50))

    sent = given_out(lone.submit(C1, 0, 90))

    assert held(lone) == [30, 30, 30]
    for counters in sent.values():
        assert sum(b != a + 1 for a, b in itertools.pairwise(counters)) <= 1


def test_windows_are_never_exceeded_and_filled_as_they_open():
    lone = fleet((1, 2), (1, 5))
    lone.submit(C1, 0, 20)
    assert held(lone) == [2, 5]

    [lease, *_] = lone.core.fleet.workers[W1].held
    [(block, i, _)] = [lone.core.fleet.workers[W1].held[lease]]
    ended = [C1, [block.first + i], [lease], bytes([Kind.VALUE]), [b"v"]]
    lone.say(W1, m.Done([ended], 4))

    assert held(lone) == [4, 5]


def test_who_is_away_gets_nothing():
    lone = fleet((2, 8), (2, 8))
    lone.do(Gone(W1.encode()))

    lone.submit(C1, 0, 4)

    assert held(lone) == [0, 4]


def test_one_on_whose_connection_another_speaks_is_away():
    lone = fleet((2, 8), (2, 8))
    lone.hello(W3, id=W1)

    lone.submit(C1, 0, 4)

    assert held(lone)[0] == 0 and lone.core.fleet.workers[W1].peer is None


def test_a_worker_that_leaves_gets_nothing():
    lone = fleet((2, 8), (2, 8))
    lone.say(W1, m.Returned([], 0))

    lone.submit(C1, 0, 4)

    assert held(lone) == [0, 4]


def test_a_function_is_sent_once_before_its_first_task():
    lone = fleet((1, 4))

    sent = [type(message) for _, message in lone.submit(C1, 0, 1)]
    again = [type(message) for _, message in lone.submit(C1, 1, 1)]

    assert (sent, again) == ([m.Function, m.Tasks], [m.Tasks])


def test_a_worker_that_greets_anew_is_sent_functions_anew():
    lone = fleet((1, 4))
    lone.submit(C1, 0, 1)
    [lease] = lone.core.fleet.workers[W1].held
    about = {"slots": 1, "window": 4}
    lone.hello(W1, session=2, about=about, held=[[lease, C1, 0]])

    assert m.Function in [type(message) for _, message in lone.submit(C1, 1, 1)]


def test_when_a_slot_idles_what_waits_elsewhere_is_recalled_once():
    lone = fleet((1, 8))
    lone.submit(C1, 0, 8)

    sent = lone.hello(W2, about={"slots": 2, "window": 8})
    assert recalled(sent) == [(W1, 3)], "half of what it could spare"
    assert recalled(lone.tick(0.01)) == []

    # What it gives back goes to who has fewer.
    leases = list(lone.core.fleet.workers[W1].held)[-3:]
    sent = lone.say(W1, m.Returned(leases, 8))
    assert given_out(sent)[W2] == [5, 6, 7]


def test_who_is_away_keeps_nobody_from_being_asked():
    lone = fleet((1, 8), (1, 6))
    lone.submit(C1, 0, 14)
    assert held(lone) == [8, 6]
    lone.do(Gone(W1.encode()))

    assert recalled(lone.hello(W3, about={"slots": 1, "window": 8})) == [(W2, 2)]


def test_after_a_recall_that_brought_nothing_the_next_one_waits():
    lone = fleet((1, 8))
    lone.submit(C1, 0, 8)
    lone.hello(W2, about={"slots": 2, "window": 8})

    assert lone.say(W1, m.Returned([], 8)) == []

    assert recalled(lone.tick(2 * RECALL_PAUSE_S)) == [(W1, 3)]


# -- what is cancelled -----------------------------------------------------------------------


def verdicts(lone: LoneRouter, sent: list) -> list[tuple[int, int, int]]:
    """The tallies of cancellations: cancelled, running, ended. They are told when they are on
    disk."""
    sent = sent + lone.do(Committed(lone.ticket))
    return [tuple(message.value.values()) for _, message in sent if isinstance(message, m.Tell)]


def cancel(lone: LoneRouter, first: int, count: int) -> list:
    return lone.say(C1, m.Cancel(1, [[C1, first, count]], False))


def asked_back(sent: list) -> list[tuple[str, int]]:
    """From whom how many tasks are wanted back by name."""
    return [(name, len(message.leases)) for name, message in sent if type(message) is m.Recall]


def test_the_verdict_waits_for_every_worker_that_holds_some_of_the_tasks():
    lone = fleet((1, 3), (1, 3))
    lone.submit(C1, 0, 7)

    sent = cancel(lone, 0, 7)
    assert (asked_back(sent), verdicts(lone, sent)) == ([(W1, 3), (W2, 3)], [])

    begun = {who: min(worker.held) for who, worker in lone.core.fleet.workers.items()}
    for who, verdict in (W1, []), (W2, [(5, 2, 0)]):
        given_back = [x for x in lone.core.fleet.workers[who].held if x != begun[who]]
        assert verdicts(lone, lone.say(who, m.Returned(given_back, 3))) == verdict


def test_a_verdict_is_told_when_it_is_on_disk():
    lone = fleet((1, 1))
    lone.submit(C1, 0, 2)
    told = [m.Tell(1, None, {"cancelled": 1, "running": 0, "ended": 0})]

    assert not [message for _, message in cancel(lone, 1, 1) if isinstance(message, m.Tell)]
    assert not lone.do(Committed(lone.ticket - 1))
    news, verdict = [message for _, message in lone.do(Committed(lone.ticket))]
    assert [verdict] == told and isinstance(news, m.Outcomes), "neither may be taken back"


def test_what_ended_while_its_worker_was_asked_has_ended():
    lone = fleet((1, 2))
    lone.submit(C1, 0, 2)
    cancel(lone, 0, 2)
    [lease, other] = lone.core.fleet.workers[W1].held

    lone.say(W1, m.Done([[C1, [0], [lease], bytes([Kind.VALUE]), [b"v"]]], 2))

    assert verdicts(lone, lone.say(W1, m.Returned([other], 2))) == [(1, 0, 1)]


def test_one_recall_at_a_time_the_next_has_all_that_is_wanted_by_then():
    lone = fleet((1, 4))
    lone.submit(C1, 0, 4)
    cancel(lone, 1, 1)

    assert [asked_back(cancel(lone, counter, 1)) for counter in (2, 3)] == [[], []]

    sent = lone.say(W1, m.Returned([], 4))
    assert (verdicts(lone, sent), asked_back(sent)) == ([(0, 1, 0)], [(W1, 2)])
    leases = list(lone.core.fleet.workers[W1].held)[2:]
    assert verdicts(lone, lone.say(W1, m.Returned(leases, 4))) == [(1, 0, 0), (1, 0, 0)]


@pytest.mark.parametrize("asked", [1, 2], ids=["asked", "one more to be asked"])
@pytest.mark.parametrize(
    ("ends", "verdict"),
    [
        (lambda lone: lone.do(Gone(W1.encode())), (0, 1, 0)),
        (lambda lone: lone.say(W1, m.Bye()), (1, 0, 0)),
        (lambda lone: lone.hello(W1, session=2, about=ABOUT), (1, 0, 0)),
        (lambda lone: lone.hello(W1, incarnation=b"2", about=ABOUT), (1, 0, 0)),
        (lambda lone: quiet(lone, 11), (1, 0, 0)),
    ],
    ids=["gone", "bye", "empty-handed", "another", "silent"],
)
def test_a_worker_that_will_not_answer_is_not_waited_for(ends, verdict, asked: int):
    lone = fleet((1, 3))
    lone.submit(C1, 0, 3)
    for _ in range(asked):
        assert verdicts(lone, cancel(lone, 2, 1)) == []

    assert verdicts(lone, ends(lone)) == [verdict] + [verdict if verdict[1] else (0, 0, 1)] * (
        asked - 1
    )


ABOUT = {"slots": 1, "window": 3}


def quiet(lone: LoneRouter, seconds: int) -> list:
    """So long only the client says something."""
    sent = []
    for _ in range(seconds):
        lone.say(C1, m.Beat())
        sent += lone.tick(1)
    return sent


def test_nobody_is_asked_who_is_away():
    lone = fleet((1, 3))
    lone.submit(C1, 0, 3)
    lone.do(Gone(W1.encode()))

    assert verdicts(lone, cancel(lone, 0, 3)) == [(0, 3, 0)]


def test_what_comes_back_from_a_worker_goes_first():
    lone = fleet((1, 4))
    lone.submit(C1, 0, 8)

    lone.do(Gone(W1.encode()))
    sent = lone.hello(W1, session=2, incarnation=b"2", about={"slots": 1, "window": 4})

    assert given_out(sent)[W1] == [0, 1, 2, 3]


@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 12)), min_size=1, max_size=3),
    st.lists(st.integers(1, 20), max_size=4),
)
def test_nothing_waits_while_there_is_room(sizes: list[tuple[int, int]], counts: list[int]):
    lone = fleet(*sizes)

    for nth, count in enumerate(counts):
        lone.submit(C1, 100 * nth, count)

    room = sum(window for _, window in sizes)
    assert sum(held(lone)) == min(room, sum(counts))
    for (_, window), count in zip(sizes, held(lone), strict=True):
        assert count <= window


def test_how_far_clocks_are_apart_is_known_from_what_workers_say():
    lone = LoneRouter()
    lone.core.ledger.ahead_s = 500.0
    about = {"slots": 1, "window": 1, "clock_s": lone.now + 500.0 + 90.0}
    lone.hello(C1)
    lone.hello(W1, about=about)

    def skew() -> float:
        [(_, told)] = [each for each in lone.say(C1, m.Ask(1, "status", {})) if each[0] == C1]
        return told.value["workers"][0]["skew_s"]

    assert skew() == 90.0
    lone.say(W1, m.Report(about | {"clock_s": lone.now + 498.0}))
    assert skew() == -2.0
    lone.say(W1, m.Report({"slots": 1}))
    assert skew() == 0.0, "who says nothing of its clock is not judged"
