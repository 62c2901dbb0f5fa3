"""Futures as arguments: the graph of tasks, through real processes."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sample_tasks as tasks

from mesh import DependencyFailed, Mesh, PayloadError, TaskConflict


def add(*numbers: int) -> int:
    return sum(numbers)


def dig(thing: Any) -> Any:
    return thing["k"][0] + thing["k"][1]["deep"]


class Box:
    """A class of the user's, with a future inside."""

    def __init__(self, inside: Any) -> None:
        self.inside = inside


def open_box(box: Box) -> Any:
    return box.inside + 1


def make(count: int) -> Any:
    return np.arange(count)


def total(array: Any, *more: Any) -> int:
    return int(array.sum()) + sum(int(each.sum()) for each in more)


def are_same(one: Any, other: Any) -> bool:
    return one is other


def router_of(mesh: Mesh) -> int:
    return int(mesh.status()["router"]["pid"])


def test_a_future_among_the_arguments_is_its_value_there(mesh: Mesh) -> None:
    one = mesh.submit(add, 1, 2)
    two = mesh.submit(add, one, 10)
    assert mesh.submit(add, one, two, two).result(20) == 3 + 13 + 13


def test_it_may_be_anywhere_in_the_arguments(mesh: Mesh) -> None:
    one, two = mesh.submit(add, 1), mesh.submit(add, 2)
    assert mesh.submit(dig, {"k": [one, {"deep": two}]}).result(20) == 3
    assert mesh.submit(open_box, Box(two)).result(20) == 3
    assert mesh.submit(dig, thing={"k": (one, {"deep": one})}).result(20) == 2
    assert mesh.submit(lambda call: call(), lambda: 7).result(20) == 7


def test_named_twice_it_is_one_object(mesh: Mesh) -> None:
    future = mesh.submit(make, 10)
    assert mesh.submit(are_same, future, mesh.future(future.id)).result(20) is True


def test_a_group_is_the_list_of_its_values(mesh: Mesh) -> None:
    group = mesh.submit_many(add, range(100), range(100))
    assert mesh.submit(sum, group).result(20) == 2 * sum(range(100))


def test_the_members_of_groups_are_the_rows_of_another(mesh: Mesh) -> None:
    one = mesh.submit_many(add, range(300))
    two = mesh.submit_many(add, one, range(300))
    assert mesh.submit_many(add, two, one).results(timeout=30) == [3 * i for i in range(300)]
    assert list(mesh.map(add, one[:10], two[:10], timeout=30)) == [3 * i for i in range(10)]


def test_a_large_result_is_taken_from_where_it_lies(mesh: Mesh) -> None:
    large = mesh.submit(make, 1_000_000)
    assert mesh.submit(total, large, large).result(30) == 2 * sum(range(1_000_000))


def test_an_input_may_have_ended_long_ago(mesh: Mesh) -> None:
    one = mesh.submit(add, 4)
    assert one.result(20) == 4
    assert mesh.submit(add, one, 1).result(20) == 5
    assert mesh.submit(add, mesh.future(one.id), 1).result(20) == 5


def test_a_chain_of_a_thousand(mesh: Mesh) -> None:
    future = mesh.submit(add, 0)
    for _ in range(1000):
        future = mesh.submit(add, future, 1)
    assert future.result(60) == 1000


def test_a_diamond_runs_each_task_once(mesh: Mesh, tmp_path: Path) -> None:
    traces = tmp_path / "traces"
    traces.mkdir()
    folder = str(traces)

    def noted(name: str, *inputs: Any) -> str:
        tasks.note(folder, name)
        return name + "".join(inputs)

    top = mesh.submit(noted, "a")
    sides = [mesh.submit(noted, name, top) for name in "bc"]
    assert mesh.submit(noted, "d", *sides).result(30) == "dbaca"
    assert tasks.runs(traces) == dict.fromkeys("abcd", 1)


