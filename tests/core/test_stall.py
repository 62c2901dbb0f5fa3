"""The store has no room: nothing more begins, nothing is lost, and it goes on where it was."""

from __future__ import annotations

from lone_router import C1, W1, F, LoneRouter

from mesh.core.events import Committed, Found, Stalled
from mesh.core.ledger import RECORD
from mesh.core.notices import CALM_S, NO_ROOM, ROOM
from mesh.protocol import messages as m
from mesh.task import Kind, State

FULL = Stalled("no room in /var/tmp/m")


def mesh() -> LoneRouter:
    """A client, and a worker that runs one of three tasks; then the disk is full."""
    lone = LoneRouter()
    lone.hello(C1)
    lone.hello(W1, about={"slots": 1, "window": 1})
    lone.submit(C1, 0, 3)
    lone.do(Committed(lone.ticket))
    lone.do(FULL)
    return lone


def counts(lone: LoneRouter) -> tuple[int, int, int]:
    each = lone.core.ledger.counts
    return each[State.QUEUED], each[State.RUNNING], each[State.DONE]


def finish(lone: LoneRouter, counter: int) -> list:
    (lease,) = lone.core.fleet.workers[W1].held
    return lone.say(W1, m.Done([[C1, [counter], [lease], bytes([Kind.VALUE]), [b"v"]]], 1))


def test_what_runs_may_end_and_nothing_else_begins():
    lone = mesh()

    sent = finish(lone, 0)

    assert [type(message) for _, message in sent] == [m.Outcomes], "who waits is told at once"
    assert counts(lone) == (2, 0, 1)
    lone.do(FULL)
    assert counts(lone) == (2, 0, 1)

    lone.do(Committed(lone.ticket))
    assert counts(lone) == (1, 1, 1)


def test_new_tasks_wait_in_line_unacknowledged_and_all_behind_them():
    lone = mesh()
    before = lone.core.peers.by_who["client", C1].link.recorded
    row = [3, F, {}, None, 0, [b"x"] * 2, None, None, None]

    lone.say(C1, m.Submit([row]))
    sent = lone.say(C1, m.Ask(1, "status", {}))
    assert [type(message) for _, message in sent] == [m.Tell], "who asks need not wait for room"

    assert counts(lone) == (2, 1, 0)
    assert lone.do(Committed(lone.ticket)) == [], "it has its answer"
    assert counts(lone) == (4, 1, 0)
    assert lone.core.peers.by_who["client", C1].link.recorded == before
    lone.do(Committed(lone.ticket))
    assert lone.core.peers.by_who["client", C1].link.recorded == before + 2


def test_who_dials_anew_meanwhile_is_not_taken_twice():
    lone = mesh()
    row = [3, F, {}, None, 0, [b"x"] * 2, None, None, None]
    lone.say(C1, m.Submit([row]))
    lone.hello(C1, session=2, id="again")
    lone.say("again", m.Submit([row]))

    lone.do(Committed(lone.ticket))

    assert counts(lone) == (4, 1, 0)


def test_what_wants_no_room_passes_what_does_and_is_taken_once():
    lone = mesh()
    finish(lone, 0)
    lone.say(C1, m.Submit([[3, F, {}, None, 0, [b"x"] * 2, None, None]]))
    lone.lookups.clear()

    lone.say(C1, m.Watch([[C1, 0, 5]]))

    [(token, what, about)] = lone.lookups
    assert (what, about) == ("outcomes", [(C1, 0, 1)]), "of what is parked nobody knows yet"
    record = RECORD.pack(Kind.VALUE, 1, W1.encode()) + b"v"
    sent = lone.do(Found(token, [(C1, 0, record, None)]))
    assert [message for _, message in sent] == [
        m.Outcomes([[C1, [0], bytes([Kind.VALUE]), [b"v"]]]),
    ]
    lone.lookups.clear()
    lone.do(Committed(lone.ticket))
    assert counts(lone) == (3, 1, 1)
    assert lone.lookups == [], "they are open: it hears when they end"
    lone.do(Committed(lone.ticket))
    peer = lone.core.peers.by_who["client", C1]
    assert peer.link.recorded == peer.link.received


