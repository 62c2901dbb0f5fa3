"""What failed, once more: new tasks, in a group that has the other members as they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import sample_tasks as tasks

from mesh import Mesh, MeshError


def once_in_vain(folder: str, i: int, big: object = None) -> object:
    """Fail the first time, if `i` is odd; count the runs."""
    from pathlib import Path

    trace = Path(folder) / str(i)
    runs = trace.stat().st_size if trace.exists() else 0
    with trace.open("ab") as file:
        file.write(b".")
    if i % 2 and not runs:
        raise OSError(f"not yet: {i}")
    return i if big is None else (i, big.sum())  # type: ignore[attr-defined]


def runs_in(folder: Path, count: int) -> list[int]:
    return [(folder / str(i)).stat().st_size for i in range(count)]


@pytest.mark.parametrize("named", [False, True], ids=["", "with ids"])
def test_only_what_failed_runs_again_and_the_results_are_in_order(
    mesh: Mesh, tmp_path: Path, named: bool
):
    ids = [f"{tmp_path}/{i}" for i in range(9)] if named else None
    group = mesh.submit_many(once_in_vain, [str(tmp_path)] * 9, range(9), ids=ids, name="odd")
    group.wait()

    again = group.retry_failed()

    assert again.results() == list(range(9))
    assert runs_in(tmp_path, 9) == [1, 2] * 4 + [1]
    assert (again.status()["found"], again.name, again.failures().done) == (5, "odd", 9)
    assert [f.id == g.id for f, g in zip(group, again)] == [True, False] * 4 + [True]
    assert group.failures().failed == 4, "what has ended does not change"
    assert again.retry_failed() is again
    for found in (mesh.group(again.id), mesh.group("odd")):
        assert found.id == again.id and found.results() == list(range(9))
    if named:
        assert mesh.result(f"{tmp_path}/3") == 3
    mesh.forget("odd")


def test_another_script_runs_it_again_with_what_was_put_and_taken(mesh: Mesh, tmp_path: Path):
    folder = tmp_path / "traces"
    folder.mkdir()
    big = np.ones(50_000)  # travels as a put
    number = mesh.submit(int, 1)
    group = mesh.submit_many(once_in_vain, [str(folder)] * 2, [0, number], [big] * 2)
    group.wait()
    assert str(group.failures()).startswith("1 done, 1 failed: 1× OSError test_retry.py:")

    with Mesh(mesh.folder) as other:
        again = other.retry(group.id)
        assert again.results() == [(0, 50_000.0), (1, 50_000.0)]
    assert runs_in(folder, 2) == [1, 2]


def test_members_that_still_run_are_waited_for(mesh: Mesh, tmp_path: Path):
    begun, gate = tasks.pipe_at(tmp_path / "begun"), tasks.pipe_at(tmp_path / "gate")
    group = mesh.submit_many(tasks.say_and_hold, [begun, "/nowhere/at/all"], [gate] * 2, [7, 8])
    tasks.heard_at(begun)
    next(now for now in group.progress() if now.failed)

    again = group.retry_failed()
    assert again[0].id == group[0].id and not again.ended
    tasks.let_go(gate)

    assert again.results("skip") == [7] == group.results("skip")
    assert again.failures()[0].example == again[1].id != group[1].id


def test_what_was_cancelled_runs_again(mesh: Mesh, tmp_path: Path):
    begun, gate = tasks.pipe_at(tmp_path / "begun"), tasks.pipe_at(tmp_path / "gate")
    held = mesh.submit_many(tasks.say_and_hold, [begun], [gate], [7])
    tasks.heard_at(begun)
    assert held.retry_failed() is held, "nothing has failed"
    mesh.cancel(held.id)
    held.wait()
    assert [cause.error for cause in held.failures()] == ["cancelled"]

    again = held.retry_failed()
    tasks.heard_at(begun)
    tasks.let_go(gate)

    assert again.results() == [7]


def test_a_task_by_its_id(mesh: Mesh, tmp_path: Path):
    failed = mesh.options(id="single").submit(once_in_vain, str(tmp_path), 1)
    assert failed.exception() is not None

    assert mesh.retry("single").result() == 1
    assert mesh.result("single") == 1
    with pytest.raises(MeshError, match="is done: only what failed is run again"):
        mesh.retry("single")


def test_a_member_that_the_mesh_never_had_stays_as_it_is(mesh: Mesh):
    group = mesh.submit_many(str, [1, open, (i for i in ()), 4])
    group.wait()

    again = group.retry_failed()
    again.wait()

    assert again.results("skip") == group.results("skip")
    assert [type(e).__name__ for e in again.errors().values()] == ["PayloadError"]


def test_rows_tell_of_each_member(mesh: Mesh, tmp_path: Path):
    number = mesh.submit(int, 3)
    group = mesh.submit_many(
        once_in_vain, [str(tmp_path)] * 3, [0, 1, number], [None, None, np.ones(4)]
    )
    group.wait()

    first, second, third = group.rows()

    assert first["arguments"] == {"folder": str(tmp_path), "i": 0, "big": None}
    assert (first["state"], first["result"], first["attempts"]) == ("done", 0, 1)
    assert second["error"] == "OSError: not yet: 1" and second["where"].startswith("test_retry.py:")
    assert third["arguments"] == {
        "folder": str(tmp_path),
        "i": f"<{number.id}>",
        "big": [1.0, 1.0, 1.0, 1.0],
    }
    assert first["function"] == "test_retry:once_in_vain" and first["id"] == group[0].id
    assert first["host"] and first["took_s"] >= 0

    table = tmp_path / "table.csv"
    assert group.export(table) == 3
    assert table.read_text().splitlines()[0].startswith("index,id,name,function,folder,i,big,state")
    with pytest.raises(ValueError, match=r"ends in \.csv or \.jsonl"):
        group.export(tmp_path / "table.xls")