def test_a_failed_input_fails_all_that_need_it_with_the_first_cause(mesh: Mesh) -> None:
    broken = mesh.submit(tasks.fail, "no luck")
    needs = mesh.submit(add, broken, 1)
    needs_that = mesh.submit(add, needs, 1)
    for future in (needs, needs_that):
        with pytest.raises(DependencyFailed, match=rf"{broken.id} failed: ValueError: no luck"):
            future.result(20)
    with pytest.raises(DependencyFailed, match=broken.id):  # by what the store knows
        mesh.submit(add, needs_that, 1).result(20)


def test_a_cancelled_input_does_so_too(own_mesh: Mesh, tmp_path: Path) -> None:
    gate = tasks.pipe_at(tmp_path / "gate")
    held = own_mesh.submit(tasks.hold, gate)
    waits = own_mesh.submit(add, held)
    chain = own_mesh.submit(add, waits)
    assert own_mesh.status()["tasks"]["waiting"] == 2
    own_mesh.cancel(held.id)
    for future in (waits, chain):
        with pytest.raises(DependencyFailed, match=f"its input {held.id} was cancelled"):
            future.result(20)


def test_what_waits_for_its_inputs_can_be_cancelled(own_mesh: Mesh, tmp_path: Path) -> None:
    gate = tasks.pipe_at(tmp_path / "gate")
    held = own_mesh.submit(tasks.hold, gate, 1)
    waits = own_mesh.submit(add, held)
    other = own_mesh.submit(add, held, 2)
    assert waits.cancel()
    tasks.let_go(gate)
    assert other.result(20) == 3


def test_an_input_that_does_not_exist(mesh: Mesh) -> None:
    nobody = mesh.future(mesh.submit(add, 1).id)
    nobody.is_older(nobody.id.partition(".")[0], 999_999)
    with pytest.raises(DependencyFailed, match=r"\.999999 is no task of this mesh"):
        mesh.submit(add, nobody).result(20)


def test_a_future_of_another_mesh_is_refused(mesh: Mesh, own_mesh: Mesh) -> None:
    with pytest.raises(PayloadError, match=r"argument 1 .*belongs to another mesh: pass its"):
        mesh.submit(add, own_mesh.submit(add, 1))


def test_a_future_is_no_ordinary_object(mesh: Mesh) -> None:
    future = mesh.submit(add, 1)
    with pytest.raises(PayloadError, match=r"function .*can be pickled as an argument"):
        mesh.submit(lambda: future.result())


def test_under_their_own_ids_graphs_are_found_again(mesh: Mesh, tmp_path: Path) -> None:
    traces = tmp_path / "traces"
    traces.mkdir()
    folder = str(traces)

    def noted(name: str, *inputs: Any) -> str:
        tasks.note(folder, name)
        return name + "".join(inputs)

    for _ in range(2):
        one = mesh.options(id="graph one").submit(noted, "a")
        two = mesh.options(id="graph two").submit(noted, "b", one)
        three = mesh.options(id="graph three").submit(noted, "c", two, one)
        assert three.result(20) == "cbaa"
        assert mesh.submit(noted, "d", three).result(20) == "dcbaa"
    assert tasks.runs(traces) == {"a": 1, "b": 1, "c": 1, "d": 2}
    with pytest.raises(TaskConflict):
        mesh.options(id="graph three").submit(noted, "c", one, two).result(20)


def test_a_graph_outlives_its_router_and_worker(tmp_path: Path) -> None:
    with Mesh(dir=tmp_path / "mesh", slots=2) as mesh:
        held = mesh.submit(tasks.nap, 1.0, 1)
        group = mesh.submit_many(add, [held] * 50, range(50))
        last = mesh.submit(sum, group)
        broken = mesh.submit(tasks.fail, "no")
        needs = mesh.submit(add, broken, held)
        assert needs.wait(20)
        mesh.flush()
        pids = [router_of(mesh), mesh.status()["workers"][0]["pid"]]
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        assert last.result(60) == sum(range(50)) + 50
        assert mesh.submit(add, last, held).result(30) == sum(range(50)) + 51
