"""Inputs go from the worker that holds them to the worker that takes them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sample_tasks as tasks
from leftovers import Leftovers
from scripts import another_worker

from mesh import Mesh


@pytest.fixture
def pair(tmp_path: Path, nothing_left_behind: Leftovers) -> Iterator[Mesh]:
    """Two workers of one slot each, whose stores are on one file system."""
    folder = tmp_path / "mesh"
    with Mesh(dir=folder, slots=1) as mesh, another_worker(folder, tmp_path / "other", 1):
        mesh.wait_for_slots(2, 20)
        yield mesh


@pytest.fixture
def apart(tmp_path: Path, nothing_left_behind: Leftovers) -> Iterator[Mesh]:
    """The same, on two file systems: nothing can be linked."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as elsewhere:
        if os.stat(elsewhere).st_dev == os.stat(tmp_path).st_dev:
            pytest.skip("/dev/shm is no file system of its own")
        folder, other = tmp_path / "mesh", Path(elsewhere) / "other"
        with Mesh(dir=folder, slots=1) as mesh, another_worker(folder, other, 1):
            mesh.wait_for_slots(2, 20)
            yield mesh


def made(count: int) -> tuple[int, Any]:
    return os.getppid(), np.arange(count)


def made_and_held(count: int, begun: str, gate: str) -> tuple[int, Any]:
    tasks.say_and_hold(begun, gate)
    return made(count)


def summed(*given: tuple[int, Any]) -> tuple[int, list[int], list[int]]:
    """The worker, those of the inputs, and their sums."""
    return os.getppid(), [pid for pid, _ in given], [int(array.sum()) for _, array in given]


