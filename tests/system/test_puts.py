"""Objects that are put, and arguments too large for a SUBMIT, through real processes."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sample_tasks as tasks
from ending import await_end

from mesh import Mesh, PayloadError
from mesh.protocol.payload import ARGUMENTS_BYTES_MAX, dump_arguments, size_of


def total(array: Any, *more: Any) -> int:
    return int(np.sum(array)) + sum(int(np.sum(each)) for each in more)


def echo(thing: Any) -> Any:
    return thing


def change(array: Any) -> int:
    array += 1
    return int(array.sum())


def counted(array: Any, folder: str, name: str) -> int:
    tasks.note(folder, name)
    return int(array.sum())


def stored(mesh: Mesh) -> list[int]:
    """The sizes of what the mesh's own worker keeps."""
    content = Path(mesh.folder) / "worker" / "content"
    return sorted(file.stat().st_size for file in content.glob("??/*"))


def worker_of(mesh: Mesh) -> int:
    return int(mesh.status()["workers"][0]["pid"])


def argument_of(size: int) -> bytes:
    """An argument of which the payload of a call takes so much."""
    excess = size_of(dump_arguments((bytes(1000),), {})[0]) - 1000
    return bytes(size - excess)


def test_what_was_put_is_a_done_future_of_the_object(mesh: Mesh) -> None:
    array = np.arange(100_000)
    future = mesh.put(array)
    assert future.done()
    assert (future.result(20) == array).all()
    assert (mesh.result(future.id) == array).all()
    assert mesh.submit(total, future, [future, 1][1]).result(20) == array.sum() + 1
    assert "(put): done" in str(future.explain())


@pytest.mark.parametrize("thing", [None, 7, b"", b"x" * 8000, b"x" * 9000, {"a": [1, 2]}])
def test_small_things_can_be_put_too(mesh: Mesh, thing: Any) -> None:
    future = mesh.put(thing)
    assert (future.done(), future.result(20)) == (True, thing)
    assert mesh.submit(echo, future).result(20) == thing


def test_it_may_be_anywhere_in_the_arguments(mesh: Mesh) -> None:
    future = mesh.put(np.ones(50_000))
    again = mesh.future(future.id)
    assert mesh.submit(lambda d: d["k"][0] is d["k"][1], {"k": [future, again]}).result(20)
    assert mesh.submit(total, np.ones(20_000), future).result(20) == 70_000


@pytest.mark.parametrize("off", [-1, 0, 1])
def test_arguments_around_the_threshold_come_whole(own_mesh: Mesh, off: int) -> None:
    argument = argument_of(ARGUMENTS_BYTES_MAX + off)
    assert size_of(dump_arguments((argument,), {})[0]) == ARGUMENTS_BYTES_MAX + off
    assert own_mesh.submit(len, argument).result(20) == len(argument)
    assert len(stored(own_mesh)) == (off > 0)


@pytest.mark.parametrize(
    "array",
    [
        np.empty(0),
        np.arange(1_000_000).reshape(1000, 1000)[::3, ::7],
        np.asfortranarray(np.arange(100_000.0).reshape(100, 1000)),
        np.array([b"x" * 100_000, "text", None, 7], dtype=object),
    ],
    ids=["empty", "not contiguous", "by columns", "of objects"],
)
def test_arrays_of_all_kinds_come_whole(mesh: Mesh, array: Any) -> None:
    for back in (mesh.submit(echo, array), mesh.submit(echo, mesh.put(array)), mesh.put(array)):
        assert np.array_equal(back.result(20), array)


def test_a_task_may_write_to_what_it_was_given(mesh: Mesh) -> None:
    array = np.zeros(100_000, dtype=int)
    future = mesh.put(array)
    for argument in (array, array, future, future):
        assert mesh.submit(change, argument).result(20) == 100_000


def test_large_arguments_of_groups_and_of_map(mesh: Mesh) -> None:
    rows = [np.full(20_000, i) for i in range(20)]
    assert mesh.submit_many(total, rows).results(timeout=30) == [20_000 * i for i in range(20)]
    assert list(mesh.map(total, rows, timeout=30)) == [20_000 * i for i in range(20)]


def test_the_same_content_is_stored_at_most_twice(own_mesh: Mesh) -> None:
    array = np.arange(100_000)
    results = [own_mesh.submit(total, array) for _ in range(200)]
    results += list(own_mesh.submit_many(total, [array] * 200))
    assert {each.result(60) for each in results} == {array.sum()}
    assert len(stored(own_mesh)) == 2
    assert len({own_mesh.put(array).id for _ in range(10)}) == 2
    assert len(stored(own_mesh)) == 4


def test_content_that_has_changed_is_another(own_mesh: Mesh) -> None:
    array = np.zeros(100_000, dtype=int)
    found = []
    for _ in range(5):
        array += 1
        found.append(own_mesh.submit(total, array))
    assert [each.result(20) for each in found] == [100_000 * i for i in range(1, 6)]


def test_what_cannot_be_pickled_cannot_be_put(mesh: Mesh) -> None:
    with pytest.raises(PayloadError, match="lock cannot be pickled"):
        mesh.put(__import__("threading").Lock())
    with pytest.raises(PayloadError, match="as an argument of a task alone"):
        mesh.put([mesh.submit(echo, 1)])


def test_a_put_survives_kill_9_of_everybody(script: Any, tmp_path: Path) -> None:
    folder = tmp_path / "mesh"
    source = """
        import sys, time
        import numpy as np
        from mesh import Mesh

        m = Mesh(dir=sys.argv[1], slots=1)
        future = m.put(np.arange(1_000_000))
        held = m.submit(time.sleep, 600)
        task = m.submit(lambda a, b: int(a.sum()) + len(b), future, bytes(500_000))
        m.flush()
        print(future.id, held.id, task.id, flush=True)
        time.sleep(600)
    """
    first = script(source, folder)
    put, held, task = first.line().split()
    children = children_of(first.pid)
    first.kill()
    for pid in children:
        os.kill(pid, signal.SIGKILL)
        assert await_end(pid, 20)
    with Mesh(dir=folder, slots=1) as again:
        assert again.result(put, 30)[-1] == 999_999
        again.cancel(held)
        assert again.result(task, 30) == sum(range(1_000_000)) + 500_000


def children_of(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for file in listed for child in file.read_text().split()]
