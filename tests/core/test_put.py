"""What clients put: taken in by a worker first, recorded then, and known to what comes behind."""

from __future__ import annotations

from typing import Any

from lone_router import C1, W1, F, LoneRouter

from mesh.core.events import Committed, Found
from mesh.core.intake import Answers
from mesh.core.puts import PATIENCE_S
from mesh.protocol import messages as m
from mesh.protocol.outcome import REF, RESULT, body
from mesh.task import Kind, key

HOME = {"slots": 2, "window": 2, "home": True}


def put(*counters: int, store: str = W1, value: bytes | None = None) -> m.Put:
    rows: list[list[Any]] = []
    for counter in counters:
        ref = REF.pack(key(C1, counter), counter, RESULT, 100_000, 7, store.encode())
        kind = Kind.STORED if value is None else Kind.VALUE
        rows.append([counter, bytes([kind]), body(0, 0, b"", value or ref), 0])
    return m.Put(rows)


def taking(first: int, *inputs: int) -> m.Submit:
    ids = b"".join(key(C1, each) for each in inputs)
    return m.Submit([[first, F, {}, None, 0, [b"x"], None, None, [ids]]])


def taken(*counters: int, why: str = "") -> m.Taken:
    return m.Taken([[C1, counter, why] for counter in counters])


def mesh() -> LoneRouter:
    lone = LoneRouter(lost_after_s=5.0)
    lone.hello(W1, about=HOME)
    lone.hello(C1)
    lone.say(C1, m.Function(F, "sim:f", b"code", b"V"))
    lone.writes.clear()
    return lone


def said(answers: list[Any], kind: type[m.Message]) -> list[Any]:
    return [message for _, message in answers if type(message) is kind]


def recorded(lone: LoneRouter) -> list[int]:
    return [about[1] for what, *about in lone.writes if what == "block"]


def outcomes(answers: list[Any]) -> list[tuple[list[int], bytes]]:
    return [(run[1], run[2]) for each in said(answers, m.Outcomes) for run in each.runs]


def on_disk(lone: LoneRouter) -> list[Any]:
    return lone.do(Committed(lone.ticket))


def test_a_put_is_recorded_when_its_worker_has_taken_it_in():
    lone = mesh()
    assert said(lone.say(C1, put(3)), m.Take) == [m.Take([[C1, 3, 100_000, 7]])]
    assert recorded(lone) == []

    lone.say(W1, taken(3))
    assert recorded(lone) == [3]
    assert outcomes(on_disk(lone)) == [([3], bytes([Kind.STORED]))]


def test_a_small_one_is_recorded_at_once():
    lone = mesh()
    answers = lone.say(C1, put(3, value=b"7"))
    assert (outcomes(answers), said(answers, m.Take)) == ([], [])
    assert recorded(lone) == [3]
    assert outcomes(on_disk(lone)) == [([3], bytes([Kind.VALUE]))]


def test_what_comes_behind_waits_and_finds_it():
    lone = mesh()
    lone.say(C1, put(0))
    assert said(lone.say(C1, taking(1, 0)), m.Tasks) == []

    answers = lone.say(W1, taken(0))
    assert (len(said(answers, m.Inputs)), len(said(answers, m.Tasks))) == (1, 1)
    assert recorded(lone) == [0, 1]
    assert lone.lookups == [], "memory knows it"


def test_of_all_puts_in_a_line_workers_are_asked_at_once():
    lone = mesh()
    lone.say(C1, put(0))
    lone.say(C1, taking(1, 0))
    assert said(lone.say(C1, put(2, 3)), m.Take) == [
        m.Take([[C1, 2, 100_000, 7], [C1, 3, 100_000, 7]])
    ]
    lone.say(W1, taken(2, 3))
    assert recorded(lone) == []
    lone.say(W1, taken(0))
    assert recorded(lone) == [0, 1, 2, 3]


def test_what_a_worker_does_not_have_is_recorded_as_failed():
    lone = mesh()
    lone.say(C1, put(0))
    lone.say(C1, taking(1, 0))
    answers = lone.say(W1, taken(0, why="it is not here"))
    kinds = [kind for _, run in outcomes(answers + on_disk(lone)) for kind in run]
    assert sorted(kinds) == sorted([Kind.REFUSED, Kind.UNMET])


def test_a_worker_that_comes_back_is_asked_again():
    lone = mesh()
    lone.say(C1, put(0))
    answers = lone.hello(W1, session=2, id="again", about=HOME)
    assert said(answers, m.Take) == [m.Take([[C1, 0, 100_000, 7]])]


def test_a_put_that_is_sent_again_is_recorded_once():
    lone = mesh()
    lone.say(C1, put(0))
    lone.say(W1, taken(0))
    lone.hello(C1, session=2, id="anew")
    lone.say("anew", put(0))
    [(token, about)] = [each[::2] for each in lone.lookups if each[1] == "submitted"]
    assert about[1] == [key(C1, 0)]
    lone.do(Found(token, Answers({}, {key(C1, 0)}, {})))
    assert recorded(lone) == [0]
    assert said(lone.say("anew", m.Ask(1, "status", {})), m.Tell), "the line goes on"


def test_the_acknowledgement_waits_for_the_store_and_the_disk():
    lone = mesh()
    on_disk(lone)
    before = lone.core.peers.by_who["client", C1].link.recorded
    lone.say(C1, put(0))
    assert outcomes(on_disk(lone)) == []
    assert lone.core.peers.by_who["client", C1].link.recorded == before
    assert outcomes(lone.say(W1, taken(0))) == [], "who is told may go, and nobody else has it"
    assert lone.core.peers.by_who["client", C1].link.recorded == before
    assert outcomes(on_disk(lone)) == [([0], bytes([Kind.STORED]))]
    assert lone.core.peers.by_who["client", C1].link.recorded == before + 1


def test_questions_pass_one_that_takes_long():
    lone = mesh()
    lone.say(C1, put(0))
    assert said(lone.say(C1, m.Ask(1, "status", {})), m.Tell) == []
    answers = lone.tick(PATIENCE_S + 0.1)
    assert [each.token for each in said(answers, m.Tell)] == [1]
    assert [each.token for each in said(lone.say(C1, m.Ask(2, "status", {})), m.Tell)] == [2]
    lone.say(C1, taking(1, 0))
    lone.say(W1, taken(0))
    assert recorded(lone) == [0, 1]


def test_what_is_no_put_is_refused():
    lone = mesh()
    for counter, row in enumerate(
        [
            [bytes([Kind.VALUE]), b"short"],
            [bytes([Kind.ERROR]), body(0, 0, b"", b"")],
            [b"", body(0, 0, b"", b"")],
            [bytes([Kind.STORED]), body(0, 0, b"", b"no ref")],
            [bytes([Kind.STORED]), put(99).rows[0][2]],
        ]
    ):
        lone.say(C1, m.Put([[counter, *row, 0]]))
        assert outcomes(on_disk(lone)) == [([counter], bytes([Kind.REFUSED]))]


def test_who_has_left_it_with_a_worker_that_does_not_come_back_is_told_if_there_is_another():
    lone = mesh()
    lone.say(C1, put(0, store="gggggggg"))
    told = []
    for _ in range(6):
        lone.say(W1, m.Beat())
        lone.say(C1, m.Beat())
        lone.tick(1.0)
        told += outcomes(on_disk(lone))
    assert told == [([0], bytes([Kind.REFUSED]))]
