"""Results whose files are gone or damaged: made again for those that wait, and never for others."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sample_tasks as tasks
from scripts import another_worker

from mesh import DependencyFailed, Mesh, ResultLost

SIZE = 300_000


def made(folder: str, name: str, *inputs: Any) -> bytes:
    """A large result; each run leaves a trace."""
    tasks.note(folder, name)
    return name.encode() * SIZE


def length(folder: str, name: str, *inputs: bytes) -> int:
    tasks.note(folder, name)
    return sum(map(len, inputs))


def made_once(folder: str) -> bytes:
    """The first run makes something, others fail."""
    tasks.note(folder, "once")
    if os.path.getsize(f"{folder}/once") > 1:
        raise ValueError("only once")
    return bytes(SIZE)


@pytest.fixture
def traces(tmp_path: Path) -> Path:
    folder = tmp_path / "traces"
    folder.mkdir()
    return folder


@pytest.fixture
def mesh_dir(tmp_path: Path) -> Path:
    return tmp_path / "mesh"


def files(folder: Path) -> list[Path]:
    return [path for path in (folder / "worker" / "content").rglob("*") if path.is_file()]


def remove_all(folder: Path) -> None:
    for file in files(folder):
        file.unlink()


def spoil_all(folder: Path) -> None:
    for file in files(folder):
        data = bytearray(file.read_bytes())
        data[len(data) // 2] ^= 1
        file.write_bytes(data)


def cut_all(folder: Path) -> None:
    for file in files(folder):
        os.truncate(file, 10)


@pytest.mark.parametrize("damage", [remove_all, cut_all, spoil_all])
def test_a_live_future_has_its_result_made_again(mesh_dir: Path, traces: Path, damage: Any) -> None:
    with Mesh(dir=mesh_dir, slots=1) as m:
        future = m.submit(made, str(traces), "a")
        group = m.submit_many(made, [str(traces)] * 2, ["b", "c"])
        assert future.wait(20) and group.wait(20)
        damage(mesh_dir)

        assert future.result(20) == b"a" * SIZE
        assert group.results(timeout=20) == [b"b" * SIZE, b"c" * SIZE]
        assert tasks.runs(traces) == dict.fromkeys("abc", 2)
        assert m.result(future.id, 20) == b"a" * SIZE
        assert (m.status()["tasks"]["done"], m.status()["recovering"]) == (3, 0)


def test_by_id_nothing_is_made_again(mesh_dir: Path, traces: Path) -> None:
    with Mesh(dir=mesh_dir, slots=1) as m:
        id = m.submit(made, str(traces), "a").id
        assert m.future(id).wait(20)
    remove_all(mesh_dir)
    with Mesh(dir=mesh_dir, slots=1) as m:
        for _ in range(2):
            with pytest.raises(ResultLost, match="ubmit"):
                m.result(id, 20)
        future = m.future(id)
        with pytest.raises(ResultLost):
            future.result(20)
        assert future.state == "done"
    assert tasks.runs(traces) == {"a": 1}


def test_a_resumed_run_has_what_was_lost_meanwhile_made_again_and_a_look_does_not(
    mesh_dir: Path, traces: Path
) -> None:
    names, folder = ["a", "b", "c"], str(traces)
    with Mesh(dir=mesh_dir, slots=2) as m:
        group = m.submit_many(made, [folder] * 3, names, ids=names)
        once = m.options(id="d", rerun=False).submit(made, folder, "d")
        assert group.wait(20) and once.wait(20)
    with Mesh(dir=mesh_dir, slots=2) as m:
        group = m.submit_many(made, [folder] * 3, names, ids=names)
        alone = m.options(id="a").submit(made, folder, "a")
        once = m.options(id="d", rerun=False).submit(made, folder, "d")
        assert group.wait(20) and alone.wait(20) and once.wait(20) and group.status()["found"] == 3
        remove_all(mesh_dir)  # found, and lost then

        for look in ("a", "b", alone.id):
            with pytest.raises(ResultLost):
                m.result(look, 20)
        assert tasks.runs(traces) == dict.fromkeys("abcd", 1)
        assert group.results(timeout=20) == [name.encode() * SIZE for name in names]
        assert alone.result(20) == b"a" * SIZE
        with pytest.raises(ResultLost, match="rerun=False"):
            once.result(20)
    assert tasks.runs(traces) == {"a": 2, "b": 2, "c": 2, "d": 1}


@pytest.mark.parametrize("damage", [remove_all, cut_all, spoil_all])
def test_what_a_task_takes_is_made_again_with_all_that_it_needs(
    mesh_dir: Path, traces: Path, damage: Any
) -> None:
    folder = str(traces)
    with Mesh(dir=mesh_dir, slots=2) as m:
        one = m.submit(made, folder, "a")
        two = m.submit(made, folder, "b", one)
        assert two.wait(20)
    damage(mesh_dir)
    with Mesh(dir=mesh_dir, slots=2) as m:
        last = m.submit(length, folder, "c", m.future(two.id), m.future(one.id))
        assert last.result(30) == 2 * SIZE
        assert m.submit(length, folder, "d", m.future(two.id)).result(30) == SIZE
    assert tasks.runs(traces) == {"a": 2, "b": 2, "c": 1, "d": 1}


@pytest.mark.parametrize("another", [True, False], ids=["another slot", "the same slot"])
def test_what_is_spoilt_after_it_was_taken_is_made_again_for_the_next_one(
    mesh_dir: Path, traces: Path, another: bool
) -> None:
    with Mesh(dir=mesh_dir, slots=1) as m:
        one = m.submit(made, str(traces), "a")
        assert m.submit(len, one).result(20) == SIZE
        if another:
            assert m.submit(tasks.exit_at_once).wait(30)  # what this slot has seen goes with it
        spoil_all(mesh_dir)
        assert m.submit(len, one).result(30) == SIZE
    assert tasks.runs(traces) == {"a": 2}


def test_with_rerun_off_it_is_lost(mesh_dir: Path, traces: Path) -> None:
    with Mesh(dir=mesh_dir, slots=1) as m:
        future = m.options(rerun=False).submit(made, str(traces), "a")
        assert future.wait(20)
        remove_all(mesh_dir)
        with pytest.raises(ResultLost, match="rerun=False"):
            future.result(20)
        with pytest.raises(DependencyFailed, match=rf"{future.id} .*ResultLost.*rerun=False"):
            m.submit(len, future).result(20)
    assert tasks.runs(traces) == {"a": 1}


def test_what_fails_when_it_is_made_again_says_so(mesh_dir: Path, traces: Path) -> None:
    with Mesh(dir=mesh_dir, slots=1) as m:
        future = m.submit(made_once, str(traces))
        assert future.wait(20)
        remove_all(mesh_dir)
        with pytest.raises(DependencyFailed, match=r"ResultLost.*ValueError: only once"):
            m.submit(len, future).result(20)
        with pytest.raises(ResultLost, match="ValueError: only once"):
            future.result(20)
        assert future.state == "done" and m.status()["tasks"]["failed"] == 1


def test_a_router_that_dies_while_it_is_made_again_has_it_made_in_the_end(
    mesh_dir: Path, traces: Path, tmp_path: Path
) -> None:
    gate = tasks.pipe_at(tmp_path / "gate")
    with Mesh(dir=mesh_dir, slots=1) as m:
        future = m.submit(made, str(traces), "a")
        assert future.wait(20)
        remove_all(mesh_dir)
        held = m.submit(tasks.hold, gate)
        taker = m.submit(length, str(traces), "b", future)
        m.flush()
        os.kill(int(m.status()["router"]["pid"]), signal.SIGKILL)
        tasks.let_go(gate)
        assert held.wait(30)
        assert taker.result(40) == SIZE
        assert future.result(20) == b"a" * SIZE
    # Once more if its worker began before the next router was there: that knows of no such order.
    assert tasks.runs(traces)["a"] in (2, 3)


def test_what_was_with_a_worker_that_never_returns_is_made_again(tmp_path: Path) -> None:
    soon = {"heartbeat_s": 0.2, "lost_after_s": 1.0, "store_lost_after_s": 2.0}
    (tmp_path / "traces").mkdir()
    with Mesh(dir=tmp_path / "mesh", slots=0, settings=soon) as mesh:
        with another_worker(mesh.folder, tmp_path / "away", 1) as away:
            mesh.wait_for_slots(1, 20)
            group = mesh.submit_many(noted_array, [str(tmp_path / "traces")] * 3, range(3))
            assert group.wait(20)
            os.kill(away.pid, signal.SIGKILL)
        with another_worker(mesh.folder, tmp_path / "here", 1):
            mesh.wait_for_slots(1, 20)
            needs = mesh.submit(first_of_all, *group[:2])
            assert needs.result(25) == [0, 1]
            assert [int(each[0]) for each in group.results(timeout=25)] == [0, 1, 2]
    assert len(list((tmp_path / "traces").iterdir())) == 6, "each twice"


def noted_array(traces: str, number: int) -> Any:
    (Path(traces) / f"{number}-{os.getpid()}").touch()
    return np.full(10_000, number)


def first_of_all(*arrays: Any) -> list[int]:
    return [int(each[0]) for each in arrays]
