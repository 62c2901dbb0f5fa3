"""How tasks ended a moment ago is known without the store."""

from __future__ import annotations

from typing import Any

from lone_router import C1, W1, F, LoneRouter

from mesh.core.events import Found
from mesh.core.intake import Answers
from mesh.core.ledger import RECORD
from mesh.core.recent import RECENT_BYTES, Recent
from mesh.protocol import messages as m
from mesh.protocol.outcome import body
from mesh.task import Kind, key

VALUE = body(0.0, 0.0, b"", b"v")


def record(kind: Kind = Kind.VALUE, value: bytes = VALUE) -> bytes:
    return RECORD.pack(kind, 1, b"w" * 8) + value


def knowing(*tasks: bytes) -> Recent:
    recent = Recent()
    recent.is_taken(C1)
    recent.ended(C1, [(task, record()) for task in tasks])
    return recent


def test_tasks_are_remembered_of_clients_one_of_whose_was_taken_when_it_had_ended() -> None:
    recent = Recent()
    recent.ended(C1, [(b"a", record())])
    assert recent.of([b"a"]) == []
    recent.is_taken(C1)
    recent.ended(C1, [(b"b", record())])
    recent.ended("dddddddd", [(b"c", record())])
    assert recent.of([b"a", b"b", b"c"]) == [(b"b", record())]


def test_what_is_put_is_remembered_at_once() -> None:
    recent = Recent()
    recent.put(b"a", record(Kind.STORED))
    assert recent.of([b"a"]) == [(b"a", record(Kind.STORED))]


def test_what_is_in_a_store_is_left_to_the_records() -> None:
    recent = knowing()
    recent.ended(C1, [(b"a", record(Kind.STORED)), (b"b", record())])
    assert recent.of([b"a", b"b"]) == [(b"b", record())]


def test_the_oldest_give_way_by_what_they_take() -> None:
    large = record(value=bytes(8_000))
    names = [b"%d" % each for each in range(2 * RECENT_BYTES // len(large))]
    recent = Recent()
    for name in names:
        recent.put(name, large)
        kept = recent.of(names)
        assert sum(len(outcome) for _, outcome in kept) <= RECENT_BYTES
    assert recent.of(names[-1:]) and not recent.of(names[:1])


def test_more_at_once_than_there_is_room_for_is_left_to_the_records() -> None:
    names = [b"%d" % each for each in range(RECENT_BYTES // 50)]
    recent = knowing(*names)
    assert not recent.of(names)
    recent.put(b"a", record())
    assert recent.of([b"a"])


def test_what_is_forgotten_is_not_known() -> None:
    recent = knowing(b"a", b"b", b"c")
    recent.forget(b"a")
    assert [task for task, _ in recent.of([b"a", b"b"])] == [b"b"]
    recent.clear()
    assert recent.of([b"b", b"c"]) == []


class Mesh(LoneRouter):
    """One client, and a worker that has done its first two tasks."""

    def __init__(self) -> None:
        super().__init__()
        self.hello(C1)
        self.hello(W1)
        self.submit(C1, 0, 2)
        self.done(0, 1)

    def done(self, *counters: int) -> None:
        leases = [self.core.placement.first_lease + 1 + counter for counter in counters]
        kinds = bytes([Kind.VALUE]) * len(counters)
        self.say(W1, m.Done([[C1, [*counters], leases, kinds, [VALUE] * len(counters)]], 2))

    def take(self, first: int, *inputs: int) -> list[Any]:
        """Submit a task that takes these."""
        ids = b"".join(key(C1, each) for each in inputs)
        row = [first, F, {}, None, 0, [b"x"], None, None, [ids]]
        return self.say(C1, m.Submit([row]))

    def answer(self, known: dict[int, bytes | None]) -> list[Any]:
        [(token, what, _)] = self.lookups
        assert what == "submitted"
        self.lookups = []
        inputs = {key(C1, each): (key(C1, each), told) for each, told in known.items()}
        return self.do(Found(token, Answers({}, set(), inputs)))

    def inputs(self, sent: list[Any]) -> list[Any]:
        return [each for _, each in sent if type(each) is m.Inputs]


def test_the_store_is_asked_for_the_first_and_then_no_more() -> None:
    mesh = Mesh()
    mesh.take(2, 0)
    assert is_given(mesh.answer({0: record()})), "the store knew"
    mesh.done(2)
    assert is_given(mesh.take(3, 2)) and not mesh.lookups


def is_given(sent: list[Any]) -> bool:
    """Whether a task has been given out, with what it takes."""
    return {type(each) for _, each in sent} >= {m.Inputs, m.Tasks}


def test_an_outcome_that_is_not_on_disk_yet_is_handed_to_the_shell_with_what_is_written() -> None:
    mesh = Mesh()
    mesh.take(2, 0)
    mesh.answer({0: record()})
    mesh.done(2)
    turns: list[Any] = []
    settle = mesh.core.settle

    def watched(now: float) -> Any:
        turns.append(settle(now))
        return turns[-1]

    mesh.core.settle = watched  # type: ignore[method-assign]
    row = [3, b"?" * 16, {}, None, 0, [b"x"], None, None, [key(C1, 2)]]
    mesh.say(C1, m.Submit([row]))
    assert not turns[-1].ticket and not turns[-1].kept, "it was refused: nothing waits for a disk"
    mesh.take(4, 2)
    assert turns[-1].ticket and [task for task, _ in turns[-1].kept] == [key(C1, 2)]


def test_what_changes_while_the_store_is_asked_for_another_is_asked_for_too() -> None:
    mesh = Mesh()
    mesh.take(2, 0)
    mesh.answer({0: record()})
    mesh.done(2)
    mesh.take(3, 1, 2)
    [(token, _, (_, _, asked))] = mesh.lookups
    assert asked == [key(C1, 1)]
    mesh.core.ledger.recent.forget(key(C1, 2))  # as when it goes to another store
    mesh.lookups = []
    inputs = {key(C1, 1): (key(C1, 1), record())}
    mesh.do(Found(token, Answers({}, set(), inputs)))
    [(_, _, (_, _, asked))] = mesh.lookups
    assert asked == [key(C1, 2)]
    assert is_given(mesh.answer({2: record()}))


def test_what_history_has_forgotten_does_not_exist() -> None:
    mesh = Mesh()
    mesh.take(2, 0)
    mesh.answer({0: record()})
    mesh.done(2)
    mesh.core.ledger.recent.clear()  # as pruning does
    assert not is_given(mesh.take(3, 2))
    sent = mesh.answer({2: None})
    [outcomes] = [each for _, each in sent if type(each) is m.Outcomes]
    assert outcomes.runs[0][1] == [3] and outcomes.runs[0][2] == bytes([Kind.UNMET])
