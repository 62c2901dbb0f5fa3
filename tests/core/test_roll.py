"""What the router tells of some tasks: memory and store are asked at different moments."""

from __future__ import annotations

from typing import Any

from lone_router import C1, W1, F, LoneRouter

from mesh.core.events import Committed, Found
from mesh.core.intake import Answers
from mesh.protocol import messages as m
from mesh.task import Kind, key


def mesh() -> LoneRouter:
    """A task runs on n7, and another is queued behind it."""
    lone = LoneRouter()
    lone.hello(C1)
    lone.hello(W1, about={"slots": 1, "window": 1, "host": "n7"})
    lone.say(C1, m.Function(F, "sim:f", b"code", b"V"))
    lone.say(C1, m.Submit([[1, F, {}, None, 0, [b"x", b"y"], ["a", None], [b"", b""], None]]))
    (token, _, _) = lone.lookups.pop()
    lone.do(Found(token, Answers({}, set(), {})))
    return lone


def row(counter: int, **more: Any) -> dict[str, Any]:
    nothing = dict.fromkeys(("name", "function", "state", "host"))
    return {"id": f"{C1}.{counter}", **nothing, "attempts": 0, **more}


def call(lone: LoneRouter, count: int = 2) -> int:
    """The token of the question to the store."""
    lone.say(C1, m.Ask(1, "roll", {"spans": [[C1, 1, count]], "whole": False}))
    token, what, about = lone.lookups.pop()
    assert (what, about) == ("roll", ([(C1, 1, count)], False))
    return token


def told(answer: list[Any]) -> Any:
    [(_, tell)] = answer
    assert tell.error is None, tell
    return tell.value


def test_memory_knows_where_those_are_that_have_not_ended():
    lone = mesh()

    first, second, third = told(lone.do(Found(call(lone, 3), [row(1), row(2), row(3)])))

    assert (first["state"], first["host"], first["attempts"]) == ("running", "n7", 1)
    assert (first["name"], first["function"]) == ("a", "sim:f")
    assert (second["state"], second["host"]) == ("queued", None)
    assert third["state"] is None


def test_one_that_ends_while_the_store_is_asked_is_asked_for_again():
    lone = mesh()
    token = call(lone)
    (lease,) = lone.core.fleet.workers[W1].held
    lone.say(W1, m.Done([[C1, [1], [lease], bytes([Kind.VALUE]), [b"v"]]], 1))

    open_ones = [row(1, function="sim:f"), row(2, function="sim:f")]
    assert lone.do(Found(token, open_ones)) == []
    (token, _, _) = lone.lookups.pop()
    done, running = told(
        lone.do(Found(token, [row(1, function="sim:f", state="done"), row(2, function="sim:f")]))
    )

    assert (done["state"], running["state"]) == ("done", "running")


def test_what_is_no_question_is_told_so():
    lone = mesh()
    for about in (
        {"spans": [[C1, 1, 1001]], "whole": False},
        {"spans": [["x", 1, 1]], "whole": False},
        {"spans": [[C1, "1", 1]], "whole": False},
        {},
    ):
        [(_, tell)] = lone.say(C1, m.Ask(1, "roll", about))
        assert tell.error == "MeshError"
    regroup = {"first": 10, "size": 3, "name": None, "old": [C1, 5]}
    for rows in ([[0, C1, 1, 4]], [[0, "x", 1, 1]], [["0", C1, 1, 1]], [[1]]):
        [(_, tell)] = lone.say(C1, m.Ask(1, "regroup", {**regroup, "rows": rows}))
        assert tell.error == "MeshError" and not any(w[0] == "group" for w in lone.writes)


def test_a_group_in_place_of_another_is_told_when_it_is_on_disk():
    lone = mesh()
    about = {"first": 10, "size": 3, "name": "s", "old": [C1, 5], "rows": [[0, C1, 1, 1]]}

    assert lone.say(C1, m.Ask(1, "regroup", about)) == []
    [write] = [each for each in lone.writes if each[0] == "group"]
    assert write == ("group", key(C1, 10), 3, "s", [[0, C1, 1, 1]], key(C1, 5))
    assert (C1, m.Tell(1, None, True)) in lone.do(Committed(lone.ticket))
