"""`mesh explain`: what became of a task so far, and what it waits for."""

from __future__ import annotations

import json
import re

from shell import Shell


def test_a_task_that_failed_tells_each_run(meshed: Shell) -> None:
    meshed.submit("--retries", "2", "--id", "my own", "sim:fail", "bad")
    meshed.mesh("wait", "last", code=1)

    told = meshed.mesh("explain", "my own")

    head, submitted, *runs = told.out.splitlines()
    assert re.fullmatch(r"\w{8}\.\d+ 'my own' sim:fail: failed", head)
    assert "retries=2" in submitted
    assert len(runs) == 3 and all("raised ValueError: " in run for run in runs)

    story = json.loads(meshed.mesh("explain", "my own", "--json").out)
    assert [run["how"] for run in story["runs"]] == ["error"] * 3
    leases = [run["lease"] for run in story["runs"]]
    assert leases == sorted(set(leases)), "each run has a lease of its own"
    assert all(run["host"] and run["worker"] and run["took_s"] > 0 for run in story["runs"])
    assert all(story["submitted_at"] <= run["begun_at"] for run in story["runs"])


def test_one_that_waits_says_for_what(shell: Shell) -> None:
    up = shell.up("--slots", "0")
    task = shell.submit("sim:scaled", 4)

    assert "waits for a worker with a slot: the mesh has none" in shell.mesh("explain", task).out

    shell.mesh("stop")
    assert up.finish().code == 0
    assert ": queued" in shell.mesh("explain", task, "--dir", shell.folder / "m").out


def test_of_a_group_it_tells_the_states_of_its_members(meshed: Shell) -> None:
    group = meshed.python(
        """
        from mesh import Mesh
        import sim
        with Mesh("default") as mesh:
            group = mesh.submit_many(sim.scaled, [1, 2, None], name="sweep")
            group.wait()
            print(group.id)
        """
    ).strip()
    session, _, number = group.partition(".")

    head, cause, member = meshed.mesh("explain", group).out.splitlines()
    assert cause == f"  1× TypeError sim.py:12 (e.g. {session}.{int(number) + 3})"
    assert head == f"{group} 'sweep', a group of 3: 2 done, 1 failed"
    assert member.endswith(f"mesh explain {session}.{int(number) + 3}"), "the one that failed"
    tasks = meshed.mesh("explain", group, "--json").json["tasks"]
    assert (tasks["done"], tasks["failed"], sum(tasks.values())) == (2, 1, 3)


def test_who_is_not_there(meshed: Shell) -> None:
    meshed.mesh("explain", "nobody.17", code=6)
