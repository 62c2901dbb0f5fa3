"""Who holds what tasks take: where these go, whom they are told to ask, and whom they wait for."""

from __future__ import annotations

from typing import Any

from lone_router import C1, W1, W2, W3, F, LoneRouter

from mesh.core.events import Found, Gone
from mesh.core.fleet import ASTRAY_PAUSE_S
from mesh.core.holders import LARGE_BYTES, NAMED_MAX
from mesh.core.intake import Answers
from mesh.protocol import messages as m
from mesh.protocol.outcome import REF, body, failure_body
from mesh.task import Kind, State, key, show

LARGE = 1_000_000
SMALL = LARGE_BYTES // 4


def about(who: str, slots: int = 1) -> dict[str, Any]:
    return {
        "slots": slots, "window": slots, "data": f"ipc://{who}", "host": "h", "content": f"/{who}",
    }  # fmt: skip


class Graph(LoneRouter):
    """With workers of one slot, and tasks that take the results of others."""

    def __init__(self, *workers: str, slots: int = 1) -> None:
        super().__init__()
        self.slots = slots
        self.hello(C1)
        for who in workers:
            self.hello(who, about=about(who, slots))

    def submit_taking(self, first: int, *inputs: int, count: int = 1) -> list:
        ids = [b"".join(key(C1, each) for each in inputs)] * count
        self.say(C1, m.Function(F, "sim:f", b"code", b"V"))
        row = [first, F, {}, None, 0, [b"x"] * count, None, None, ids if inputs else None]
        self.lookups.clear()
        said = self.say(C1, m.Submit([row]))
        for token, _, (_, _, asked) in list(self.lookups):
            ended = dict(
                each for what, *rows in self.writes if what == "outcomes" for each in rows[0]
            )
            said += self.do(Found(token, Answers({}, set(), {t: (t, ended[t]) for t in asked})))
        return said

    def made(self, counter: int, who: str, size: int = LARGE) -> list:
        """`who` has made a result; it got the task whoever was to run it."""
        [(worker, lease)] = [
            (worker, lease)
            for worker in self.core.fleet
            for lease, (block, i, _) in worker.held.items()
            if block.first + i == counter
        ]
        assert worker.who == who
        ref = REF.pack(key(C1, counter), lease, 0, size, 0, who.encode())
        row = [C1, [counter], [lease], bytes([Kind.STORED]), [body(0.0, 0.0, b"", ref)]]
        return self.say(who, m.Done([row], self.slots))

    def make(self, counter: int, who: str, size: int = LARGE) -> list:
        """Have `who` make a result: the others are busy meanwhile."""
        for worker in self.core.fleet:
            worker.window = self.slots if worker.who == who else 0
            self.core.fleet.rooms.touch(worker)
        self.submit_taking(counter)
        for worker in self.core.fleet:
            worker.window = self.slots
            self.core.fleet.rooms.touch(worker)
        return self.made(counter, who, size)

    def where(self, counter: int) -> str:
        """Which worker has a task."""
        [who] = [
            worker.who
            for worker in self.core.fleet
            for block, i, _ in worker.held.values()
            if block.first + i == counter
        ]
        return who

    def state(self, counter: int) -> State:
        found = self.core.ledger.blocks.find(C1, counter)
        assert found is not None
        return State(found[0].states[found[1]])


def inputs_in(answers: list) -> list[m.Inputs]:
    return [message for _, message in answers if type(message) is m.Inputs]


def test_a_task_goes_to_who_has_most_of_its_bytes():
    for holder in (W1, W2, W3):
        graph = Graph(W1, W2, W3)
        graph.make(0, holder, 2 * LARGE)
        other = W1 if holder != W1 else W2
        graph.make(1, other)
        graph.make(2, other, LARGE - 1)
        graph.submit_taking(10, 0, 1, 2)
        assert graph.where(10) == holder


def test_not_for_a_few_bytes():
    graph = Graph(W1, W2, slots=2)
    graph.make(0, W2, SMALL)
    graph.make(1, W1, SMALL)  # it was the last to be given something: the next goes to it
    graph.submit_taking(10, 0, count=2)
    graph.submit_taking(20, 0, count=1)
    assert {graph.where(10), graph.where(11)} == {W1}


def test_nor_if_that_one_is_busy_while_others_idle():
    graph = Graph(W1, W2)
    graph.make(0, W2)
    graph.submit_taking(10, 0)
    graph.submit_taking(20, 0)
    assert [graph.where(10), graph.where(20)] == [W2, W1]


def test_more_than_its_share_of_what_is_ready_is_not_given_to_it():
    graph = Graph(W1, W2, slots=4)
    graph.make(0, W2)
    graph.submit_taking(10, 0, count=20)
    held = {worker.who: len(worker.held) for worker in graph.core.fleet}
    assert held == {W1: 4, W2: 4}


