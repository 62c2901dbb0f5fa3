"""Workers try whether they reach who asks."""

from __future__ import annotations

from typing import Any

import pytest
from lone_router import C1, W1, W2, W3, LoneRouter

from mesh.core.dialling import ADDRESSES_MAX, ANSWER_S, QUESTIONS_MAX
from mesh.protocol import messages as m

HERE = "tcp://10.0.0.9:4000#" + "k" * 40


class Mesh(LoneRouter):
    """Workers of two hosts, two of them on one."""

    def __init__(self) -> None:
        super().__init__()
        self.hello(C1)
        for who, host in ((W1, "h1"), (W2, "h2"), (W3, "h2")):
            self.hello(who, about={"slots": 1, "window": 1, "host": host})
        self.token = 0

    def ask(self, addresses: Any = (HERE,)) -> list[Any]:
        self.token += 1
        about = {"addresses": [*addresses], "public": "P", "secret": "S"}
        return self.say(C1, m.Ask(self.token, "dial", about))

    def told(self, sent: list[Any]) -> list[Any]:
        return [each for name, each in sent if name == C1 and type(each) is m.Tell]


def test_one_worker_of_each_host_tries_and_the_asker_hears_what_came_of_it() -> None:
    mesh = Mesh()
    sent = mesh.ask()
    assert sent == [(W1, m.Dial(1, [HERE], "P", "S")), (W2, m.Dial(1, [HERE], "P", "S"))]
    assert not mesh.told(mesh.say(W1, m.Dialled(1, {HERE: 0.25})))
    [told] = mesh.told(mesh.say(W2, m.Dialled(1, {HERE: "no answer"})))
    assert told.error is None
    assert told.value == {W1: ["h1", {HERE: 0.25}], W2: ["h2", {HERE: "no answer"}]}


def test_who_says_nothing_is_not_waited_for_for_ever() -> None:
    mesh = Mesh()
    mesh.ask()
    mesh.say(W2, m.Dialled(1, {HERE: 0.5}))
    assert not mesh.told(mesh.tick(ANSWER_S - 1))
    mesh.say(W1, m.Beat())
    [told] = mesh.told(mesh.tick(1))
    assert told.value == {W1: ["h1", None], W2: ["h2", {HERE: 0.5}]}
    assert not mesh.told(mesh.say(W1, m.Dialled(1, {HERE: 1.0}))), "too late"


def test_an_answer_counts_once_and_from_who_was_asked() -> None:
    mesh = Mesh()
    mesh.ask()
    mesh.say(W3, m.Dialled(1, {HERE: 9.0}))
    mesh.say(W1, m.Dialled(1, {HERE: 0.1}))
    assert not mesh.told(mesh.say(W1, m.Dialled(1, {HERE: 9.0})))
    [told] = mesh.told(mesh.say(W2, m.Dialled(1, {HERE: 0.2})))
    assert told.value == {W1: ["h1", {HERE: 0.1}], W2: ["h2", {HERE: 0.2}]}


def test_without_workers_the_answer_comes_at_once() -> None:
    mesh = LoneRouter()
    mesh.hello(C1)
    about = {"addresses": [HERE], "public": "P", "secret": "S"}
    [(name, told)] = mesh.say(C1, m.Ask(1, "dial", about))
    assert (name, told.value) == (C1, {})


@pytest.mark.parametrize(
    "address",
    ["ipc:///tmp/x", "tcp://10.0.0.9:4000", HERE.replace(":4000", ""), f"x{HERE}", f"{HERE} ", 7],
)
def test_nothing_but_tcp_with_a_key_is_dialled(address: Any) -> None:
    mesh = Mesh()
    [told] = mesh.told(mesh.ask([address]))
    assert told.error == "MeshError" and "address" in told.value


def test_the_answer_is_due_though_heartbeats_are_rare() -> None:
    mesh = Mesh()
    mesh.tick(0)
    mesh.ask()
    assert mesh.core.deadline(mesh.now) <= mesh.now + ANSWER_S


def test_a_worker_whose_host_is_no_name_is_asked_as_others_are() -> None:
    mesh = LoneRouter()
    mesh.hello(C1)
    mesh.hello(W1, about={"slots": 1, "window": 1, "host": ["x"]})
    about = {"addresses": [HERE], "public": "P", "secret": "S"}
    assert mesh.say(C1, m.Ask(1, "dial", about)) == [(W1, m.Dial(1, [HERE], "P", "S"))]


def test_who_asks_too_much_is_told_so() -> None:
    mesh = Mesh()
    [told] = mesh.told(mesh.ask([HERE] * (ADDRESSES_MAX + 1)))
    assert told.error == "MeshError"
    for _ in range(QUESTIONS_MAX):
        assert not mesh.told(mesh.ask())
    [told] = mesh.told(mesh.ask())
    assert f"{QUESTIONS_MAX} questions" in told.value
