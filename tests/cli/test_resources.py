"""Two workers that have different things, tasks that ask for them, and one that nobody can run."""

from __future__ import annotations

from shell import Shell


def launch(shell: Shell, slots: int, resource: str) -> None:
    option = f"--worker-option=--resource={resource}"
    shell.mesh("launch", "local", "--slots", slots, option)


def test_a_task_runs_where_is_what_it_asks_for(shell: Shell) -> None:
    up = shell.up("--slots", 0)
    launch(shell, 1, "gpu=2")
    launch(shell, 3, "license=1")
    rows = shell.mesh("workers", "--json").rows
    (with_gpus,) = (row["id"] for row in rows if "gpu" in row["resources"])
    (with_cpus,) = (row["id"] for row in rows if "license" in row["resources"])
    for asked, where in (
        (["--resource", "gpu=2"], with_gpus),
        (["--resource", "license=1"], with_cpus),
        (["--cpus", 3], with_cpus),
    ):
        task = shell.submit(*asked, "os:getenv", "CUDA_VISIBLE_DEVICES")
        shell.mesh("wait", task)
        (ran,) = shell.mesh("explain", task, "--json").json["runs"]
        assert ran["worker"] == where
        if where == with_gpus:
            assert shell.mesh("result", task).out.strip() == "0,1"

    # Nobody has three: who waits is told so once, by name, and has its result when somebody has.
    waits = shell.start("submit", "--wait", "--resource", "gpu=3", "sim:scaled", 4)
    task = waits.line("err")
    told = waits.line("err")
    assert "none of 2 has that" in told and "has 2 of gpu=3" in told and "has 0 of gpu=3" in told
    assert told.index("has 2") < told.index("has 0"), "the nearest first"
    assert "has 2 of gpu=3" in shell.mesh("explain", task).out
    launch(shell, 1, "gpu=3")
    done = waits.finish()
    assert (done.code, done.out, done.err) == (0, "40\n", "")
    shell.mesh("stop")
    assert up.finish().code == 0