def test_a_cancellation_of_what_waits_for_room_ends_the_rest_and_has_one_true_verdict():
    lone = mesh()
    lone.say(C1, m.Submit([[3, F, {}, None, 0, [b"x"] * 2, None, None]]))

    sent = lone.say(C1, m.Cancel(7, [[C1, 0, 6]], 1))
    assert [type(message) for _, message in sent] == [m.Kill], "what runs ends at once"

    told = lone.do(Committed(lone.ticket)) + lone.do(Committed(lone.ticket))
    verdicts = [message for _, message in told if type(message) is m.Tell]
    assert verdicts == [m.Tell(7, None, {"cancelled": 5, "running": 0, "ended": 1})]
    assert lone.core.ledger.counts[State.CANCELLED] == 5
    assert not lone.core.peers.by_who["client", C1].tallies


def test_a_cancellation_of_nothing_that_waits_needs_no_room_beyond_its_own():
    """The quota is used up: the disk takes what is small."""
    lone = mesh()
    lone.do(Committed(lone.ticket))
    lone.core.stall.fill("the quota is used up")
    lone.say(C1, m.Submit([[3, F, {}, None, 0, [b"x"] * 2, None, None]]))

    told = lone.say(C1, m.Cancel(7, [[C1, 1, 2]], 0)) + lone.do(Committed(lone.ticket))

    verdicts = [message for _, message in told if type(message) is m.Tell]
    assert verdicts == [m.Tell(7, None, {"cancelled": 2, "running": 0, "ended": 0})]


def test_what_may_not_be_told_before_it_is_on_disk_is_asked_for_once_more():
    lone = mesh()
    lone.say(C1, m.Cancel(7, [[C1, 2, 1]], 0))
    lone.hello(C1, session=2)
    lone.lookups.clear()
    lone.say(C1, m.Watch([[C1, 2, 1]]))

    [(token, _, about)] = lone.lookups
    assert lone.do(Found(token, [(C1, 2, None, None)])) == []
    lone.lookups.clear()
    lone.do(Committed(lone.ticket))

    assert lone.lookups == [(token + 1, "outcomes", about)]


def test_what_came_while_the_store_was_asked_is_not_said_to_be_unknown():
    lone = LoneRouter()
    lone.hello(C1)
    lone.say(C1, m.Watch([[C1, 0, 1]]))
    (token, _, _) = lone.lookups[-1]
    lone.submit(C1, 0, 1)

    assert lone.do(Found(token, [(C1, 0, None, None)])) == []


def test_a_mesh_that_is_stopped_then_waits_for_no_room():
    lone = mesh()
    finish(lone, 0)
    lone.core.stop(True, lone.now)
    lone.say(W1, m.Bye())

    assert lone.core.settle(lone.now).stop


def test_clients_are_told_once_and_when_it_is_over():
    lone = mesh()

    def told(seconds: float) -> list[str]:
        lone.say(C1, m.Beat())
        lone.say(W1, m.Beat())
        return [each.kind for _, each in lone.tick(seconds) if type(each) is m.Event]

    assert told(1) == [NO_ROOM]
    lone.do(FULL)
    assert told(1) == told(1) == []
    lone.hello("dddddddd")
    assert told(1) == [NO_ROOM], "the new one alone"
    lone.do(Committed(lone.ticket))
    assert told(1) == [ROOM, ROOM]
    assert told(1) == []


def test_a_disk_that_has_now_room_and_now_none_is_not_told_each_time():
    lone = mesh()
    kinds: list[tuple[str, float]] = []
    for turn in range(100):
        lone.do(FULL if turn % 2 else Committed(lone.ticket))
        lone.say(C1, m.Beat())
        lone.say(W1, m.Beat())
        kinds += [(e.kind, lone.now) for _, e in lone.tick(0.2) if type(e) is m.Event]

    told = [kind for kind, _ in kinds]
    assert told == [NO_ROOM, ROOM] * (len(told) // 2) and 2 <= len(told) // 2 <= 20 / CALM_S
    for (_, room_at), (_, full_at) in zip(kinds[1::2], kinds[2::2], strict=False):
        assert full_at - room_at >= CALM_S


def test_who_dials_anew_is_told_anew():
    lone = mesh()
    lone.tick(1)

    lone.hello(C1, session=2)

    assert (C1, m.Event(NO_ROOM, {"reason": FULL.reason})) in lone.tick(1)


def test_however_long_it_takes_what_waits_grows_by_new_messages_alone():
    lone = mesh()
    row = [3, F, {}, None, 0, [b"x"], None, None, None]

    for session in range(2, 9):
        lone.hello(C1, session=session)
        lone.say(C1, m.Submit([row]))
        for _ in range(5):
            lone.say(C1, m.Beat())
            lone.do(FULL)

    (stuck,) = lone.core.stall._stuck
    assert stuck is lone.core.peers.by_who["client", C1]
    assert stuck.parked is not None and len(stuck.parked) == 1
