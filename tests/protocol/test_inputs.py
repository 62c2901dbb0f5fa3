"""The futures among a call's arguments: what travels of them, and what a slot makes of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from mesh.errors import PayloadError
from mesh.protocol import inputs, payload
from mesh.task import key

MESH = object()


class Promise:
    """Stands for the value of a task, as a future does."""

    def __init__(self, counter: int, mesh: object = MESH) -> None:
        self.task, self.mesh = key("k3f9x2m7", counter), mesh

    def reference(self) -> tuple[bytes, object]:
        return self.task, self.mesh

    def __reduce__(self) -> Any:
        return inputs.refer(*self.reference(), self)


@pytest.fixture(autouse=True)
def refers() -> Iterator[None]:
    """Promises refer to tasks, and have no buffers."""
    inputs.REFERRING.add(Promise)
    yield
    inputs.REFERRING.discard(Promise)


def dumped(*args: Any, **kwargs: Any) -> tuple[bytes, list[bytes]]:
    parts, ids = payload.dump_arguments(args, kwargs, MESH)
    return payload.join(parts), inputs.split(ids)


def given(pickled: bytes, *values: Any) -> Any:
    with inputs.Given([*values]):
        return payload.load(pickled)


def test_what_is_a_future_becomes_its_value_wherever_it_is() -> None:
    one, two = Promise(1), Promise(2)
    for args in [(one, two), (one, 5, two), (one, [two]), ({"a": one}, "b", {"c": (two,)})]:
        pickled, ids = dumped(*args)
        assert ids == [one.task, two.task]
        values = repr(given(pickled, "ONE", "TWO"))
        assert "ONE" in values and "TWO" in values and "Promise" not in values
    pickled, ids = dumped(one, other=two)
    assert given(pickled, "ONE", "TWO") == (("ONE",), {"other": "TWO"})


def test_a_task_that_is_named_often_travels_once() -> None:
    one, two = Promise(1), Promise(2)
    for args in [(one, two, one, Promise(1)), ([one, two], one, Promise(1))]:
        pickled, ids = dumped(*args)
        assert ids == [one.task, two.task]
        values, _ = given(pickled, [1], [2])
        assert values[-1] is values[-2], "and is one object there"


def test_calls_of_futures_alone_are_alike_but_for_their_ids() -> None:
    pickled, _ = dumped(Promise(1), Promise(2))
    other, ids = dumped(Promise(8), Promise(9))
    assert other == pickled and ids == [Promise(8).task, Promise(9).task]
    twice, ids = dumped(Promise(3), Promise(3))
    assert twice != pickled and ids == [Promise(3).task]
    assert given(twice, "once") == (("once", "once"), {})


def test_arguments_that_are_all_inputs_in_order_are_known_by_their_pickle() -> None:
    one, two = Promise(1), Promise(2)
    assert inputs.are_in_order(memoryview(dumped(one, two)[0]), 2)
    assert inputs.are_in_order(dumped(two)[0], 1)
    for args in [(one, two, one), (one, two, 3), (one, [two]), ([one, two],)]:
        assert not inputs.are_in_order(dumped(*args)[0], 2), args
    assert not inputs.are_in_order(dumped(one, key=two)[0], 2)
    assert not inputs.are_in_order(dumped(one, two)[0], 3)
    many = list(map(Promise, range(100)))
    assert given(dumped(*many)[0], *range(100)) == (tuple(range(100)), {})


@pytest.mark.parametrize("beside", [(), (5,), ([],)], ids=["alone", "an atom", "a list"])
def test_a_future_of_another_mesh_is_refused(beside: tuple[Any, ...]) -> None:
    with pytest.raises(PayloadError, match=r"argument 2 .* another mesh"):
        dumped(Promise(1), Promise(2, mesh=object()), *beside)


def test_a_future_that_is_pickled_otherwise_says_what_to_do() -> None:
    with pytest.raises(PayloadError, match=r"use its result\(\)"):
        payload.dump(Promise(1))
    pickled, _ = dumped(Promise(1))
    with pytest.raises(PayloadError, match="in its slot alone"):
        payload.load(pickled)


def test_more_futures_than_a_task_takes_are_refused() -> None:
    with pytest.raises(PayloadError, match="at most 65,536 futures"):
        dumped(*map(Promise, range(inputs.INPUTS_MAX + 1)))
