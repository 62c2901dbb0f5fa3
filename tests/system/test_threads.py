"""Slots of threads: several tasks at once in one process, and what they have of their own."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sample_tasks as tasks
from leftovers import Leftovers

import mesh as mesh_package
from mesh import Mesh, TaskTimeout, WorkerLost


@pytest.fixture
def threaded(nothing_left_behind: Leftovers) -> Iterator[Mesh]:
    """A mesh of one process with four threads."""
    with Mesh(slots=1, threads=4) as m:
        yield m


class Held:
    """So many tasks that have begun, and wait."""

    def __init__(self, mesh: Mesh, folder: Path, count: int) -> None:
        self.gates = [tasks.pipe_at(folder / f"gate{i}") for i in range(count)]
        begun = [tasks.pipe_at(folder / f"begun{i}") for i in range(count)]
        self.group = mesh.submit_many(tasks.say_and_hold, begun, self.gates, range(count))
        self.pids = {tasks.heard_at(pipe) for pipe in begun}

    def end(self) -> list[int]:
        for gate in self.gates:
            tasks.let_go(gate)
        return self.group.results(timeout=20)


def test_a_process_runs_several_tasks_at_once(threaded: Mesh, tmp_path: Path) -> None:
    assert threaded.wait_for_slots(4, 20) == 4
    held = Held(threaded, tmp_path, 4)
    assert len(held.pids) == 1
    slots = threaded.status()["workers"][0]["slots"]
    assert len(slots) == 4
    assert held.end() == [0, 1, 2, 3]


async def meet(value: int) -> int:
    """Ends when two of them are there."""
    here = vars(asyncio.get_running_loop()).setdefault("here", [])
    here.append(value)
    while len(here) < 2:
        await asyncio.sleep(0.001)
    return os.getpid()


def test_coroutines_share_one_loop(threaded: Mesh) -> None:
    pids = threaded.submit_many(meet, range(2)).results(timeout=20)
    assert len(set(pids)) == 1


def speak(name: str, begun: str, gate: str) -> tuple[str, int | None]:
    print(f"{name} begins")
    tasks.say_and_hold(begun, gate)
    other = threading.Thread(target=print, args=[f"{name} in a thread"])
    other.start()
    other.join()
    print(f"{name} ends", file=sys.stderr)
    return mesh_package.current().id, mesh_package.current().index


def test_each_has_its_own_output_and_knows_itself(threaded: Mesh, tmp_path: Path) -> None:
    begun = [tasks.pipe_at(tmp_path / f"begun{i}") for i in range(2)]
    gates = [tasks.pipe_at(tmp_path / f"gate{i}") for i in range(2)]
    group = threaded.submit_many(speak, "ab", begun, gates)
    for pipe in begun:
        tasks.heard_at(pipe)
    for gate in gates:
        tasks.let_go(gate)
    assert group.results(timeout=20) == [(group[0].id, 0), (group[1].id, 1)]
    for name, future in zip("ab", group):
        assert future.logs() == f"{name} begins\n{name} in a thread\n{name} ends\n"


def spin(begun: str, trace: str) -> None:
    try:
        with open(begun, "w"):
            pass
        while True:
            time.sleep(0.001)
    except KeyboardInterrupt:
        with open(trace, "w") as said:
            said.write("clean")
        raise


async def wait_for_ever(begun: str, trace: str) -> None:
    try:
        with open(begun, "w"):
            pass
        await asyncio.sleep(600)
    except asyncio.CancelledError:
        await asyncio.sleep(0)
        with open(trace, "w") as said:
            said.write("clean")
        raise


@pytest.mark.parametrize("endless", [spin, wait_for_ever])
def test_one_is_interrupted_and_its_neighbours_go_on(
    threaded: Mesh, tmp_path: Path, endless: object
) -> None:
    held = Held(threaded, tmp_path, 2)
    begun, trace = tasks.pipe_at(tmp_path / "begun"), tasks.pipe_at(tmp_path / "trace")
    future = threaded.submit(endless, begun, trace)  # type: ignore[arg-type]
    tasks.heard_at(begun)
    assert threaded.cancel(future.id) == 1
    assert tasks.heard_at(trace) == "clean"
    assert threaded.submit(tasks.pid).result(20) == int(*held.pids), "the process lives"
    assert held.end() == [0, 1]


def run_command(begun: str) -> None:
    subprocess.run(["sh", "-c", f"echo > {begun}; exec sleep 600"], check=True)


def test_a_command_is_interrupted_with_the_task_that_waits_for_it(
    threaded: Mesh, tmp_path: Path
) -> None:
    held, begun = Held(threaded, tmp_path, 2), tasks.pipe_at(tmp_path / "begun")
    future = threaded.submit(run_command, begun)
    tasks.heard_at(begun)
    assert threaded.cancel(future.id) == 1
    (tmp_path / "more").mkdir()
    more = Held(threaded, tmp_path / "more", 2)  # all four threads are needed for these
    assert more.pids == held.pids, "the process lives"
    assert held.end() == more.end() == [0, 1]


def sleep_with_neighbours(folder: str, name: str) -> str:
    tasks.note(folder, name)
    while not Path(folder, "stopped").exists():
        time.sleep(0.001)
    return name


def test_what_nothing_interrupts_is_ended_with_the_process_and_neighbours_run_again(
    threaded: Mesh, tmp_path: Path
) -> None:
    neighbours = threaded.options(retries=0).submit_many(
        sleep_with_neighbours, [str(tmp_path)] * 2, "ab"
    )
    with pytest.raises(TaskTimeout):
        threaded.options(time_limit=1).submit(time.sleep, 600).result(20)
    (tmp_path / "stopped").touch()
    assert neighbours.results(timeout=20) == ["a", "b"]
    assert all(count == 2 for name, count in tasks.runs(tmp_path).items() if name in "ab")


def test_who_kills_the_process_is_found_and_its_neighbours_are_not_blamed(
    threaded: Mesh, tmp_path: Path
) -> None:
    naps = threaded.submit_many(tasks.nap, [0.3] * 6, range(6))
    bad = threaded.submit(tasks.exit_at_once)
    with pytest.raises(WorkerLost, match="exited with code 3"):
        bad.result(25)
    assert naps.results(timeout=20) == list(range(6))


def seen(folder: str, name: str) -> tuple[str | None, str]:
    tasks.note(folder, name)
    return os.environ.get("SHADE"), os.getcwd()


def test_tasks_of_other_surroundings_take_turns(threaded: Mesh, tmp_path: Path) -> None:
    calls = [
        threaded.options(env={"SHADE": shade}, cwd=folder).submit(seen, str(tmp_path), shade)
        for shade in ("red", "blue", "green")
        for folder in ("/", str(tmp_path))
        for _ in range(5)
    ]
    assert [future.result(20) for future in calls] == [
        (shade, folder)
        for shade in ("red", "blue", "green")
        for folder in ("/", str(tmp_path))
        for _ in range(5)
    ]
    assert threaded.submit(os.environ.get, "SHADE").result(20) is None
    with pytest.raises(FileNotFoundError):
        threaded.options(cwd="/no/such").submit(tasks.pid).result(20)


def test_after_some_tasks_another_process_takes_the_place(nothing_left_behind: Leftovers) -> None:
    with Mesh(slots=1, threads=2, max_tasks_per_child=4) as m:
        pids = m.submit_many(tasks.pid_of_slot, range(12)).results(timeout=25)
    assert len(set(pids)) == 3
