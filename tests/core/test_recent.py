"""How tasks ended a moment ago is known without the store."""

from __future__ import annotations

from typing import Any

from lone_router import C1, W1, F, LoneRouter

from mesh.core.events import Committed, Found
from mesh.core.intake import Answers
from mesh.core.ledger import RECORD
from mesh.core.recent import RECENT_MAX, Recent
from mesh.protocol import messages as m
from mesh.protocol.outcome import body
from mesh.task import Kind, key

VALUE = body(0.0, 0.0, b"", b"v")


def record(kind: Kind = Kind.VALUE) -> bytes:
    return RECORD.pack(kind, 1, b"w" * 8) + VALUE


def knowing(*tasks: bytes) -> Recent:
    recent = Recent()
    recent.takes_tasks = True
    recent.ended([(task, record()) for task in tasks])
    return recent


def test_tasks_are_remembered_once_somebody_has_taken_one_that_had_ended() -> None:
    recent = Recent()
    recent.ended([(b"a", record())])
    assert recent.of([b"a"]) == []
    recent.takes_tasks = True
    recent.ended([(b"b", record())])
    assert recent.of([b"a", b"b", b"c"]) == [(b"b", record())]


def test_what_is_in_a_store_is_left_to_the_records() -> None:
    recent = knowing()
    recent.ended([(b"a", record(Kind.STORED)), (b"b", record())])
    assert recent.of([b"a", b"b"]) == [(b"b", record())]


def test_the_oldest_give_way() -> None:
    names = [b"%d" % each for each in range(RECENT_MAX + 1)]
    recent = knowing(*names)
    assert 0 < len(recent.of(names)) <= RECENT_MAX
    assert recent.of(names[-1:]) and not recent.of(names[:1])


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


def test_an_outcome_that_is_not_on_disk_yet_is_handed_to_the_shell() -> None:
    mesh = Mesh()
    mesh.take(2, 0)
    mesh.answer({0: record()})
    mesh.done(2)
    mesh.core.handle(Committed(0), mesh.now)
    kept: list[Any] = []
    settle = mesh.core.settle

    def watched(now: float) -> Any:
        turn = settle(now)
        kept.extend(turn.kept)
        return turn

    mesh.core.settle = watched  # type: ignore[method-assign]
    mesh.take(3, 2)
    assert [task for task, _ in kept] == [key(C1, 2)]


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
