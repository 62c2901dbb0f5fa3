"""What is forgotten because somebody wants it: now, and nothing that is open or needed."""

from __future__ import annotations

from typing import Any

from lone_router import C1, W1
from test_pruning import LOST_AFTER_S, Mesh

from mesh.core.pruning import BLOCKS_MAX
from mesh.protocol import messages as m
from mesh.protocol.outcome import body
from mesh.task import Kind, State, key


class Asked(Mesh):
    """Keeps what its client is told."""

    def __init__(self, **options: Any) -> None:
        self.told: list[Any] = []
        super().__init__(**options)

    def do(self, event: Any) -> list:
        sent = super().do(event)
        self.told += [message for _, message in sent if type(message) is m.Tell]
        return sent

    def ask(self, what: str, **about: Any) -> Any:
        """The answer, once it is on disk."""
        self.say(C1, m.Ask(1, what, about))
        self.store()
        assert [tell.error for tell in self.told] == [None]
        return self.told.pop().value

    def forget(self, first: int, count: int = 1) -> tuple[int, int, int]:
        tally = self.ask("forget", spans=[[C1, first, count]])
        return tally["forgotten"], tally["open"], tally["needed"]

    def age(self, seconds: float) -> None:
        """Time goes by, and nobody is silent."""
        for _ in range(10):
            self.now += seconds / 10
            for who in (C1, W1):
                self.say(who, m.Beat())
            self.tick(0.0)
        self.store()

    def known(self) -> list[int]:
        """The counters of the tasks that the store knows to have ended."""
        return [row["id"] for row in self.records.look_up("ended", (list(State), 10_000, b""))]


def drops(mesh: Asked) -> list[list[Any]]:
    return [row for message in mesh.dropped for row in message.leases]


def test_one_of_a_block_goes_and_its_worker_is_told_at_once() -> None:
    mesh = Asked()
    mesh.run(3, stored=True)
    mesh.age(2 * LOST_AFTER_S + 1)  # drops are told from then on

    assert mesh.forget(1) == (1, 0, 0)

    assert mesh.known() == [f"{C1}.0", f"{C1}.2"]
    assert mesh.core.ledger.counts[State.DONE] == 2
    assert [row[:2] for row in drops(mesh)] == [[C1, 1]]
    assert mesh.forget(1) == (0, 0, 0)
    assert mesh.forget(0, 3) == (2, 0, 0)
    assert mesh.known() == [] and mesh.core.ledger.counts[State.DONE] == 0


def test_what_has_not_ended_stays_and_so_does_what_it_takes() -> None:
    mesh = Asked()
    mesh.run(2)
    mesh.submit_next(1, takes=key(C1, 1))

    assert mesh.forget(0, 3) == (1, 1, 1)

    assert mesh.known() == [f"{C1}.1"]
    mesh.core.check()
    [lease] = mesh.core.fleet.workers[W1].held
    mesh.say(W1, m.Done([[C1, [2], [lease], b"\0", [bytes(17)]]], 300))
    mesh.store()
    assert mesh.forget(0, 3) == (2, 0, 0)


def test_one_of_an_open_block_is_forgotten_also_by_the_next_router() -> None:
    mesh = Asked()
    mesh.submit_next(2)
    lease = next(iter(mesh.core.fleet.workers[W1].held))
    mesh.say(W1, m.Done([[C1, [0], [lease], b"\0", [bytes(17)]]], 300))
    mesh.store()

    assert mesh.forget(0, 2) == (1, 1, 0)

    [block] = mesh.records.restore().blocks
    assert block.left == 1 and block.states[1] == State.QUEUED


def test_a_task_taken_while_the_store_is_asked_stays() -> None:
    mesh = Asked()
    mesh.run(1)
    mesh.say(C1, m.Ask(1, "forget", {"spans": [[C1, 0, 1]]}))
    mesh.submit_next(1, takes=key(C1, 0))
    mesh.store()

    assert mesh.told.pop().value == {"forgotten": 0, "open": 0, "needed": 1}
    assert mesh.known() == [f"{C1}.0"]