@contextmanager
def worker_on_another_host(
    access: Path, folder: Path, name: str, *options: object
) -> Iterator[subprocess.Popen[bytes]]:
    """A worker of one slot under another host's name: what it serves over ipc nobody uses."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("takes a user who may name hosts, and unshare")
    into = ["unshare", "--uts", "sh", "-c", f'hostname {name} && exec "$@"', "sh"]
    with another_worker(access, folder, 1, *options, into=into) as process:
        yield process


@pytest.fixture(params=["direct", "relayed"])
def hosts(request: Any, tmp_path: Path, nothing_left_behind: Leftovers) -> Iterator[Mesh]:
    """Two workers on two hosts, which reach each other over TCP, or not at all."""
    port = 0 if request.param == "direct" else "off"
    folder = tmp_path / "mesh"
    with (
        Mesh(dir=folder, slots=0, listen="tcp://127.0.0.1:*") as mesh,
        worker_on_another_host(folder, tmp_path / "one", "one", "--data-port", port),
        worker_on_another_host(folder, tmp_path / "two", "two", "--data-port", port),
    ):
        mesh.wait_for_slots(2, 20)
        yield mesh


def both_make(mesh: Mesh, count: int, tmp_path: Path) -> list[Any]:
    """Two results, one with each worker."""
    pipes = [tasks.pipe_at(tmp_path / f"{each}-{len(os.listdir(tmp_path))}") for each in "bgcf"]
    futures = [mesh.submit(made_and_held, count, *pipes[:2])]
    tasks.heard_at(pipes[0])
    futures.append(mesh.submit(made_and_held, count, *pipes[2:]))
    tasks.heard_at(pipes[2])
    for gate in (pipes[1], pipes[3]):
        tasks.let_go(gate)
    return futures


def check_sum(mesh: Mesh, futures: list[Any], count: int) -> None:
    """A task takes them all."""
    here, makers, sums = mesh.submit(summed, *futures).result(30)
    assert sums == [count * (count - 1) // 2] * len(futures)
    assert len(set(makers)) == 2 and here in makers


def test_an_input_is_linked_where_it_can_be(pair: Mesh, tmp_path: Path) -> None:
    count = 1_000_000
    futures = both_make(pair, count, tmp_path)
    check_sum(pair, futures, count)
    files = [
        each.stat().st_ino
        for store in (tmp_path / "mesh" / "worker", tmp_path / "other")
        for each in (store / "content").rglob("*")
        if each.is_file()
    ]
    assert (len(files), len(set(files))) == (3, 2)


def test_an_input_comes_in_chunks_where_it_cannot_be_linked(apart: Mesh, tmp_path: Path) -> None:
    count = 1_000_000
    check_sum(apart, both_make(apart, count, tmp_path), count)


def test_an_input_comes_once_however_many_take_it(apart: Mesh, tmp_path: Path) -> None:
    futures = both_make(apart, 10_000, tmp_path)
    group = apart.submit_many(summed, [futures[0]] * 50, [futures[1]] * 50)
    assert {tuple(sums) for _, _, sums in group.results(timeout=30)} == {(49995000, 49995000)}


def test_many_inputs_at_once(apart: Mesh) -> None:
    group = apart.submit_many(made, [50_000] * 40)
    _, _, sums = apart.submit(summed, *group).result(30)
    assert sums == [50_000 * 49_999 // 2] * 40


def test_what_is_put_while_inputs_come_is_taken_in(pair: Mesh, tmp_path: Path) -> None:
    """The home worker stands still until it is to do both at once."""
    futures = both_make(pair, 10_000, tmp_path)
    [home] = [worker for worker in pair.status()["workers"] if worker["home"]]
    with Mesh(access=pair.folder) as other, ThreadPoolExecutor() as threads:
        os.kill(home["pid"], signal.SIGSTOP)
        try:
            put = threads.submit(other.put, bytes(100_000))
            while "put" not in str(list((tmp_path / "mesh" / "worker" / "incoming").iterdir())):
                pair.status()  # takes a moment
            other.status()  # it passes the put, which the worker has been told of by then
            group = pair.submit_many(summed, [futures[0]] * 50, [futures[1]] * 50)
            while not held_by(pair, home["id"]):
                pass
        finally:
            os.kill(home["pid"], signal.SIGCONT)
        assert put.result(20).result(20) == bytes(100_000)
    assert len(group.results(timeout=30)) == 50
    assert home["pid"] in [worker["pid"] for worker in pair.status()["workers"]]


def held_by(mesh: Mesh, id: str) -> int:
    """How many tasks a worker has been given."""
    return sum(worker["held"] for worker in mesh.status()["workers"] if worker["id"] == id)


def test_an_input_comes_from_another_host(hosts: Mesh, tmp_path: Path, request: Any) -> None:
    count = 1_000_000
    check_sum(hosts, both_make(hosts, count, tmp_path), count)
    way = request.node.callspec.params["hosts"]
    counts = [worker["fetched"] for worker in until_reported(hosts)]
    assert sum(each[way]["count"] for each in counts) == 1
    assert sum(each["local"]["count"] for each in counts) == 0


def until_reported(mesh: Mesh) -> list[dict[str, Any]]:
    """The workers, once one of them has said that it has fetched something: each report that is
    newer wakes nobody, so it is asked again after each task."""
    while True:
        workers: list[dict[str, Any]] = mesh.status()["workers"]
        if any(way["count"] for each in workers for way in (each["fetched"] or {}).values()):
            return workers
        mesh.submit(tasks.nap, 0.05).result(20)


def test_a_task_waits_for_the_worker_that_has_its_input(tmp_path: Path) -> None:
    folder, other = tmp_path / "mesh", tmp_path / "other"
    settings = {"heartbeat_s": 0.2, "lost_after_s": 1.0}
    with Mesh(dir=folder, slots=0, settings=settings) as mesh:
        with another_worker(folder, other, 1) as holder:
            made_there = mesh.submit(made, 100_000)
            assert made_there.wait(20)
            holder.kill()
            holder.wait()
            while any(each["connected"] and each["slots"] for each in mesh.status()["workers"]):
                pass  # the router has not been told yet
        with another_worker(folder, tmp_path / "third", 1):
            takes = mesh.submit(summed, made_there)
            assert mesh.submit(tasks.pid).wait(20), "others run"
            story = takes.explain()
            assert "holds an input of it: that store's worker is away" in str(story)
            with another_worker(folder, other, 0):
                _, makers, sums = takes.result(20)
    assert (makers, sums) == ([holder.pid], [100_000 * 99_999 // 2])
