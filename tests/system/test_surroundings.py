"""Where a task runs: its environment and its folder, which are nothing to the next."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path
from typing import Any

import pytest
from scripts import Script

import mesh
from mesh import Command, Mesh
from mesh.errors import WorkerLost
from mesh.options import options_of


def seen(name: str) -> tuple[str | None, str]:
    return os.environ.get(name), os.getcwd()


def changed(folder: str) -> None:
    os.chdir(folder)


def test_a_task_has_the_environment_it_is_given_and_the_next_has_not() -> None:
    with Mesh(slots=1) as m:
        given = m.options(env={"WHICH": "one"})
        rows = [given.submit(seen, "WHICH"), m.submit(seen, "WHICH"), given.submit(seen, "WHICH")]
        assert [each.result(60)[0] for each in rows] == ["one", None, "one"]
        home = m.options(env={"HOME": "/nowhere"}).submit(seen, "HOME").result(60)[0]
        assert (home, m.submit(seen, "HOME").result(60)[0]) == ("/nowhere", os.environ.get("HOME"))


def test_a_task_runs_in_the_folder_it_is_given(tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.mkdir()
    with Mesh(slots=1) as m:
        assert m.options(cwd=there).submit(seen, "HOME").result(60)[1] == str(there)
        gone = m.options(cwd=tmp_path / "gone").submit(seen, "HOME")
        with pytest.raises(FileNotFoundError, match=r"cwd= of this task, on .*gone"):
            gone.result(60)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"env": ["A=1"]}, TypeError, "env is a dict of strings, not"),
        ({"env": {"A": 1}}, TypeError, "not 'A': 1"),
        ({"env": {"A=B": "1"}}, ValueError, "'A=B' cannot be an environment variable"),
        ({"cwd": "here"}, ValueError, "cwd is a whole path, for the hosts of workers, not 'here'"),
        ({"cwd": 1}, TypeError, "cwd is a folder, not 1"),
    ],
)
def test_bad_surroundings_are_refused(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        options_of(options)


def told() -> dict[str, Any]:
    now = mesh.current()
    (now.scratch / "file").write_text("x")
    return {
        "id": now.id,
        "group": now.group,
        "index": now.index,
        "attempt": now.attempt,
        "left": now.time_left_s,
        "drawn": (now.rng.random(), float(now.np_rng.random())),
        "scratch": str(now.scratch),
        "environ": now.environ(),
        "lease": now.lease,
        "where": (now.host, now.slot),
    }


def told_at_last(file: str) -> dict[str, Any]:
    """The same, of the second attempt, and what was drawn in the first."""
    row = told()
    if row["attempt"] == 1:
        Path(file).write_text(repr(row["drawn"]))
        raise OSError("try again")
    return row | {"first": Path(file).read_text()}


def killed_with_scratch(file: str) -> None:
    """Leaves a file in its scratch folder, whose name it tells."""
    Path(file).write_text(str(mesh.current().scratch))
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_task_knows_which_it_is() -> None:
    with Mesh(slots=1) as m:
        group = m.options(time_limit=600).submit_many(lambda _: told(), range(40))
        rows = group.results()
        alone = m.submit(told)
        row = alone.result(60)

    assert [each["id"] for each in rows] == [each.id for each in group]
    assert [each["index"] for each in rows] == list(range(40))
    assert {each["group"] for each in rows} == {group.id}
    assert all(0 < each["left"] <= 600 for each in rows)
    assert len({each["drawn"] for each in rows}) == 40
    assert len({each["lease"] for each in rows}) == 40
    environ = rows[7]["environ"]
    assert (environ["MESH_TASK_ID"], environ["MESH_INDEX"]) == (rows[7]["id"], "7")
    assert (environ["MESH_GROUP"], environ["MESH_SCRATCH"]) == (group.id, rows[7]["scratch"])
    assert (row["id"], row["group"], row["index"], row["left"]) == (alone.id, None, None, None)
    assert (row["attempt"], row["where"]) == (1, (socket.gethostname(), 0))
    assert "MESH_GROUP" not in row["environ"] and "MESH_TIME_LEFT_S" not in row["environ"]


def test_a_retry_draws_the_same_numbers_and_knows_that_it_is_one(
    own_mesh: Mesh, tmp_path: Path
) -> None:
    retried = own_mesh.options(retries=1, backoff=0)
    group = retried.submit_many(told_at_last, [str(tmp_path / "drawn")])
    [row] = group.results()

    assert row["attempt"] == 2
    assert row["first"] == repr(row["drawn"])


def test_scratch_is_gone_with_its_run_however_that_ended(own_mesh: Mesh, tmp_path: Path) -> None:
    assert not Path(own_mesh.submit(told).result(60)["scratch"]).exists()

    lost = own_mesh.submit(killed_with_scratch, str(tmp_path / "name"))
    with pytest.raises(WorkerLost):
        lost.result(60)
    assert not Path((tmp_path / "name").read_text()).exists()


def test_without_a_task_there_is_none() -> None:
    with pytest.raises(RuntimeError, match="no task runs in this process"):
        mesh.current()


def test_a_task_runs_where_it_was_submitted_and_the_next_is_not_led_astray(
    script: type[Script], tmp_path: Path
) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    printed = script(
        """
        import os, shutil
        from mesh import Mesh

        def stray():
            before = os.getcwd()
            os.chdir("/")
            return before

        with Mesh(slots=1) as m:
            rows = []
            for name in ("one", "two", "one"):
                os.chdir(name)
                rows.append(m.submit(stray))
                rows.append(m.submit(os.getcwd))
                os.chdir("..")
            print([os.path.basename(each.result()) for each in rows])
            os.chdir("two")
            os.rmdir(os.getcwd())      # what is not there cannot be gone to
            print(os.path.basename(m.submit(stray).result()) != "two")
        """
    ).finish()

    assert printed.splitlines() == ["['one', 'one', 'two', 'two', 'one', 'one']", "True"]


def test_a_script_runs_in_a_folder_that_is_gone(script: type[Script]) -> None:
    printed = script(
        """
        import os, sys
        sys.path.insert(0, "")         # as in a session
        os.mkdir("gone")
        os.chdir("gone")
        os.rmdir("../gone")
        from mesh import Mesh
        with Mesh(slots=1) as m:
            print(os.path.isdir(m.submit(os.getcwd).result()))
        with Mesh(slots=1, threads=2) as m:
            print(m.submit(len, "abc").result())
        """
    ).finish()

    assert printed.splitlines() == ["True", "3"]


def test_a_command_is_told_the_same(own_mesh: Mesh) -> None:
    line = "echo $MESH_TASK_ID $MESH_SLOT_NUMBER; cd $MESH_SCRATCH && pwd"
    future = own_mesh.submit(Command(line))

    first, scratch = future.result(60).text.splitlines()

    assert first.rpartition(" ")[0] == future.id
    assert not Path(scratch).exists()
