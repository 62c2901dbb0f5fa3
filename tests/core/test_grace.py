"""What died with the router is counted by the next one."""

from __future__ import annotations

from typing import Any

import pytest
from lone_router import C1, W1, W2, F, LoneRouter

from mesh.core.events import Committed
from mesh.core.router import RouterCore
from mesh.protocol import messages as m
from mesh.protocol.outcome import failure_body
from mesh.store.records import TABLES, Records
from mesh.store.tables import MemoryTables
from mesh.task import Kind, State, key, show

CAP = 3


class Mesh(LoneRouter):
    """A router with a store, a client, and a worker of two slots that says what it runs."""

    def __init__(self) -> None:
        super().__init__(worker_losses_max=CAP, lost_after_s=10.0)
        self.records = Records(MemoryTables(TABLES), bytes(16), "mesh")
        self.records.restore()  # the life that begins
        self.lives = 0
        self.hello(C1)
        self.greet()

    def greet(self) -> None:
        """A worker, another one in each life."""
        self.lives += 1
        incarnation = b"%d" % self.lives
        self.hello(W1, incarnation=incarnation, about={"slots": 2, "window": 4})

    def report(self, *counters: int) -> None:
        """The worker's slots run these."""
        running = [{"pid": 100 + c, "task": show(C1, c)} for c in counters]
        self.say(W1, m.Report({"slots": 2, "running": running}))

    def crash(self) -> None:
        """Everything dies at once, and the router comes back alone."""
        self.records.apply(self.writes)
        self.writes = []
        self.core = RouterCore(self.records.restore(), self.core.settings, self.now)
        self.numbers = {}
        self.hello(C1, session=2)

    def losses(self, counter: int) -> int:
        block, i = self.core.ledger.blocks.find(C1, counter)
        return block.tries[i].worker_losses if i in block.tries else 0

    def state(self, counter: int) -> str:
        block, i = self.core.ledger.blocks.find(C1, counter)
        return State(block.states[i]).word


def test_what_a_worker_was_known_to_run_is_lost_with_it_and_nothing_else_is():
    mesh = Mesh()
    mesh.submit(C1, 0, 4)
    mesh.report(0, 1)
    mesh.crash()

    mesh.greet()

    assert [mesh.losses(c) for c in range(4)] == [1, 1, 0, 0]
    assert [mesh.state(c) for c in range(4)] == ["running"] * 4
    mesh.records.apply(mesh.writes)
    mesh.writes = []
    [run] = mesh.records.look_up("story", (C1, 0))["runs"]
    assert (run["how"], run["worker"]) == ("worker_lost", W1)


def test_so_it_is_when_no_worker_comes_back():
    mesh = Mesh()
    mesh.submit(C1, 0, 2)
    mesh.report(1)
    mesh.crash()

    for _ in range(3):
        mesh.say(C1, m.Beat())
        mesh.tick(4.0)

    assert [mesh.losses(0), mesh.losses(1)] == [0, 1]


def test_a_worker_that_has_outlived_the_router_has_lost_nothing():
    mesh = Mesh()
    mesh.submit(C1, 0, 2)
    mesh.report(0, 1)
    held = [[lease, C1, i] for lease, (_, i, _) in mesh.core.fleet.workers[W1].held.items()]
    mesh.crash()

    mesh.hello(W1, session=2, incarnation=b"1", about={"slots": 2, "window": 4}, held=held)

    assert [mesh.losses(0), mesh.losses(1)] == [0, 0]
    assert [mesh.state(0), mesh.state(1)] == ["running"] * 2


def test_one_that_takes_the_machine_along_is_tried_alone_and_fails():
    mesh = Mesh()
    mesh.submit(C1, 0, 2)
    for life in range(CAP):
        mesh.report(0, 1)
        mesh.crash()
        mesh.greet()
        assert [mesh.losses(0), mesh.losses(1)] == [life + 1] * 2
    assert sorted([mesh.state(0), mesh.state(1)]) == ["running", "waiting"], "one alone"
    alone = next(c for c in (0, 1) if mesh.state(c) == "running")

    mesh.report(alone)
    mesh.crash()
    mesh.greet()

    block, i = mesh.core.ledger.blocks.find(C1, alone)
    assert block.states[i] == State.FAILED
    assert mesh.state(1 - alone) == "running", "now the other"


