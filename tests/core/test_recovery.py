"""What is lost is made again: by a router's core with a store, and workers that are names."""

from __future__ import annotations

from typing import Any

import pytest
from lone_router import C1, W1, W2, F
from test_pruning import Mesh

from mesh.core.events import Gone
from mesh.protocol import messages as m
from mesh.protocol.outcome import REF, body, failure_body, parse, parse_ref
from mesh.task import Kind, State, key

C2 = "dddddddd"


class Losing(Mesh):
    """A mesh whose worker says what becomes of each task that it is given."""

    def __init__(self, **limits: Any) -> None:
        super().__init__(**limits)
        self.sent: list[tuple[str, Any]] = []

    def do(self, event: Any) -> list:
        sent = super().do(event)
        self.told = [*getattr(self, "told", []), *sent]
        return sent

    def add(self, *takes: int, **options: Any) -> int:
        """A task that takes these is submitted; its counter."""
        counter, self.next = self.next, self.next + 1
        self.say(C1, m.Function(F, "sim:f", b"code", b"V"))
        inputs = [b"".join(key(C1, each) for each in takes)] if takes else None
        self.say(C1, m.Submit([[counter, F, options, None, 0, [b"x"], None, None, inputs]]))
        self.store()
        return counter

    def lease_of(self, counter: int) -> int:
        """Under which lease a task runs; 0 if it does not."""
        for lease, (block, i, _) in self.core.fleet.workers[W1].held.items():
            if block.first + i == counter:
                return lease
        return 0

    def end(self, counter: int, kind: int = Kind.STORED, rest: bytes = b"") -> int:
        """What a task runs as ends; under which lease."""
        lease = self.lease_of(counter)
        assert lease, f"{counter} does not run"
        if kind == Kind.STORED:
            rest = REF.pack(key(C1, counter), lease, 0, 9, 9, W1.encode())
        raw = rest if kind not in (Kind.STORED, Kind.VALUE) else body(1.0, 1.0, b"", rest)
        self.say(W1, m.Done([[C1, [counter], [lease], bytes([kind]), [raw]]], 300))
        self.store()
        return lease

    def is_astray(self, counter: int, maker: int, lease: int) -> None:
        """A task does not find what `lease` of `maker` left."""
        self.say(W1, m.Lost([[C1, maker, lease, W1]]))
        self.end(counter, Kind.ASTRAY, failure_body("ResultLost", "it is gone"))

    def record(self, counter: int) -> tuple[int, bytes]:
        """How a task ended: kind and body, as recorded."""
        [(_, _, record, _)] = self.records.look_up("outcomes", [(C1, counter, 1)])
        return record[0], record[17:]

    def answer(self, token: int) -> Any:
        """What a client was told: error and value."""
        tells = [each for _, each in self.told if type(each) is m.Tell and each.token == token]
        return (tells[0].error, tells[0].value) if tells else None

    def status(self) -> dict[str, Any]:
        self.say(C1, m.Ask(99, "status", {}))
        told = self.answer(99)[1]
        self.told = [each for each in self.told if type(each[1]) is not m.Tell]
        return dict(told)


def test_what_a_waiting_task_takes_and_is_lost_is_made_again():
    mesh = Losing()
    maker = mesh.add()
    old = mesh.end(maker)
    taker = mesh.add(maker)

    mesh.is_astray(taker, maker, old)

    assert mesh.lease_of(maker) and not mesh.lease_of(taker)
    assert mesh.core.ledger.counts[State.WAITING] == 1
    status = mesh.status()
    assert (status["tasks"]["done"], status["tasks"]["running"], status["recovering"]) == (1, 0, 1)
    new = mesh.end(maker)
    assert new != old
    kind, raw = mesh.record(maker)
    assert (kind, parse_ref(parse(raw).rest).lease) == (Kind.STORED, new)
    mesh.end(taker, Kind.VALUE)
    assert mesh.record(taker)[0] == Kind.VALUE
    assert mesh.status()["recovering"] == 0
    assert len(mesh.core.ledger.blocks) == 0


def test_it_is_told_of_as_a_run_that_did_not_last_and_its_holder_is_to_let_go():
    mesh = Losing()
    maker = mesh.add()
    old = mesh.end(maker)
    taker = mesh.add(maker)
    mesh.is_astray(taker, maker, old)
    new = mesh.end(maker)

    story = mesh.records.look_up("story", (C1, maker))

    assert [(run["lease"], run["how"]) for run in story["runs"]] == [
        (old, "stored"),
        (new, "stored"),
    ]
    [due] = mesh.records.look_up("drops", (W1, b"", 9))
    assert (due.counter, due.lease) == (maker, old)
    assert mesh.records.look_up("makers", [key(C1, maker)])[0].record[1] == new


