"""`mesh result` and `mesh logs`: what tasks left behind."""

from __future__ import annotations

import json
import pickle

import pytest
from shell import Shell


@pytest.fixture(scope="module")
def groups(meshed: Shell) -> dict[str, str]:
    """The ids of groups that a script left: all well, one member failed."""
    printed = meshed.python(
        """
        import sim
        from mesh import Mesh
        with Mesh(access="default") as m:
            good = m.submit_many(sim.run, [1, 2, 3], ids=["a", "b", "c"])
            bad = m.submit_many(sim.scaled, [1, None, 3])
            bad.wait()
            print(good.id, bad.id, good[1].id)
        """
    )
    return dict(zip(["good", "bad", "member"], printed.split(), strict=True))


def test_text_is_printed_as_it_is_and_the_rest_as_python_shows_it(meshed: Shell) -> None:
    meshed.submit("sim:text", "hello")
    assert meshed.mesh("result", "last").out == "text hello\n"
    meshed.submit("sim:run", 1)
    assert meshed.mesh("result", "last").out == "{'x': 1, 'seed': 0}\n"
    meshed.submit("sim:raw", 3)
    assert meshed.mesh("result", "last").out == r"b'\x00\x00\x00'" + "\n"


def test_a_task_is_found_by_id_prefix_and_own_id(meshed: Shell) -> None:
    task = meshed.submit("--id", "my own", "sim:scaled", 4)
    session, _, number = task.partition(".")
    for id in (task, f"{session[:6]}.{number}", "my own", "last"):
        assert meshed.mesh("result", id).out == "40\n"


def test_a_prefix_of_several_ids_is_told_with_them(meshed: Shell) -> None:
    printed = meshed.python(
        """
        from mesh import Mesh
        seen = {}
        while True:  # sessions are random: one of 31 first letters comes again soon
            with Mesh("default") as mesh:
                task = mesh.submit(pow, 2, 3).id
                other = seen.setdefault(task[0], task)
            if other != task:
                print(task, other)
                break
        """
    )
    task, other = printed.split()
    said = meshed.mesh("result", f"{task[0]}.{task.partition('.')[2]}", code=6).err
    assert "is ambiguous" in said and task in said and other in said


def test_json(meshed: Shell) -> None:
    task = meshed.submit("sim:run", 1)
    value = {"schema": 1, "id": task, "value": {"x": 1, "seed": 0}}
    assert meshed.mesh("result", task, "--json").json == value
    meshed.submit("fractions:Fraction", "1/3")
    refused = meshed.mesh("result", "last", "--json", code=1).json["error"]
    assert refused["type"] == "MeshError" and "-o FILE" in refused["message"]
    meshed.submit("numpy:arange", 3)
    assert meshed.mesh("result", "last", "--json").json["value"] == [0, 1, 2]


def test_a_value_goes_into_a_file(meshed: Shell) -> None:
    file = meshed.work / "value"
    for call, content in {
        ("sim:raw", "100000"): bytes(100_000),
        ("sim:text", "é"): "text é".encode(),
    }.items():
        meshed.submit(*call)
        done = meshed.mesh("result", "last", "-o", file)
        assert done.out == "" and file.read_bytes() == content
        assert "pickle" not in done.err
    meshed.submit("sim:thing")
    done = meshed.mesh("result", "last", "-o", file)
    assert pickle.loads(file.read_bytes()) == {1, (2, 3)} and "a pickle of set" in done.err
    meshed.submit("sim:text", "hello")
    assert meshed.mesh("result", "last", "-o", "-").out == "text hello"
    refused = meshed.mesh("result", "last", "-o", meshed.work / "no" / "folder", code=1)
    assert "cannot be written" in refused.err


def test_a_failed_task_shows_its_own_traceback(meshed: Shell) -> None:
    task = meshed.submit("sim:fail", "out of range")
    failed = meshed.mesh("result", task, code=1)
    assert failed.out == ""
    assert failed.err.startswith(f"task {task} failed on ")
    assert "raise ValueError(message)\nValueError: out of range" in failed.err
    error = meshed.mesh("result", task, "--json", code=1).json["error"]
    assert error["type"] == "ValueError" and error["message"] == "out of range"
    assert error["task"] == task and task in error["hint"]
    assert "in fail" in error["traceback"]


@pytest.mark.parametrize(
    "name", ["TimeoutError", "RouterUnreachable", "TaskNotFound", "TaskFailed"]
)
def test_an_error_of_the_task_is_never_taken_for_one_of_the_mesh(meshed: Shell, name: str) -> None:
    meshed.submit("sim:fail_like_us", name)
    failed = meshed.mesh("result", "last", "--timeout", 30, code=1)
    assert f"{name}: " in failed.err and "fail_like_us" in failed.err


def test_a_task_that_exits_or_dies_has_failed(meshed: Shell) -> None:
    meshed.submit("sim:leave", 5)
    assert "SystemExit: 5" in meshed.mesh("result", "last", code=1).err
    meshed.submit("sim:die", 9)
    assert "SIGKILL" in meshed.mesh("result", "last", code=1).err
    assert meshed.mesh("result", "last", "--json", code=1).json["error"]["type"] == "WorkerLost"


def test_a_group(meshed: Shell, groups: dict[str, str]) -> None:
    values = [{"x": x, "seed": 0} for x in (1, 2, 3)]
    assert meshed.mesh("result", groups["good"]).out == f"{values}\n"
    rows = meshed.mesh("result", groups["good"], "--json").rows
    assert [row["value"] for row in rows] == values and rows[1]["id"] == groups["member"]
    assert meshed.mesh("result", "b").out == f"{values[1]}\n"
    assert meshed.mesh("wait", groups["good"]).out == "3 done\n"


