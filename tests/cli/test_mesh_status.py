"""`mesh status`, `mesh tasks`, `mesh workers`: looking at a mesh."""

from __future__ import annotations

import os
import socket

import pytest
from shell import Shell

from mesh.cli.lines import print_table
from mesh.options import show_seconds
from mesh.task import State


def test_status_for_programs(meshed: Shell) -> None:
    status = meshed.mesh("status", "--json").json
    assert status["schema"] == 1 and len(status["mesh"]) == 8
    router = status["router"]
    assert set(router) >= {"pid", "epoch", "address", "uptime_s", "memory_bytes"}
    os.kill(router["pid"], 0)
    assert router["epoch"] == 1 and router["uptime_s"] > 0 and router["memory_bytes"] > 1_000_000
    (worker,) = status["workers"]
    assert set(worker) >= {"id", "host", "pid", "incarnation", "slots", "last_seen_s"}
    assert worker["host"] == socket.gethostname()
    assert [set(slot) for slot in worker["slots"]] == [{"pid", "task"}] * 2
    assert list(status["tasks"]) == [state.word for state in State]


def test_status_counts(meshed: Shell) -> None:
    before = meshed.mesh("status", "--json").json["tasks"]
    held = [meshed.held() for _ in range(2)]
    tasks = [meshed.submit(*each.call) for each in held]
    for each in held:
        each.await_begin()
    meshed.submit("sim:scaled", 1)
    status = meshed.mesh("status", "--json").json
    assert status["tasks"]["running"] == 2 and status["tasks"]["queued"] == 1
    for each in held:
        each.let_go()
    meshed.mesh("wait")
    assert meshed.mesh("wait", *tasks).code == 0
    assert meshed.mesh("status", "--json").json["tasks"] == before | {"done": before["done"] + 3}


def test_status_for_people(meshed: Shell) -> None:
    lines = meshed.mesh("status").out.splitlines()
    assert [line.split()[0] for line in lines] == [
        "mesh",
        "router",
        "address",
        "workers",
        "tasks",
        "results",
        "fetched",
    ]
    assert "1 worker, 2 slots" in lines[3] and "0 queued" in lines[4]


def test_where_a_large_result_is_and_how_it_was_fetched(shell: Shell) -> None:
    up = shell.up()
    task = shell.submit("--id", "large", "sim:big", 100_000)
    shell.mesh("wait", task)
    told = shell.mesh("explain", task, "--json").json
    (worker,) = shell.mesh("status", "--json").json["workers"]
    size = told["result"]["size_bytes"]
    assert size > 100_000 and told["result"]["store"] == worker["id"]
    assert told["result"]["host"] == socket.gethostname() and told["inputs"] == []
    assert told["needed_by"] == {"count": 0, "waiting": []}
    for _ in range(2):
        shell.mesh("result", task, "-o", shell.folder / "large")

    lines = shell.mesh("explain", task).out.splitlines()
    where = f"  its result, 100 kB, is with {socket.gethostname()}, worker {worker['id']}"
    assert lines[-1] == f"{where}; fetched 2 times: 2 local"
    status = shell.mesh("status", "--json").json
    assert status["fetches"]["local"] == {"count": 2, "size_bytes": 2 * size}
    while not status["workers"][0]["results"]:  # a worker tells it five times a second at most
        status = shell.mesh("status", "--json").json
    assert status["workers"][0]["stored_bytes"] == size
    assert "1 file, 100 kB, with 1 worker" in shell.mesh("status").out
    assert shell.mesh("workers").out.splitlines()[1].split()[-4:] == ["1", "100", "kB", "0"]
    row = shell.mesh("tasks").out.splitlines()[1]
    assert row.endswith(f"100 kB {socket.gethostname()}")
    shell.submit("sim:scaled", 3)
    shell.mesh("wait", "last")
    assert "its result, " in (small := shell.mesh("explain", "last").out)
    assert small.endswith(" B, is with the router\n")
    shell.mesh("stop")
    assert up.finish().code == 0


def test_workers(meshed: Shell) -> None:
    (row,) = meshed.mesh("workers", "--json").rows
    assert row["schema"] == 1 and len(row["slots"]) == 2
    header, line = meshed.mesh("workers").out.splitlines()
    assert header.split() == [
        "ID",
        "HOST",
        "PROCESS",
        "SLOTS",
        "BUSY",
        "LEFT",
        "HEARD",
        "HAS",
        "RESULTS",
        "BYTES",
        "SERVED",
    ]
    assert line.split()[:4] == [row["id"], row["host"], str(row["pid"]), "2"]


def test_tasks(meshed: Shell) -> None:
    good = meshed.submit("--id", "good one", "sim:scaled", 1)
    bad = meshed.submit("sim:fail", "no")
    held = meshed.held()
    running = meshed.submit(*held.call)
    held.await_begin()
    meshed.mesh("wait", good, bad, code=1)
    rows = {row["id"]: row for row in meshed.mesh("tasks", "--json").rows}
    assert rows[good] == {
        "schema": 1,
        "id": good,
        "state": "done",
        "name": "good one",
        "function": "sim:scaled",
    }
    assert rows[bad]["state"] == "failed" and rows[bad]["name"] is None
    assert rows[running]["state"] == "running"
    failed = meshed.mesh("tasks", "--state", "failed", "--json").rows
    assert {row["state"] for row in failed} == {"failed"} and bad in {row["id"] for row in failed}
    both = meshed.mesh("tasks", "--state", "failed", "--state", "running", "--json").rows
    assert {row["state"] for row in both} == {"failed", "running"}

    few = meshed.mesh("tasks", "--limit", 1)
    header, line = few.out.splitlines()
    assert header.split() == ["ID", "STATE", "OWN", "ID", "FUNCTION", "RESULT"]
    assert line.split() == [running, "running", "-", "sim:hold", "-"]
    assert "--limit" in few.err
    held.let_go()
    meshed.mesh("wait", running)
    assert meshed.mesh("tasks", "--state", "waiting", "--json").out == ""
    for wrong in (["--state", "lost"], ["--limit", 0], ["--limit", "x"]):
        meshed.mesh("tasks", *wrong, code=2)


def test_a_name_stays_in_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(["ID", "OWN ID"], [("k3f9x2m7.4", "a\nb\x1b[31mé"), (7, None)])
    _, line, last = capsys.readouterr().out.splitlines()
    assert line == "k3f9x2m7.4  a\\nb\\x1b[31mé"
    assert last.split() == ["7", "-"]


def test_all_tasks_are_listed_however_many(meshed: Shell) -> None:
    printed = meshed.python(
        """
        from mesh import Mesh
        with Mesh(access="default") as m:
            group = m.submit_many(pow, range(2500), [2] * 2500)
            group.wait()
            print(group.id)
        """
    )
    session, _, number = printed.strip().partition(".")
    rows = meshed.mesh("tasks", "--json", "--state", "done").rows
    mine = [row["id"] for row in rows if row["id"].startswith(session)]
    assert mine == [f"{session}.{int(number) + 1 + i}" for i in range(2500)]
    lines = meshed.mesh("tasks").out.splitlines()
    assert len(lines) == 1 + sum(meshed.mesh("status", "--json").json["tasks"].values())
    assert len(meshed.mesh("tasks", "--limit", 1500).out.splitlines()) == 1501


@pytest.mark.parametrize(
    ("count", "text"),
    [(0.4, "0 s"), (59, "59 s"), (61, "1 min 1 s"), (7500, "2 h 5 min"), (200_000, "2 d 7 h")],
)
def test_durations(count: float, text: str) -> None:
    assert show_seconds(count) == text
