"""What the router tells of one task: memory and store are asked at different moments."""

from __future__ import annotations

from typing import Any

from lone_router import C1, W1, F, LoneRouter

from mesh.core.block import Tries
from mesh.core.events import Found, Stalled
from mesh.protocol import messages as m
from mesh.task import Kind

OPEN: dict[str, Any] = {"state": None, "runs": []}
UNNEEDED = {"needed_by": {"count": 0, "waiting": []}}


def mesh(**options: Any) -> LoneRouter:
    """A task runs."""
    lone = LoneRouter()
    lone.hello(C1)
    lone.hello(W1)
    lone.say(C1, m.Function(F, "sim:f", b"code", b"V"))
    lone.say(C1, m.Submit([[0, F, options, None, 0, [b"x"], None, None, None]]))
    return lone


def end(lone: LoneRouter, kind: Kind) -> None:
    (lease,) = lone.core.fleet.workers[W1].held
    lone.say(W1, m.Done([[C1, [0], [lease], bytes([kind]), [b"v"]]], 2))


def asked(lone: LoneRouter) -> int:
    """The token of the question to the store."""
    token, what, about = lone.lookups.pop()
    assert (what, about) == ("story", (C1, 0))
    return token


def test_a_task_that_ends_while_the_store_is_asked_is_told_as_ended():
    lone = mesh()
    lone.say(C1, m.Ask(1, "explain", {"session": C1, "counter": 0}))
    token = asked(lone)
    end(lone, Kind.VALUE)

    assert lone.do(Found(token, OPEN)) == []
    ended = OPEN | {"state": "done"}
    assert lone.do(Found(asked(lone), ended)) == [(C1, m.Tell(1, None, ended | UNNEEDED))]


def test_one_of_which_nobody_knows_the_end_is_told_all_the_same():
    lone = mesh()
    end(lone, Kind.VALUE)
    lone.say(C1, m.Ask(1, "explain", {"session": C1, "counter": 0}))

    lone.do(Found(asked(lone), OPEN))

    assert lone.do(Found(asked(lone), OPEN)) == [(C1, m.Tell(1, None, OPEN | UNNEEDED))]


def test_a_retry_that_is_due_waits_for_no_worker_of_its_own():
    lone = mesh(retries=3)
    (block,) = lone.core.ledger.blocks
    block.tries[0] = Tries(worker_losses=1)
    end(lone, Kind.ERROR)
    lone.do(Stalled("full"))
    lone.tick(5)
    lone.say(C1, m.Ask(1, "explain", {"session": C1, "counter": 0}))

    [(_, told)] = lone.do(Found(asked(lone), OPEN))

    assert told.value["waits_for"].startswith("its next run, in 0.0 s: 1 of 3 retries")


def test_a_worker_that_says_less_than_it_could_harms_nobody():
    lone = mesh()
    lone.say(W1, m.Report({"running": [{"task": f"{C1}.0"}, {}]}))
    lone.say(C1, m.Ask(1, "explain", {"session": C1, "counter": 0}))

    [(_, told)] = lone.do(Found(asked(lone), OPEN))

    assert (told.value["state"], told.value["pid"]) == ("running", None)