def test_what_it_needs_in_turn_is_made_again_first():
    mesh = Losing()
    first = mesh.add()
    first_lease = mesh.end(first)
    second = mesh.add(first)
    second_lease = mesh.end(second)
    third = mesh.add(second)

    mesh.is_astray(third, second, second_lease)
    assert mesh.lease_of(second) and not mesh.lease_of(first)
    mesh.is_astray(second, first, first_lease)

    assert [bool(mesh.lease_of(each)) for each in (first, second, third)] == [True, False, False]
    mesh.end(first)
    mesh.end(second)
    mesh.end(third, Kind.VALUE)
    assert mesh.record(third)[0] == Kind.VALUE


def test_several_of_a_block_that_is_half_open_are_made_again_in_it():
    mesh = Losing()
    mesh.submit_next(3)
    leases = [mesh.end(each) for each in (0, 1)]
    takers = [mesh.add(0), mesh.add(1)]

    for taker, maker, lease in zip(takers, (0, 1), leases, strict=True):
        mesh.is_astray(taker, maker, lease)

    assert len(mesh.core.ledger.blocks) == 3
    for each in (2, 0, 1, *takers):
        mesh.end(each)
    assert len(mesh.core.ledger.blocks) == 0
    with mesh.records.tables.begin() as txn:
        assert (txn.count("open"), txn.count("ended")) == (0, 3)


@pytest.mark.parametrize("kind", [Kind.FINAL, Kind.TIMED_OUT])
def test_when_it_fails_this_time_those_that_take_it_fail_and_its_record_stays(kind: Kind):
    mesh = Losing()
    maker = mesh.add()
    old = mesh.end(maker)
    takers = [mesh.add(maker), mesh.add(maker)]
    mesh.is_astray(takers[0], maker, old)

    mesh.end(maker, kind, failure_body("builtins.ValueError", "no luck"))
    mesh.is_astray(takers[1], maker, old)

    assert mesh.record(maker)[0] == Kind.STORED
    for taker in takers:
        kind, raw = mesh.record(taker)
        assert kind == Kind.UNMET
        assert b"ResultLost" in raw and b"ValueError: no luck" in raw
    assert mesh.status()["tasks"]["done"] == 1


def test_with_rerun_off_nothing_runs_twice():
    mesh = Losing()
    maker = mesh.add(rerun=False)
    old = mesh.end(maker)
    taker = mesh.add(maker)

    mesh.is_astray(taker, maker, old)

    assert not mesh.lease_of(maker)
    kind, raw = mesh.record(taker)
    assert kind == Kind.UNMET and b"rerun=False" in raw
    later = mesh.add(maker)
    assert mesh.record(later)[0] == Kind.UNMET, "that it is lost is known by now"


def test_the_client_of_a_task_is_told_when_it_has_been_made_again():
    mesh = Losing()
    maker = mesh.add()
    old = mesh.end(maker)

    mesh.say(C1, m.Ask(7, "again", {"session": C1, "counter": maker, "lease": old}))
    mesh.store()
    assert mesh.answer(7) is None
    new = mesh.end(maker)

    error, (kind, raw) = mesh.answer(7)
    assert (error, kind, parse_ref(parse(raw).rest).lease) == (None, Kind.STORED, new)
    mesh.say(C1, m.Ask(8, "again", {"session": C1, "counter": maker, "lease": old}))
    mesh.store()
    assert mesh.answer(8) == mesh.answer(7), "it has been made again since"
    assert not mesh.lease_of(maker)


def test_a_client_that_submitted_the_same_call_again_has_it_made_as_well():
    mesh = Losing()
    maker = mesh.add()
    old = mesh.end(maker)
    mesh.hello(C2)

    mesh.say(C2, m.Ask(7, "again", {"session": C1, "counter": maker, "lease": old}))
    mesh.say(C1, m.Ask(8, "again", {"session": C1, "counter": maker, "lease": old}))
    mesh.store()
    new = mesh.end(maker)

    for token in (7, 8):
        error, (kind, raw) = mesh.answer(token)
        assert (error, kind, parse_ref(parse(raw).rest).lease) == (None, Kind.STORED, new)


def test_who_waits_for_what_cannot_be_made_again_is_told_why():
    mesh = Losing()
    maker = mesh.add(rerun=False)
    old = mesh.end(maker)

    mesh.say(C1, m.Ask(7, "again", {"session": C1, "counter": maker, "lease": old}))
    mesh.store()

    error, text = mesh.answer(7)
    assert error == "ResultLost" and "rerun=False" in text


