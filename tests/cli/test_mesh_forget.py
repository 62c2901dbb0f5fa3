"""`mesh forget`, `mesh prune`: history that goes before its time."""

from __future__ import annotations

from shell import Shell


def test_what_is_forgotten_is_gone_with_its_file_and_its_alias_is_free(shell: Shell) -> None:
    up = shell.up()
    task = shell.submit("--id", "large", "sim:big", 100_000)
    shell.mesh("wait", task)
    contents = shell.folder / "m/worker/content"
    assert list(contents.glob("??/*"))

    assert shell.mesh("forget", "large").out == "forgot 1 task\n"

    for gone in (task, "large"):
        shell.mesh("result", gone, code=6)
        shell.mesh("explain", gone, code=6)
        shell.mesh("forget", gone, code=6)
    while list(contents.glob("??/*")):  # its worker is told
        shell.mesh("status")
    again = shell.submit("--id", "large", "sim:scaled", 2)
    assert again != task and shell.mesh("result", "large").out == "20\n"
    shell.mesh("stop")
    assert up.finish().code == 0


def test_what_goes_on_stays_and_that_is_told(meshed: Shell) -> None:
    held = meshed.held()
    running = meshed.submit(*held.call)
    held.await_begin()
    done = meshed.submit("sim:scaled", 1)
    meshed.mesh("wait", done)

    told = meshed.mesh("forget", running, done, "nobody", code=6)
    assert told.out == "forgot 1 task\n" and "nobody" in told.err
    told = meshed.mesh("forget", running, "--json", code=1)
    assert told.json == {"schema": 1, "forgotten": 0, "open": 1, "needed": 0}
    held.let_go()
    meshed.mesh("wait", running)
    assert meshed.mesh("forget", running).code == 0


def test_a_group_is_forgotten_by_who_made_it(meshed: Shell) -> None:
    printed = meshed.python(
        """
        from mesh import Mesh, TaskNotFound
        with Mesh("default") as m:
            group = m.submit_many(pow, range(1000), [2] * 1000)
            group.wait()
            print(m.forget(group.id))
            for gone in (group.id, group[7].id):
                try:
                    print(m.result(gone))
                except TaskNotFound:
                    print("gone")
            print(m.submit(pow, 2, 5).result())
        """
    )
    tally, *rest = printed.splitlines()
    assert tally == str({"forgotten": 1000, "open": 0, "needed": 0})
    assert rest == ["gone", "gone", "32"]


def test_what_is_old_is_pruned_or_only_told(meshed: Shell) -> None:
    task = meshed.submit("sim:scaled", 1)
    meshed.mesh("wait", task)
    assert meshed.mesh("prune", "--dry-run").out == "would forget 0 tasks, 0 B with workers\n"
    told = meshed.mesh("prune", "--older-than", "1h", "--json").json
    assert told == {"schema": 1, "tasks": 0, "stored_bytes": 0, "kept": 0, "dry_run": False}
    assert meshed.mesh("result", task).code == 0
    meshed.mesh("prune", "--older-than", "soon", code=2)


def test_a_folder_without_a_mesh(shell: Shell) -> None:
    up = shell.up()
    task = shell.submit("sim:scaled", 1)
    shell.mesh("wait", task)
    shell.mesh("stop")
    assert up.finish().code == 0

    there = ("--dir", shell.folder / "m")
    assert shell.mesh("forget", task, *there).out == "forgot 1 task\n"
    shell.mesh("forget", task, *there, code=6)
