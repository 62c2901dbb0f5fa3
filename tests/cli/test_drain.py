"""The end of a mesh and of its parts: what runs has a time to end, and nothing is lost."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
from shell import Command, Held, Shell

#: Tasks in a queue that somebody works on while the mesh is stopped.
LOAD = 40


def parts(shell: Shell, *options: object) -> tuple[Command, Command]:
    """A router and a worker with two slots, both with these options."""
    router = shell.start("router", "--dir", shell.folder / "m", *options)
    router.line()
    router.line()
    return router, worker_of(shell, "w1", *options)


def worker_of(shell: Shell, name: str, *options: object) -> Command:
    """Another worker with two slots."""
    worker = shell.start("worker", "--slots", 2, "--dir", shell.folder / name, *options)
    worker.line()
    return worker


def has_run(shell: Shell, task: str) -> None:
    """The task has its value, and neither its worker's end nor its own interrupt is told of it."""
    assert shell.mesh("result", task).out == "held\n"
    (row,) = [row for row in shell.mesh("tasks", "--json").rows if row["id"] == task]
    assert row["state"] == "done"


def runs_again(shell: Shell, held: Held, task: str) -> None:
    """A mesh that is started on the folder runs what was given back."""
    again = shell.up()
    held.await_begin()
    held.let_go()
    has_run(shell, task)
    shell.mesh("stop")
    assert again.finish().code == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_a_worker_does_not_end_in_time_runs_elsewhere(shell: Shell, number: int) -> None:
    router, worker = parts(shell)
    leaving = worker_of(shell, "w2", "--drain-timeout", 0.3)
    worker.send(signal.SIGTERM)
    assert worker.finish().code == 0
    held = shell.held()
    task = shell.submit(*held.call)
    held.await_begin()
    worker = worker_of(shell, "w3")

    leaving.send(number)
    assert leaving.finish().code == 0
    held.await_begin()
    held.let_go()

    has_run(shell, task)
    shell.mesh("stop")
    assert router.finish().code == worker.finish().code == 0


def test_a_second_signal_ends_a_worker_now(shell: Shell) -> None:
    router, worker = parts(shell, "--drain-timeout", "inf")
    held = shell.held()
    task = shell.submit(*held.call)
    held.await_begin()
    worker.send(signal.SIGTERM)
    worker.send(signal.SIGINT)
    assert worker.finish().code == 0

    worker = worker_of(shell, "w1")
    held.await_begin()
    held.let_go()
    has_run(shell, task)
    shell.mesh("stop")
    assert router.finish().code == worker.finish().code == 0


def test_sigterm_to_all_processes_of_a_job_is_a_drain(shell: Shell) -> None:
    up = shell.up()
    held = shell.held()
    task = shell.submit(*held.call)
    held.await_begin()

    for pid in shell.processes():
        os.kill(pid, signal.SIGTERM)
    assert "25 s at most" in up.line("err")
    held.let_go()

    assert up.finish().code == 0
    assert shell.mesh("result", task, "--dir", shell.folder / "m").out == "held\n"


def test_a_router_gives_what_runs_its_time(shell: Shell) -> None:
    router, worker = parts(shell, "--drain-timeout", 0.3)
    held = shell.held()
    task = shell.submit(*held.call)
    held.await_begin()
    router.send(signal.SIGTERM)
    assert router.finish().code == worker.finish().code == 0
    runs_again(shell, held, task)


def test_a_second_signal_ends_a_router_now(shell: Shell) -> None:
    router, worker = parts(shell, "--drain-timeout", "inf")
    held = shell.held()
    task = shell.submit(*held.call)
    held.await_begin()
    router.send(signal.SIGINT)
    router.send(signal.SIGTERM)
    assert router.finish().code == worker.finish().code == 0
    runs_again(shell, held, task)