def test_what_is_made_again_counts_as_done_for_who_cancels_or_watches():
    mesh = Losing()
    maker = mesh.add()
    old = mesh.end(maker)
    taker = mesh.add(maker)
    mesh.is_astray(taker, maker, old)
    mesh.told = []

    mesh.say(C1, m.Cancel(5, [[C1, maker, 1]], True))
    mesh.say(C1, m.Watch([[C1, maker, 1]]))
    mesh.store()

    assert mesh.answer(5) == (None, {"cancelled": 0, "running": 0, "ended": 1})
    [[_, counters, kinds, _]] = [
        run for _, each in mesh.told if type(each) is m.Outcomes for run in each.runs
    ]
    assert (counters, kinds) == ([maker], bytes([Kind.STORED]))


def test_a_router_that_restarts_hears_of_it_again():
    mesh = Losing()
    maker = mesh.add()
    old = mesh.end(maker)
    taker = mesh.add(maker)
    mesh.is_astray(taker, maker, old)

    restored = mesh.records.restore()

    assert [block.first for block in restored.blocks] == [taker]
    assert restored.inputs[key(C1, maker)][2] == "\0" * 8, "that it is lost is recorded"


def test_nothing_is_forgotten_that_is_being_made_again():
    mesh = Losing(ttl_s=100.0)
    maker = mesh.add()
    old = mesh.end(maker)
    mesh.say(C1, m.Ask(7, "again", {"session": C1, "counter": maker, "lease": old}))
    mesh.store()

    mesh.wait(300)
    assert mesh.known == 1
    mesh.end(maker)
    mesh.wait(60)
    assert mesh.known == 0


def test_what_is_not_lost_and_could_not_be_had_is_tried_again_after_a_while():
    mesh = Losing()
    maker = mesh.add()
    mesh.end(maker)
    taker = mesh.add(maker)

    mesh.end(taker, Kind.ASTRAY, failure_body("ResultLost", "it is gone"))

    assert not mesh.lease_of(taker) and not mesh.lease_of(maker)
    mesh.wait(3)
    assert mesh.lease_of(taker)


def test_it_is_made_again_by_another_worker_when_the_first_is_lost():
    mesh = Losing()
    maker = mesh.add()
    old = mesh.end(maker)
    taker = mesh.add(maker)
    mesh.is_astray(taker, maker, old)
    assert mesh.lease_of(maker)

    mesh.hello(W2, about={"slots": 300, "window": 300})
    mesh.core.fleet.lose(mesh.core.fleet.workers[W1], "was lost", mesh.now)
    mesh.store()

    assert [block.first for block, _, _ in mesh.core.fleet.workers[W2].held.values()] == [maker]


def lost_and_wanted(mesh: Losing) -> tuple[int, int]:
    """A task that is to be made again for another, while the worker takes nothing; and that one."""
    maker = mesh.add()
    old = mesh.end(maker)
    taker = mesh.add(maker)
    mesh.core.fleet.workers[W1].reserved = True
    mesh.is_astray(taker, maker, old)
    return maker, taker


def test_a_rerun_that_has_not_begun_is_let_go_of_with_the_last_who_wants_it():
    mesh = Losing()
    maker, taker = lost_and_wanted(mesh)
    assert not mesh.lease_of(maker) and mesh.status()["recovering"] == 1

    mesh.say(C1, m.Cancel(5, [[C1, taker, 1]], False))
    mesh.store()

    status = mesh.status()
    assert (status["recovering"], status["tasks"]["done"], status["tasks"]["queued"]) == (0, 1, 0)
    [asked] = mesh.records.look_up("makers", [key(C1, maker)])
    assert asked.record[2] == W1 and not asked.block.left, "its record is what it was"
    later = mesh.add(maker)
    mesh.store()
    assert mesh.status()["recovering"] == 1, "that it is lost is known to who takes it next"
    assert mesh.core.ledger.blocks.find(C1, later) is not None


def test_what_was_given_to_a_worker_and_not_begun_is_taken_back_for_that():
    mesh = Losing()
    maker = mesh.add()
    old = mesh.end(maker)
    taker = mesh.add(maker)
    mesh.is_astray(taker, maker, old)
    lease = mesh.lease_of(maker)

    mesh.say(C1, m.Cancel(5, [[C1, taker, 1]], False))
    recalls = [each for _, each in mesh.told if type(each) is m.Recall]
    assert recalls and lease in recalls[-1].leases
    mesh.say(W1, m.Returned([lease], 300))
    mesh.store()

    assert mesh.status()["recovering"] == 0 and not mesh.lease_of(maker)