def test_who_left_in_order_has_lost_nothing():
    mesh = Mesh()
    mesh.submit(C1, 0, 2)
    mesh.report(0, 1)
    mesh.say(W1, m.Bye())
    mesh.crash()

    mesh.greet()

    assert [mesh.losses(0), mesh.losses(1)] == [0, 0]


def test_what_had_begun_and_was_given_back_is_told_and_counts_nothing():
    mesh = Mesh()
    mesh.submit(C1, 0, 2)
    mesh.report(0)
    leases = list(mesh.core.fleet.workers[W1].held)

    mesh.say(W1, m.Returned(leases, 0))

    mesh.records.apply(mesh.writes)
    stories = [mesh.records.look_up("story", (C1, c))["runs"] for c in (0, 1)]
    assert [[run["how"] for run in runs] for runs in stories] == [["interrupted"], []]
    assert [mesh.losses(0), mesh.losses(1)] == [0, 0]


def failed_and_given_on(kind: Kind, **options: float) -> tuple[Mesh, int, int]:
    """A run of task 0 failed at one worker, another was given the task, and the router died before
    any of it was on disk. Both workers are away; the leases that each will say it has."""
    mesh = Mesh()
    mesh.submit(C1, 0, **options)
    mesh.hello(W2)
    [first] = mesh.core.fleet.workers[W1].held
    recorded = len(mesh.writes)
    mesh.say(W1, m.Done([outcome(first, kind)], 0))
    mesh.tick(2.0)
    [second] = mesh.core.fleet.workers[W2].held
    del mesh.writes[recorded:]
    mesh.crash()
    return mesh, first, second


def outcome(lease: int, kind: Kind) -> list[Any]:
    """What a worker says of task 0."""
    return [C1, [0], [lease], bytes([kind]), [failure_body("Error", "it failed")]]


def tell(mesh: Mesh, who: str, lease: int, counter: int = 0) -> list:
    """A worker that has lived on says that it has task `counter`, under `lease`."""
    about = {"slots": 2, "window": 4}
    return mesh.hello(who, session=2, about=about, held=[[lease, C1, counter]])


def given(sent: list) -> list[str]:
    """Who was given tasks."""
    return [name for name, message in sent if type(message) is m.Tasks]


def holders(mesh: Mesh) -> dict[int, str]:
    """Who holds which lease."""
    return {lease: who for who, each in mesh.core.fleet.workers.items() for lease in each.held}


@pytest.mark.parametrize("kind", [Kind.SLOT_LOST, Kind.ERROR])
def test_what_failed_before_and_was_given_on_is_not_given_out_until_all_have_said_what_they_hold(
    kind: Kind,
):
    mesh, first, second = failed_and_given_on(kind, retries=1, backoff=0.1)

    sent = tell(mesh, W1, first)
    sent += mesh.say(W1, m.Done([outcome(first, kind)], 4))
    sent += mesh.tick(2.0)
    assert given(sent) == []
    sent += tell(mesh, W2, second)
    sent += mesh.tick(2.0)

    assert given(sent) == []
    assert holders(mesh) == {second: W2}


@pytest.mark.parametrize("order", [[W1, W2], [W2, W1]], ids=["in order", "the later first"])
def test_failures_that_were_counted_are_not_when_their_workers_say_them_again(order: list[str]):
    mesh = Mesh()
    mesh.submit(C1, 0)
    mesh.hello(W2)
    [first] = mesh.core.fleet.workers[W1].held
    mesh.say(W1, m.Done([outcome(first, Kind.SLOT_LOST)], 0))
    [second] = mesh.core.fleet.workers[W2].held
    mesh.say(W2, m.Done([outcome(second, Kind.SLOT_LOST)], 0))
    mesh.crash()  # both are on disk, and neither worker knows it

    for who in order:
        lease = {W1: first, W2: second}[who]
        tell(mesh, who, lease)
        mesh.say(who, m.Done([outcome(lease, Kind.SLOT_LOST)], 0))

    block, i = mesh.core.ledger.blocks.find(C1, 0)
    assert block.tries[i].slot_losses == 2


