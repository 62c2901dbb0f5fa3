"""What died with the router is counted by the next one."""

from __future__ import annotations

from lone_router import C1, W1, LoneRouter

from mesh.core.router import RouterCore
from mesh.protocol import messages as m
from mesh.store.records import TABLES, Records
from mesh.store.tables import MemoryTables
from mesh.task import State, show

CAP = 3


class Mesh(LoneRouter):
    """A router with a store, a client, and a worker of two slots that says what it runs."""

    def __init__(self) -> None:
        super().__init__(worker_losses_max=CAP, lost_after_s=10.0)
        self.records = Records(MemoryTables(TABLES), bytes(16), "mesh")
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
