"""A task that was lost with its workers too often runs alone, and is then guilty or innocent."""

from __future__ import annotations

from lone_router import C1, W1, W2, LoneRouter

from mesh.core.events import Committed, Gone
from mesh.core.router import RouterCore
from mesh.protocol import messages as m
from mesh.store.records import TABLES, Records
from mesh.store.tables import MemoryTables
from mesh.task import Kind, State

LOST_AFTER_S = 10.0


def router() -> LoneRouter:
    """A router with one worker of two slots; a second loss with a worker is the last allowed."""
    lone = LoneRouter(worker_losses_max=2, lost_after_s=LOST_AFTER_S)
    lone.hello(C1)
    lone.hello(W1, about={"slots": 2, "window": 2})
    return lone


def states(lone: LoneRouter) -> list[str]:
    (block,) = lone.core.ledger.blocks
    return [State(state).word for state in block.states]


def held(lone: LoneRouter, who: str) -> list[int]:
    return [block.first + i for block, i, _ in lone.core.fleet.workers[who].held.values()]


def die(lone: LoneRouter, who: str) -> None:
    """A worker dies and another takes its store; everybody else is heard meanwhile."""
    lone.do(Gone(who.encode()))
    dead = lone.core.fleet.workers[who].incarnation
    lone.hello(who, incarnation=dead + b"+", about={"slots": 2, "window": 2})


def finish(lone: LoneRouter, who: str, counter: int, kind: Kind = Kind.VALUE) -> list:
    lease = next(
        lease
        for lease, (block, i, _) in lone.core.fleet.workers[who].held.items()
        if block.first + i == counter
    )
    return lone.say(who, m.Done([[C1, [counter], [lease], bytes([kind]), [b"v"]]], 2))


def test_both_who_were_lost_run_alone_one_after_the_other():
    lone = router()
    lone.submit(C1, 0, 3)
    die(lone, W1)
    die(lone, W1)

    assert states(lone) == ["running", "waiting", "queued"], "the third waits while one is alone"
    assert held(lone, W1) == [0]

    finish(lone, W1, 0)
    assert states(lone) == ["done", "running", "queued"]

    finish(lone, W1, 1)
    assert states(lone) == ["done", "done", "running"]
    assert lone.core.fleet.workers[W1].room == 1


def test_who_takes_its_worker_along_even_alone_has_failed_and_the_other_is_cleared():
    lone = router()
    lone.submit(C1, 0, 3)
    die(lone, W1)
    die(lone, W1)
    die(lone, W1)

    assert states(lone) == ["failed", "running", "queued"]
    finish(lone, W1, 1)
    assert states(lone) == ["failed", "done", "running"]


def test_what_the_set_aside_worker_holds_is_asked_back_and_goes_to_others():
    lone = router()
    lone.submit(C1, 0, 2)
    die(lone, W1)
    lone.hello(W2, about={"slots": 2, "window": 8})
    lone.submit(C1, 2, 8)
    assert len(held(lone, W2)) == 8
    lone.do(Gone(W1.encode()))

    sent = lone.tick(0.0)
    for _ in range(4):  # the others are heard while one is away
        lone.say(W2, m.Beat())
        lone.say(C1, m.Beat())
        sent += lone.tick(LOST_AFTER_S / 3)

    assert [(who, message.count) for who, message in sent if type(message) is m.Recall] == [(W2, 8)]
    leases = list(lone.core.fleet.workers[W2].held)
    lone.say(W2, m.Returned(leases[2:], 8))
    assert len(held(lone, W2)) == 2, "it gets nothing new"
    for counter in held(lone, W2):
        finish(lone, W2, counter)
    assert held(lone, W2) in ([0], [1])


def test_one_that_comes_back_unrun_still_runs_alone():
    lone = router()
    lone.submit(C1, 0, 3)
    die(lone, W1)
    die(lone, W1)
    assert held(lone, W1) == [0]

    lone.hello(W1, session=2, incarnation=b"1++", about={"slots": 2, "window": 2})  # it never came

    assert states(lone) == ["running", "waiting", "queued"]
    assert lone.core.fleet.quarantine.lease in lone.core.fleet.workers[W1].held


def test_a_cancelled_one_frees_the_worker():
    lone = router()
    lone.submit(C1, 0, 3)
    die(lone, W1)
    die(lone, W1)
    lone.say(C1, m.Cancel(1, [[C1, 1, 1]], False))

    finish(lone, W1, 0)

    assert states(lone) == ["done", "cancelled", "running"]


def test_a_router_that_restarts_has_not_forgotten():
    lone = router()
    records = Records(MemoryTables(TABLES), bytes(16), "mesh")
    lone.submit(C1, 0, 3)
    die(lone, W1)
    die(lone, W1)
    records.apply(lone.writes)
    restored = records.restore()
    restored.roster = {}

    core = RouterCore(restored, lone.core.settings, lone.now)

    (block,) = core.ledger.blocks
    assert [State(state).word for state in block.states] == ["waiting", "waiting", "queued"]
    lone.core = core
    lone.hello(W1, about={"slots": 2, "window": 2})
    lone.do(Committed(lone.ticket))
    assert held(lone, W1) == [0]


def alone(lone: LoneRouter) -> list[str]:
    """The workers that are set aside."""
    return [worker.who for worker in lone.core.fleet if worker.reserved]


def test_one_that_leaves_or_has_no_room_is_not_set_aside():
    lone = router()
    lone.submit(C1, 0, 3)
    die(lone, W1)
    lone.hello(W2, about={"slots": 2, "window": 2})
    lone.say(W2, m.Returned([], 0))

    die(lone, W1)

    assert (alone(lone), held(lone, W1), held(lone, W2)) == ([W1], [0], [2])


def test_one_that_takes_nothing_any_more_is_set_aside_no_longer():
    lone = router()
    lone.submit(C1, 0, 2)
    die(lone, W1)
    die(lone, W1)
    assert (alone(lone), held(lone, W1)) == ([W1], [0])
    lone.hello(W2, about={"slots": 2, "window": 2})

    lone.say(W1, m.Returned(list(lone.core.fleet.workers[W1].held), 0))

    assert (alone(lone), held(lone, W1), held(lone, W2)) == ([W2], [], [0])


def test_it_runs_where_nothing_runs_rather_than_where_something_may_never_end():
    lone = router()
    lone.submit(C1, 0, 2)
    die(lone, W1)
    lone.hello(W2, about={"slots": 4, "window": 4})
    lone.submit(C1, 2, 2)
    lone.do(Gone(W1.encode()))
    for _ in range(4):
        lone.say(W2, m.Beat())
        lone.tick(LOST_AFTER_S / 2)
    assert (alone(lone), held(lone, W2)) == ([W2], [2, 3])

    lone.hello(W1, incarnation=b"9", about={"slots": 2, "window": 2})

    assert (alone(lone), held(lone, W1)) == ([W1], [0])
    assert lone.core.fleet.workers[W2].room == 2