def test_one_that_has_begun_runs_to_its_end():
    mesh = Losing()
    maker = mesh.add()
    old = mesh.end(maker)
    taker = mesh.add(maker)
    mesh.is_astray(taker, maker, old)

    mesh.say(C1, m.Cancel(5, [[C1, taker, 1]], False))
    mesh.say(W1, m.Returned([], 300))
    mesh.store()
    new = mesh.end(maker)

    assert parse_ref(parse(mesh.record(maker)[1]).rest).lease == new


def test_a_client_that_goes_wants_nothing_any_more():
    mesh = Losing()
    maker = mesh.add()
    old = mesh.end(maker)
    mesh.core.fleet.workers[W1].reserved = True
    mesh.say(C1, m.Ask(7, "again", {"session": C1, "counter": maker, "lease": old}))
    mesh.store()
    assert len(mesh.core.recovery.running) == 1 and not mesh.lease_of(maker)

    mesh.do(Gone(C1.encode()))
    mesh.store()

    assert not mesh.core.recovery.running and not len(mesh.core.ledger.blocks)


def test_who_waits_for_inputs_says_for_which_and_how_they_stand():
    mesh = Losing()
    maker = mesh.add()
    old = mesh.end(maker)
    first = mesh.add(maker)
    mesh.is_astray(first, maker, old)
    others = [mesh.add(), mesh.add(), mesh.add(), mesh.add()]
    last = mesh.add(maker, *others)

    mesh.say(C1, m.Ask(6, "explain", {"session": C1, "counter": last}))
    mesh.store()

    _, told = mesh.answer(6)
    assert told["missing"]["count"] == 5
    assert told["missing"]["inputs"][0] == {"id": f"{C1}.{maker}", "state": "recovering"}
    said = f"5 of its 5 inputs: {C1}.{maker} (recovering), {C1}.{others[0]} (running), "
    assert told["waits_for"].startswith(said) and told["waits_for"].endswith(", and 1 more")

    mesh.say(C1, m.Ask(8, "explain", {"session": C1, "counter": maker}))
    mesh.store()
    _, told = mesh.answer(8)
    assert (told["state"], told["recovering"]) == ("done", "running")
    assert told["lease"] == mesh.lease_of(maker)


def test_what_was_with_a_worker_that_is_forgotten_is_made_again_at_once():
    mesh = Losing()
    maker, other = mesh.add(), mesh.add()
    mesh.end(maker)
    mesh.hello(W2, about={"slots": 300, "window": 300})
    mesh.core.fleet.lose(mesh.core.fleet.workers[W1], "was lost", mesh.now)
    mesh.records.apply([("drop", W1, key(C1, 99), 7, 0.0)])
    taker = mesh.add(maker)
    held = mesh.core.fleet.workers[W2].held
    assert {block.first + i for block, i, _ in held.values()} == {other}, "the taker waits"

    mesh.say(C1, m.Ask(7, "forget workers", {"stores": [W1, W2, "unknown1"]}))
    mesh.core.fleet.workers[W2].about["data"] = "ipc://w2"
    mesh.store()

    assert mesh.answer(7) == (None, {W1: "forgotten", W2: "live", "unknown1": "unknown"})
    assert {block.first + i for block, i, _ in held.values()} == {other, maker}
    assert mesh.records.look_up("drops", (W1, b"", 9)) == [], "nobody is there to be told"
    assert mesh.records.restore().gone == {W1}
    assert mesh.core.ledger.blocks.find(C1, taker) is not None


def test_a_store_that_is_back_after_all_is_not_gone():
    mesh = Losing()
    mesh.core.fleet.lose(mesh.core.fleet.workers[W1], "was lost", mesh.now)
    mesh.core.holders.forget(W1, mesh.now)
    mesh.store()
    assert mesh.core.holders.is_gone(W1, mesh.now)

    mesh.hello(W1, session=2)
    mesh.store()

    assert not mesh.core.holders.is_gone(W1, mesh.now)
    assert mesh.records.restore().gone == set()


def test_a_worker_that_takes_its_store_along_is_waited_for_by_nobody():
    mesh = Losing()
    maker = mesh.add()
    mesh.end(maker)
    mesh.hello(W2, about={"slots": 300, "window": 300})
    mesh.say(W1, m.Closed())
    mesh.say(W1, m.Bye())
    mesh.add(maker)
    mesh.tick(1.0)
    mesh.store()

    held = mesh.core.fleet.workers[W2].held
    assert {block.first + i for block, i, _ in held.values()} == {maker}
