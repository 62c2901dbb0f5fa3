"""`mesh router` and `mesh worker`: the parts of a mesh."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
from shell import Command, Shell

from mesh import Mesh, QueueFull


def start_router(shell: Shell) -> tuple[Command, str]:
    router = shell.start("router", "--dir", shell.folder / "m", "--json")
    return router, json.loads(router.line())["mesh"]


def test_a_router_and_workers_make_a_mesh(shell: Shell) -> None:
    router, mesh = start_router(shell)
    worker = shell.start("worker", "--slots", 1, "--dir", shell.folder / "w1")
    assert worker.line() == f"joined mesh {mesh} with 1 slot; store {shell.folder / 'w1'}"
    other = shell.start("worker", "--slots", 2, "--dir", shell.folder / "w2", "--json")
    told = json.loads(other.line())
    assert told == {
        "schema": 1,
        "mesh": mesh,
        "pid": other.process.pid,
        "slots": 2,
        "store": str(shell.folder / "w2"),
    }
    assert shell.mesh("wait", "--slots", 3, "--timeout", 30).out == "3 slots ready\n"
    rows = shell.mesh("workers", "--json").rows
    pids = {row["pid"] for row in rows if not row["home"]}  # beside the router's own
    assert (pids, len(rows)) == ({worker.process.pid, other.process.pid}, 3)
    assert shell.mesh("submit", "--wait", "sim:big", 50_000).out.strip() == "x" * 50_000
    shell.mesh("stop")
    for part in (router, worker, other):
        assert part.finish().code == 0


def test_a_worker_says_how_long_it_stays_and_who_says_how_many_slots_it_has(shell: Shell) -> None:
    router, _ = start_router(shell)
    allocation = {"MPI_LOCALNRANKS": "1000", "SLURM_JOB_ID": "7", "SLURM_JOB_END_TIME": "1"}
    worker = shell.start("worker", "--dir", shell.folder / "w1", **allocation)
    assert "that is not minded" in worker.line("err")
    worker.line()
    other = shell.start(
        "worker", "--slots", 1, "--time-limit", "1-02:00:00", "--dir", shell.folder / "w2"
    )
    told = "ends in 26 h 0 min, says --time-limit: it leaves 1 min 0 s before"
    assert told in other.line("err")
    other.line()
    shell.mesh("wait", "--slots", 2)
    lines = shell.mesh("workers").out.splitlines()
    assert sum("1 by MPI_LOCALNRANKS" in line for line in lines) == 1
    assert sum("25 h 59 min" in line for line in lines) == 1
    assert "the time of 1 worker ends, of the first in 25 h 59 min" in shell.mesh("status").out
    refused = shell.mesh("worker", "--time-limit", "soon", code=2)
    assert "'soon' is no duration: give 90, 5m, 12h, 30d or 01:00:00" in refused.err
    shell.mesh("stop")
    for part in (router, worker, other):
        assert part.finish().code == 0


def test_ctrl_c_of_a_worker_is_a_drain(shell: Shell) -> None:
    router, _ = start_router(shell)
    worker = shell.start("worker", "--slots", 1, "--dir", shell.folder / "w1")
    worker.line()
    held = shell.held()
    task = shell.submit(*held.call)
    held.await_begin()
    worker.send(signal.SIGINT)
    held.let_go()
    assert worker.finish().code == 0
    assert shell.mesh("result", task).out == "held\n"
    router.send(signal.SIGTERM)
    assert router.finish().code == 0


def test_a_worker_without_a_router_gives_up(shell: Shell) -> None:
    shell.mesh("worker", code=3)  # not even an access file
    router, _ = start_router(shell)
    shell.kill_all()
    router.finish()
    options = ["--slots", 1, "--dir", shell.folder / "w", "--router-timeout", 0.5]
    lost = shell.mesh("worker", *options, code=3)
    assert "no router answered" in lost.err and "joined" not in lost.out
    lost = shell.mesh("worker", *options, "--json", code=3)
    assert lost.json["error"]["type"] == "RouterUnreachable"


def test_a_worker_leaves_some_time_after_its_router(shell: Shell) -> None:
    router, _ = start_router(shell)
    worker = shell.start("worker", "--slots", 1, "--dir", shell.folder / "w", "--router-timeout", 2)
    worker.line()
    router.send(signal.SIGKILL)
    router.finish()
    assert worker.finish().code == 3


def test_a_worker_waits_for_a_router_that_comes_back(shell: Shell) -> None:
    router, mesh = start_router(shell)
    worker = shell.start("worker", "--slots", 1, "--dir", shell.folder / "w")
    worker.line()
    router.send(signal.SIGKILL)
    router.finish()
    router, again = start_router(shell)
    assert again == mesh
    assert shell.mesh("submit", "--wait", "sim:scaled", 4).out == "40\n"
    shell.mesh("stop")
    assert worker.finish().code == router.finish().code == 0


def test_each_worker_has_a_folder_of_its_own_and_the_next_one_takes_it_over(shell: Shell) -> None:
    router, mesh = start_router(shell)
    root = Path(f"/var/tmp/mesh-{os.getuid()}") / mesh
    try:
        workers = [shell.start("worker", "--slots", 0, "--json") for _ in range(3)]
        stores = [json.loads(worker.line())["store"] for worker in workers]
        assert len(set(stores)) == 3 and {Path(store).parent for store in stores} == {root}
        workers[1].send(signal.SIGTERM)
        assert workers[1].finish().code == 0
        again = shell.start("worker", "--slots", 0, "--json")
        assert json.loads(again.line())["store"] == stores[1]
        shell.mesh("stop")
        for each in (router, workers[0], workers[2], again):
            assert each.finish().code == 0
    finally:
        shutil.rmtree(root, ignore_errors=True)


def test_a_worker_whose_folder_is_taken_says_so(shell: Shell) -> None:
    router, _ = start_router(shell)
    worker = shell.start("worker", "--slots", 0, "--dir", shell.folder / "w")
    worker.line()
    refused = shell.mesh("worker", "--slots", 0, "--dir", shell.folder / "w", code=1)
    assert f"in use by process {worker.process.pid}" in refused.err
    shell.mesh("stop")
    assert worker.finish().code == router.finish().code == 0


def test_a_router_that_runs_alone_keeps_what_is_put(shell: Shell) -> None:
    router, _ = start_router(shell)
    access = shell.folder / "m" / "access.json"
    with Mesh(access=access) as m:
        future = m.put(bytes(300_000))
        [home] = m.status()["workers"]
        os.kill(home["pid"], signal.SIGKILL)  # another is started
        assert len(future.result(30)) == 300_000
        assert m.put(bytes(400_000)).done()
        m.stop()
    assert router.finish().code == 0


def test_without_a_home_worker_who_puts_waits_and_is_told(shell: Shell, capfd: Any) -> None:
    router = shell.start("router", "--dir", shell.folder / "m", "--no-home")
    router.line()
    access = shell.folder / "m" / "access.json"
    with Mesh(access=access, router_timeout=4.0) as m:
        with pytest.raises(QueueFull, match="has taken nothing for 4 s: it has no home worker"):
            m.put(bytes(300_000))
        assert "a large object waits" in capfd.readouterr().err
        assert m.put(7).result(20) == 7
        worker = shell.start("worker", "--slots", 1, "--dir", shell.folder / "w", "--home")
        assert m.submit(len, bytes(300_000)).result(30) == 300_000
        m.stop()
    assert worker.finish().code == router.finish().code == 0


def test_a_worker_that_is_connected_or_unknown_is_not_forgotten(shell: Shell) -> None:
    shell.up()
    [worker] = shell.mesh("workers", "--json").rows

    done = shell.mesh("workers", "forget", worker["id"], "nosuchid", code=1)

    assert done.out == ""
    assert f"{worker['id']}: not forgotten, it is connected: end it first" in done.err
    assert "nosuchid: no worker that was ever here" in done.err
    told = shell.mesh("workers", "forget", worker["id"], "--json", code=1).json
    assert told["workers"] == {worker["id"]: "live"}
    shell.mesh("stop")