@pytest.mark.parametrize(
    ("number", "daemon"),
    [(signal.SIGTERM, False), (signal.SIGINT, False), (signal.SIGTERM, True)],
)
def test_up_gives_what_runs_its_time(shell: Shell, number: int, daemon: bool) -> None:
    if daemon:
        options = ["--slots", 1, "--dir", shell.folder / "m", "--drain-timeout", 0.3]
        pid = shell.mesh("up", *options, "--daemon", "--json").json["pid"]
    else:
        up = shell.up("--drain-timeout", 0.3)
        pid = up.process.pid
    held = shell.held()
    task = shell.submit(*held.call)
    held.await_begin()
    os.kill(pid, number)
    if not daemon:
        assert "0.3 s at most" in up.line("err")
        assert up.finish().code == 0
    assert shell.left() == []
    runs_again(shell, held, task)


def test_stop_gives_what_runs_its_time(shell: Shell) -> None:
    up, held = shell.up(), shell.held()
    task = shell.submit(*held.call)
    held.await_begin()
    stopped = shell.mesh("stop", "--drain-timeout", 0.3)
    assert "waiting for 1 running task, 0.3 s at most" in stopped.err
    assert up.finish().code == 0
    runs_again(shell, held, task)


def test_what_is_interrupted_may_clean_up(shell: Shell) -> None:
    up = shell.up()
    begun, trace = shell.work / "begun", shell.work / "trace"
    os.mkfifo(begun)
    shell.submit("sim:clean_up", begun, trace)
    begun.read_text()
    shell.mesh("stop", "--drain-timeout", 0.1)
    assert up.finish().code == 0
    assert trace.read_text() == "interrupted"


SWEEP = """
    from mesh import Mesh
    import sim, sys
    with Mesh(dir=sys.argv[1]) as m:
        group = m.submit_many(sim.note, [sys.argv[2]] * {load}, range({load}), ids=[
            f"note-{{i}}" for i in range({load})])
        m.flush()
        m.detach() if {detach} else print(sorted(group.results()))
"""


@pytest.mark.parametrize(
    ("whom", "twice"),
    [("worker", False), ("router", False), ("up", False), ("worker", True), ("up", True)],
)
def test_a_stop_under_load_loses_nothing_and_runs_nothing_twice_that_ended(
    shell: Shell, whom: str, twice: bool
) -> None:
    notes = shell.work / "notes"
    notes.mkdir()
    if whom == "up":
        target = shell.up("--drain-timeout", 30)
        others = []
    else:
        router, worker = parts(shell, "--drain-timeout", 30)
        target, others = (router, [worker]) if whom == "router" else (worker, [router])
    sweep(shell, notes, detach=True)
    target.send(signal.SIGTERM)
    if twice:
        target.send(signal.SIGTERM)
    assert target.finish().code in (0, 130)
    if whom == "worker":
        router.send(signal.SIGTERM)
    for each in others:
        assert each.finish().code == 0

    ended = {
        row["id"]
        for row in shell.mesh(
            "tasks", "--dir", shell.folder / "m", "--state", "done", "--json"
        ).rows
    }
    before = runs(notes)
    up = shell.up()
    assert json.loads(sweep(shell, notes, detach=False)) == list(range(LOAD))
    shell.mesh("stop")
    assert up.finish().code == 0
    after = runs(notes)
    assert after.keys() == {str(i) for i in range(LOAD)}
    if not twice:
        assert set(after.values()) == {1}, "what had begun ended, and what had not began once"
        assert len(ended) == len(before)


def sweep(shell: Shell, notes: Path, *, detach: bool) -> str:
    """Submit the load to the mesh that is up; leave it, or print what came of it."""
    source = SWEEP.format(load=LOAD, detach=detach)
    return shell.python(source, shell.folder / "m", notes)


def runs(notes: Path) -> dict[str, int]:
    """How often each was run."""
    return {path.name: path.stat().st_size for path in notes.iterdir()}