def test_what_several_have_is_asked_of_another_one_each_time():
    graph = Graph(W1, W2, W3, slots=8)
    graph.make(0, W1)
    lease = graph.core.placement._lease  # of the task that is done
    graph.submit_taking(10, 0, count=2)
    graph.say(W2, m.Copied([[C1, 0, lease]]))
    graph.say(W2, m.Copied([[C1, 0, lease], [C1, 0, lease + 1], [C1, 5, 1]]))
    named = []
    for first in range(20, 40):
        [told] = inputs_in(graph.submit_taking(first, 0))
        holders = told.holders[show(C1, 0)]
        named.append(holders[0])
        asker = graph.where(first)
        assert asker not in holders and len(holders) <= NAMED_MAX
        assert set(holders) <= told.stores.keys()
        graph.core.fleet.workers[asker].window += 1
    assert {W1, W2} <= set(named)


def test_what_only_those_hold_who_are_away_waits_until_one_is_back():
    graph = Graph(W1, W2)
    graph.make(0, W1)
    graph.do(Gone(W1.encode()))
    graph.submit_taking(10, 0)
    graph.submit_taking(20)
    assert (graph.state(10), graph.where(20)) == (State.WAITING, W2)
    found = graph.core.ledger.blocks.find(C1, 10)
    assert found is not None
    assert W1 in str(graph.core.holders.waits_for(*found))

    graph.hello(W1, session=2, about=about(W1))
    assert graph.where(10) == W1
    assert graph.core.holders.waits_for(*found) is None


def test_a_copy_will_do():
    graph = Graph(W1, W2, slots=2)
    graph.make(0, W1)
    lease = graph.core.placement._lease
    graph.submit_taking(5, 0)
    graph.say(W2, m.Copied([[C1, 0, lease]]))
    graph.do(Gone(W1.encode()))
    [told] = inputs_in(graph.submit_taking(10, 0))
    assert graph.where(10) == W2 and W1 not in told.stores


def test_what_waits_for_a_store_can_be_cancelled():
    graph = Graph(W1, W2)
    graph.make(0, W1)
    graph.do(Gone(W1.encode()))
    graph.submit_taking(10, 0)
    graph.say(C1, m.Cancel(1, [[C1, 10, 1]], False))
    graph.hello(W1, session=2, about=about(W1))
    assert not graph.core.ledger.inputs.stranded
    assert not any(worker.held for worker in graph.core.fleet)


def test_who_asks_is_told_who_holds_what_and_where():
    graph = Graph(W1, W2, slots=4)
    graph.make(0, W1)
    lease = graph.core.placement._lease
    graph.submit_taking(10, 0, count=1)
    [(_, told)] = graph.say(W2, m.Where([[C1, 0, lease, W1], [C1, 7, 1, W3]]))
    assert told == m.Holders({W1: [f"ipc://{W1}", "h", f"/{W1}"]}, {})
    graph.hello(W3, about=about(W3))
    graph.say(W3, m.Copied([[C1, 0, lease]]))
    [(_, told)] = graph.say(W2, m.Where([[C1, 0, lease, W1]]))
    assert (told.stores.keys(), set(told.holders[show(C1, 0)])) == ({W1, W3}, {W1, W3})


def test_what_went_astray_runs_again_after_a_pause():
    graph = Graph(W1)
    graph.make(0, W1)
    graph.submit_taking(10, 0)
    [lease] = graph.core.fleet.workers[W1].held
    lost = failure_body("ResultUnreachable", "nobody answers")
    graph.say(W1, m.Done([[C1, [10], [lease], bytes([Kind.ASTRAY]), [lost]]], 1))
    assert graph.state(10) == State.WAITING
    graph.tick(ASTRAY_PAUSE_S)
    assert graph.where(10) == W1


def test_what_one_has_lost_another_has():
    graph = Graph(W1, W2, slots=4)
    graph.make(0, W1)
    lease = graph.core.placement._lease
    graph.submit_taking(5, 0)
    graph.say(W2, m.Copied([[C1, 0, lease]]))
    graph.say(W2, m.Lost([[C1, 0, lease, W1]]))
    [told] = inputs_in(graph.submit_taking(10, 0))
    asker = graph.where(10)
    assert told.holders[show(C1, 0)] == ([] if asker == W2 else [W2])
    assert not graph.core.ledger.inputs.is_lost(key(C1, 0))
    graph.say(W2, m.Lost([[C1, 0, lease, W2]]))
    assert graph.core.ledger.inputs.is_lost(key(C1, 0))