def test_orders_wait_for_each_other_and_for_pruning() -> None:
    mesh = Asked(ttl_s=1.0)
    mesh.run(2)
    for token in (1, 2):
        mesh.say(C1, m.Ask(token, "forget", {"spans": [[C1, 0, 1]]}))
    assert mesh.core.pruning.pause() is False
    mesh.store()
    assert [tell.value["forgotten"] for tell in mesh.told] == [1, 0]
    mesh.told.clear()

    mesh.now += LOST_AFTER_S / 2
    for who in (C1, W1):
        mesh.say(who, m.Beat())
    mesh.tick(LOST_AFTER_S / 2)
    asked = [what for _, what, _ in mesh.lookups]
    assert asked.count("prunable") == 1  # it is old, too
    mesh.say(C1, m.Ask(3, "forget", {"spans": [[C1, 1, 1]]}))
    assert "forgettable" not in [what for _, what, _ in mesh.lookups]
    mesh.store()
    assert [tell.value["forgotten"] for tell in mesh.told] == [0]  # it was forgotten before
    assert mesh.core.ledger.counts[State.DONE] == 0


def test_all_that_is_old_goes_in_pages_or_is_only_told() -> None:
    mesh = Asked()
    blocks = BLOCKS_MAX + 3
    for _ in range(blocks):
        mesh.run(2, stored=True)
    mesh.core.peers.by_who["client", C1].news.heard_s = 1e9
    mesh.age(2 * LOST_AFTER_S + 1)
    mesh.run(1)
    mesh.submit_next(1, takes=key(C1, 0))

    there = {"tasks": 2 * blocks - 2, "stored_bytes": 9 * (2 * blocks - 2), "kept": 2}
    assert mesh.ask("prune", older_s=1.0, is_rehearsal=True) == there
    assert len(mesh.known()) == 2 * blocks + 1
    assert mesh.ask("prune", older_s=1.0, is_rehearsal=False) == there
    assert mesh.known() == [f"{C1}.0", f"{C1}.1", f"{C1}.{2 * blocks}"]
    assert mesh.core.ledger.counts[State.DONE] == 3
    assert mesh.ask("prune", older_s=None)["tasks"] == 0


def test_what_is_not_understood_is_told_so() -> None:
    mesh = Asked()
    wrong: dict[str, Any]
    for what, wrong in (
        ("forget", {"spans": [["short", 0, 1]]}),
        ("forget", {"spans": [[C1, 0, 10_000]]}),
        ("prune", {"older_s": -1}),
    ):
        mesh.say(C1, m.Ask(1, what, wrong))
        assert mesh.told.pop().error == "MeshError"
    assert mesh.forget(5) == (0, 0, 0)


def test_what_was_put_is_counted_apart_from_tasks_also_when_it_goes_and_after_a_restart() -> None:
    mesh = Asked(ttl_s=100.0)
    mesh.run(2)
    small = bytes([Kind.VALUE])
    mesh.say(
        C1, m.Put([[2, small, body(0, 0, b"", b"x"), 0], [3, small, body(0, 0, b"", b"y"), 1]])
    )
    mesh.next = 4
    mesh.store()

    status = mesh.ask("status")
    assert (status["tasks"]["done"], status["puts"]) == (2, 2)
    assert mesh.records.restore().ended == mesh.core.ledger.counts
    rows = {row["id"]: row["function"] for row in mesh.ask("tasks", states=["done"])}
    assert rows == {f"{C1}.0": "sim:f", f"{C1}.1": "sim:f", f"{C1}.2": "(put)"}

    assert mesh.forget(3) == (1, 0, 0)
    status = mesh.ask("status")
    assert (status["tasks"]["done"], status["puts"]) == (2, 1)
    mesh.age(1)
    told = mesh.ask("prune", older_s=0, is_rehearsal=True)
    assert told["tasks"] + told["kept"] == 2
    mesh.wait(300)
    assert mesh.core.ledger.counts == [0] * len(mesh.core.ledger.counts)