def test_a_group_with_failed_members(meshed: Shell, groups: dict[str, str]) -> None:
    failed = meshed.mesh("result", groups["bad"], code=1)
    digest, *_ = failed.err.splitlines()
    assert digest.startswith("2 done, 1 failed: 1× TypeError sim.py:")
    assert "TypeError" in failed.err and failed.out == ""
    error = meshed.mesh("result", groups["bad"], "--json", code=1).json["error"]
    assert error["type"] == "TypeError" and error["task"] != groups["bad"]
    assert meshed.mesh("wait", groups["bad"], code=1).out == "2 done, 1 failed\n"
    skipped = meshed.mesh("result", groups["bad"], "--errors", "skip", "--json")
    assert len(skipped.rows) == 2 and digest.startswith(skipped.err.removeprefix("mesh: ").strip())


def test_not_yet_and_never(meshed: Shell) -> None:
    held = meshed.held()
    task = meshed.submit(*held.call)
    late = meshed.mesh("result", task, "--timeout", 0.2, code=5)
    assert f"{task} has not ended within 0.2 s" in late.err
    meshed.mesh("result", task, "--timeout", 0, code=5)
    held.await_begin()
    held.let_go()
    meshed.mesh("wait", task)
    assert meshed.mesh("result", task, "--timeout", 0).out == "held\n"
    for command in ("result", "logs", "wait", "cancel"):
        assert "k3f9x2m7.17" in meshed.mesh(command, "k3f9x2m7.17", code=6).err
        assert meshed.mesh(command, "nobody", "--json", code=6).json["error"] == {
            "type": "TaskNotFound",
            "message": meshed.mesh(command, "nobody", code=6).err.strip().removeprefix("error: "),
            "hint": "list what is there with `mesh tasks`; submit again what was lost",
        }


def test_logs(meshed: Shell, groups: dict[str, str]) -> None:
    task = meshed.submit("sim:run", 7)
    assert meshed.mesh("logs", task).out == "running 7\n"
    assert meshed.mesh("logs", task, "--json").json == {
        "schema": 1,
        "id": task,
        "log": "running 7\n",
    }
    meshed.submit("sim:fail", "no")
    assert meshed.mesh("logs", "last").out == "about to fail\n"
    meshed.submit("sim:scaled", 1)
    assert meshed.mesh("logs", "last").out == ""
    lines = meshed.mesh("logs", groups["good"]).out.splitlines()
    assert lines[1::2] == ["running 1", "running 2", "running 3"]
    assert lines[2] == f"== {groups['member']}"


def test_of_a_folder_without_a_mesh(meshed: Shell) -> None:
    for place in (["--dir", meshed.folder / "none"], ["--name", "test-no-such-mesh"]):
        for command in (["result", "last"], ["logs", "last"], ["tasks"]):
            assert "there is no mesh in" in meshed.mesh(*command, *place, code=3).err
    assert not (meshed.folder / "none").exists()
    folder = meshed.folder / "embedded"
    meshed.python(
        f"""
        import sim
        from mesh import Mesh
        with Mesh(dir={str(folder)!r}, slots=1) as m:
            m.options(id="one").submit(sim.run, 1)
            m.options(id="large").submit(sim.big, 100_000)
        """
    )
    there = ["--dir", folder]
    assert meshed.mesh("result", "one", *there).out == "{'x': 1, 'seed': 0}\n"
    assert len(meshed.mesh("result", "large", *there).out) == 100_001
    assert meshed.mesh("logs", "one", *there).out == "running 1\n"
    names = {
        json.loads(line)["name"]
        for line in meshed.mesh("tasks", *there, "--json").out.split("\n")
        if line
    }
    assert names == {"one", "large"}
    assert meshed.mesh("result", "two", *there, code=6).out == ""
    assert "mesh up" in meshed.mesh("workers", *there, code=3).err  # that one needs a living one


def test_what_is_kept_is_found_without_a_mesh(shell: Shell) -> None:
    up = shell.up()
    kept = ("--results", shell.work / "kept")
    printed = shell.mesh("submit", "--id", "one", *kept, "sim:big", 20_000).out
    shell.submit("--id", "two", "sim:thing")
    assert shell.mesh("wait", "two", *kept).out == "1 done\n"
    group = shell.python(
        """
        from mesh import Mesh
        with Mesh("default") as m:
            group = m.submit_many(pow, [2, 3], [2, 2])
            group.wait()
            print(group.id)
        """
    ).strip()
    assert shell.mesh("result", group, *kept).out == "[4, 9]\n"
    rows = shell.mesh("result", group, *kept, "--json").out
    failed = shell.submit("sim:fail", "no")
    shell.mesh("wait", failed, *kept, code=1)
    shell.mesh("stop")
    assert up.finish().code == 0

    shell.mesh("result", "one", code=3)
    assert shell.mesh("result", "one", *kept).out == printed == "x" * 20_000 + "\n"
    shell.mesh("result", "two", *kept, "-o", shell.work / "value")
    assert pickle.loads((shell.work / "value").read_bytes()) == {1, (2, 3)}
    assert shell.mesh("result", group, *kept, "--json").out == rows
    for unknown in (failed, "three"):
        shell.mesh("result", unknown, *kept, code=3)