def test_a_run_that_goes_on_is_taken_up_again_though_a_later_one_has_failed():
    mesh = Mesh()
    mesh.submit(C1, 0)
    [first] = mesh.core.fleet.workers[W1].held
    mesh.say(C1, m.Beat())
    mesh.tick(30.0)  # W1 is silent, and given up
    mesh.hello(W2)
    [second] = mesh.core.fleet.workers[W2].held
    mesh.say(W2, m.Done([outcome(second, Kind.SLOT_LOST)], 0))

    tell(mesh, W1, first)

    assert holders(mesh) == {first: W1}


@pytest.mark.parametrize("kind", [Kind.SLOT_LOST, Kind.ERROR])
@pytest.mark.parametrize("order", [[W1, W2], [W2, W1]], ids=["in order", "the later first"])
def test_of_two_leases_of_the_last_life_the_later_one_has_the_task(kind: Kind, order: list[str]):
    mesh, first, second = failed_and_given_on(kind, retries=1, backoff=0.1)

    sent = []
    for who in order:
        sent += tell(mesh, who, {W1: first, W2: second}[who])
    sent += mesh.say(W1, m.Done([outcome(first, kind)], 4))
    sent += mesh.tick(2.0)

    assert given(sent) == []
    assert holders(mesh) == {second: W2}


def test_what_failed_before_and_nobody_has_is_given_out_when_all_have_said_what_they_hold():
    mesh, first, _ = failed_and_given_on(Kind.SLOT_LOST)
    tell(mesh, W1, first)
    mesh.say(W1, m.Done([outcome(first, Kind.SLOT_LOST)], 0))

    sent = mesh.hello(W2, session=2)

    assert given(sent) == [W2]


def test_what_fails_under_a_lease_of_this_life_waits_for_nobody():
    mesh, _, _ = failed_and_given_on(Kind.SLOT_LOST)
    mesh.hello(W1, session=2, about={"slots": 2, "window": 4})
    mesh.submit(C1, 1)
    [lease] = mesh.core.fleet.workers[W1].held

    row = [C1, [1], [lease], bytes([Kind.SLOT_LOST]), [failure_body("Error", "it failed")]]
    sent = mesh.say(W1, m.Done([row], 4))

    assert given(sent) == [W1]


def test_what_an_input_releases_is_not_given_out_until_all_have_said_what_they_hold():
    """Its worker has it, and is not back yet: the router that gave it out knew of an outcome that
    was not on disk."""
    mesh = Mesh()
    mesh.submit(C1, 0)
    mesh.say(C1, m.Submit([[1, F, {}, None, 0, [b"x"], None, None, [key(C1, 0)]]]))
    [made] = mesh.core.fleet.workers[W1].held
    mesh.hello(W2)
    recorded = len(mesh.writes)
    mesh.say(W1, m.Done([outcome(made, Kind.VALUE)], 0))
    mesh.tick(0.1)
    [taking] = mesh.core.fleet.workers[W2].held
    del mesh.writes[recorded:]
    mesh.crash()

    sent = mesh.hello(W1, session=2, about={"slots": 2, "window": 4}, held=[[made, C1, 0]])
    sent += mesh.say(W1, m.Done([outcome(made, Kind.VALUE)], 4))
    sent += mesh.tick(1.0)
    assert given(sent) == []
    sent += tell(mesh, W2, taking, 1)
    sent += mesh.tick(2.0)

    assert given(sent) == []
    assert holders(mesh) == {taking: W2}


@pytest.mark.parametrize(("is_held", "verdict"), [(True, (0, 1)), (False, (1, 0))])
def test_whether_a_task_can_be_cancelled_is_said_when_all_have_said_what_they_hold(
    is_held: bool, verdict: tuple[int, int]
):
    mesh = Mesh()
    mesh.submit(C1, 0)
    [lease] = mesh.core.fleet.workers[W1].held
    mesh.crash()

    sent = mesh.say(C1, m.Cancel(7, [[C1, 0, 1]], False))
    assert not any(type(message) is m.Tell for _, message in sent)
    sent = tell(mesh, W1, lease) if is_held else mesh.hello(W1, incarnation=b"new", session=1)
    if is_held:
        mesh.report(0)
        sent += mesh.say(W1, m.Returned([], 0))
    sent += mesh.do(Committed(mesh.ticket))

    [told] = [message.value for _, message in sent if type(message) is m.Tell]
    assert (told["cancelled"], told["running"]) == verdict
