"""`mesh up` and `mesh stop`: a mesh's life from the shell."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import stat
import uuid
from pathlib import Path

import pytest
from ending import await_end
from shell import Shell

from mesh.store.durability import LEVELS


def access_of(shell: Shell, name: str = "default") -> dict:
    return json.loads((shell.home / ".mesh" / f"{name}.json").read_text())


def test_up_says_how_to_join_and_ctrl_c_ends_it(shell: Shell) -> None:
    up = shell.start("up", "--slots", 1, "--dir", shell.folder / "m")
    lines = [up.line() for _ in range(3)]
    assert "is up with 1 slot" in lines[0]
    assert "mesh worker --access default" in lines[1] and "Mesh(access='default')" in lines[1]
    assert lines[2].endswith("mesh stop")
    file = shell.home / ".mesh" / "default.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE((shell.folder / "m").stat().st_mode) == 0o700
    assert access_of(shell)["folder"] == str(shell.folder / "m")
    up.send(signal.SIGINT)
    done = up.finish()
    assert done.code == 0 and "nothing runs: the mesh ends" in done.err
    assert not file.exists() and not (shell.folder / "m" / "access.json").exists()
    assert shell.left() == []


def test_a_name_has_its_default_folder_and_access_file(shell: Shell) -> None:
    name = f"test-{uuid.uuid4().hex[:8]}"
    folder = Path(f"/var/tmp/mesh-{os.getuid()}") / name
    try:
        up = shell.start("up", "--name", name, "--slots", 1, "--json")
        told = json.loads(up.line())
        assert told["schema"] == 1 and told["slots"] == 1 and told["pid"] == up.process.pid
        assert told["folder"] == str(folder) and stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert told["access"] == str(shell.home / ".mesh" / f"{name}.json")
        for place in (["--access", name], ["--name", name], ["--dir", folder]):
            assert shell.mesh("status", *place, "--json").json["mesh"] == told["mesh"]
        assert shell.mesh("status", "--json", MESH_ACCESS=name).json["mesh"] == told["mesh"]
        shell.mesh("status", code=3)
        printed = shell.python(f"from mesh import Mesh\nwith Mesh(name={name!r}) as m: print(m)")
        assert "joined" in printed and told["mesh"] in printed
        shell.mesh("stop", "--access", name)
        assert up.finish().code == 0
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def test_stop_returns_when_the_mesh_has_gone_and_may_be_started_again(shell: Shell) -> None:
    for _ in range(2):
        up = shell.up()
        pids = [worker["pid"] for worker in shell.mesh("workers", "--json").rows]
        pids.append(shell.mesh("status", "--json").json["router"]["pid"])
        assert "has ended" in shell.mesh("stop").out
        assert all(await_end(pid, 0) for pid in pids)
        again = shell.up()  # at once, on the same folder
        assert up.finish().code == 0
        again.send(signal.SIGTERM)
        assert again.finish().code == 0


def test_ctrl_c_waits_for_what_runs(shell: Shell) -> None:
    up, held = shell.up(), shell.held()
    task = shell.submit(*held.call)
    queued = [shell.submit("sim:scaled", 4) for _ in range(1)]
    held.await_begin()
    shell.mesh("wait", *queued)
    up.send(signal.SIGINT)
    assert "waiting for what runs" in up.line("err")
    held.let_go()
    assert up.finish().code == 0
    assert shell.mesh("result", task, "--dir", shell.folder / "m").out == "held\n"


def test_a_second_ctrl_c_does_not_wait(shell: Shell) -> None:
    up, held = shell.up(), shell.held()
    task = shell.submit(*held.call)
    held.await_begin()
    up.send(signal.SIGINT)
    assert "waiting for what runs" in up.line("err")
    up.send(signal.SIGINT)
    assert up.finish().code == 130
    assert shell.left() == []
    again = shell.up()  # the folder holds what was not done
    held.await_begin()
    held.let_go()
    assert shell.mesh("result", task).out == "held\n"
    shell.mesh("stop")
    assert again.finish().code == 0


def test_stop_waits_for_what_runs_unless_told_otherwise(shell: Shell) -> None:
    up, held = shell.up(), shell.held()
    task = shell.submit(*held.call)
    held.await_begin()
    late = shell.mesh("stop", "--timeout", 0.1, "--json", code=5).json["error"]
    assert late["type"] == "TimeoutError" and "--now" in late["message"]
    shell.mesh("stop", "--now")
    assert up.finish().code == 0
    refused = shell.mesh("result", task, "--dir", shell.folder / "m", code=1)
    assert "did not run" in refused.err and "mesh up --dir" in refused.err


def test_a_mesh_that_is_up_is_not_started_twice(shell: Shell) -> None:
    up = shell.up()
    mesh = access_of(shell)["mesh"]
    for more in ([], ["--dir", shell.folder / "other"], ["--daemon"]):
        refused = shell.mesh("up", "--dir", shell.folder / "m", *more, code=1)
        assert "--access default" in refused.err and "mesh stop --access default" in refused.err
    shell.mesh("router", "--dir", shell.folder / "other", code=1)
    own = shell.mesh("up", "--name", "other", "--dir", shell.folder / "m", "--json", code=1)
    assert own.json["error"]["type"] == "MeshError"  # the folder is taken, under whatever name
    assert access_of(shell)["mesh"] == mesh
    shell.mesh("stop")
    assert up.finish().code == 0


def test_takeover_replaces_the_access_file_alone(shell: Shell) -> None:
    first = shell.up()
    mesh = access_of(shell)["mesh"]
    second = shell.up("--dir", shell.folder / "other", "--takeover")
    assert access_of(shell)["mesh"] != mesh
    shell.mesh("stop", "--dir", shell.folder / "m")
    assert first.finish().code == 0
    assert access_of(shell)["folder"] == str(shell.folder / "other")  # it did not take that along
    shell.mesh("stop")
    assert second.finish().code == 0


@pytest.mark.parametrize("durability", LEVELS)
def test_kill_9_of_everything_loses_nothing(shell: Shell, durability: str) -> None:
    level = ["--durability", durability]
    shell.up("--slots", 1, *level)
    held = shell.held()
    done = shell.submit("sim:scaled", 4)
    big = shell.submit("sim:big", 100_000)
    shell.mesh("wait", done, big)
    tasks = [shell.submit(*held.call), shell.submit("sim:scaled", 5)]
    held.await_begin()
    shell.kill_all()
    shell.mesh("status", code=3)
    there = ["--dir", shell.folder / "m"]
    assert shell.mesh("result", done, *there).out == "40\n"
    assert len(shell.mesh("result", big, *there).out) == 100_001
    for task in tasks:
        assert "did not run" in shell.mesh("result", task, *there, code=1).err
    states = {row["id"]: row["state"] for row in shell.mesh("tasks", *there, "--json").rows}
    assert states == {done: "done", big: "done"} | dict.fromkeys(tasks, "queued")

    up = shell.up("--slots", 1, *level)  # over the access file that was left behind
    held.await_begin()
    held.let_go()
    assert [shell.mesh("result", task).out for task in tasks] == ["held\n", "50\n"]
    assert len(shell.mesh("result", big).out) == 100_001
    shell.mesh("stop")
    assert up.finish().code == 0


def test_kill_9_of_up_leaves_nothing(shell: Shell) -> None:
    up = shell.up()
    up.send(signal.SIGKILL)
    up.finish()
    assert shell.left() == []


def test_daemon(shell: Shell) -> None:
    done = shell.mesh("up", "--slots", 1, "--dir", shell.folder / "m", "--daemon", "--json")
    told = done.json
    assert os.getsid(told["pid"]) == told["pid"]
    assert (Path(told["log"]) / "up.log").exists()
    assert shell.mesh("submit", "--wait", "sim:scaled", 4).out == "40\n"
    shell.mesh("stop")
    assert await_end(told["pid"])
    assert shell.left() == []

    text = shell.mesh("up", "--slots", 1, "--dir", shell.folder / "m", "--daemon").out
    pid = access_of(shell)["pid"]
    assert "up.log" in text and "process" in text
    shell.mesh("stop")
    assert await_end(pid)


def test_what_keeps_a_daemon_from_starting_is_said_in_the_foreground(shell: Shell) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        command = ["up", "--slots", 1, "--dir", shell.folder / "m", "--listen", address]
        assert f"cannot listen on {address}" in shell.mesh(*command, code=1).err
        assert f"cannot listen on {address}" in shell.mesh(*command, "--daemon", code=1).err
    assert shell.left() == []


def test_listening_on_loopback(shell: Shell) -> None:
    up = shell.up("--listen", "tcp://localhost:*")
    address = shell.mesh("status", "--json").json["router"]["address"]
    assert address.startswith("tcp://127.0.0.1:")
    assert shell.mesh("submit", "--wait", "sim:scaled", 4).out == "40\n"
    pid = access_of(shell)["pid"]
    os.kill(pid, signal.SIGKILL)
    assert "the router died" in up.line("err")
    assert shell.mesh("submit", "--wait", "sim:scaled", 5).out == "50\n"
    assert shell.mesh("status", "--json").json["router"]["address"] == address
    shell.mesh("stop")
    assert up.finish().code == 0


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("all", "tcp://HOST:PORT"),
        ("tcp://127.0.0.1", "tcp://HOST:PORT"),
        ("tcp://127.0.0.1:99999", "tcp://HOST:PORT"),
        ("udp://127.0.0.1:5555", "tcp://HOST:PORT"),
    ],
)
def test_other_addresses_are_refused(shell: Shell, address: str, reason: str) -> None:
    refused = shell.mesh("up", "--dir", shell.folder / "m", "--listen", address, code=2)
    assert reason in refused.err
    assert not (shell.folder / "m").exists()


def test_names_that_are_no_names(shell: Shell) -> None:
    assert "--name" in shell.mesh("up", "--name", "a/b", code=2).err.replace("name=", "--name")
    shell.mesh("status", "--name", "a/b", code=2)


def test_an_access_file_of_another_host_is_not_overwritten(shell: Shell) -> None:
    file = shell.home / ".mesh" / "default.json"
    file.parent.mkdir(mode=0o700)
    data = {"mesh": "k3f9x2m7", "addresses": ["ipc:///nowhere/router.sock"], "host": "node7"}
    file.write_text(json.dumps(data | {"pid": 1}))
    file.chmod(0o600)
    refused = shell.mesh("up", "--dir", shell.folder / "m", code=1)
    assert "node7" in refused.err and "--takeover" in refused.err
    up = shell.up("--takeover")
    shell.mesh("stop")
    assert up.finish().code == 0


def test_stop_says_which_worker_stays_behind(shell: Shell) -> None:
    """One that stands still, as a laptop that sleeps lets it, cannot be told to leave."""
    up = shell.up("--daemon", "--json")
    worker = shell.mesh("status", "--json").json["workers"][0]["pid"]
    os.kill(worker, signal.SIGSTOP)
    try:
        said = shell.mesh("stop", "--now", code=5).err
        assert f"has ended, but not its worker, process {worker}" in said
    finally:
        os.kill(worker, signal.SIGCONT)
    assert await_end(worker, 20)
    assert up.finish().code == 0


def test_the_settings_of_a_mesh_are_options_of_who_starts_it(shell: Shell) -> None:
    given = {
        "--ttl": "1h", "--quota": "1GiB", "--inline": "1KiB", "--heartbeat": "0.5",
        "--lost-after": "2", "--fetch-timeout": "7", "--store-lost-after": "5m",
        "--slot-losses": 2, "--worker-losses": 4, "--far-factor": 2,
    }  # fmt: skip
    assert "only idle" in shell.mesh("up", "--heartbeat", 6, code=2).err
    up = shell.up("--slots", 0, *(each for pair in given.items() for each in pair))

    assert shell.mesh("status", "--json").json["settings"] == {
        "ttl_s": 3600.0, "quota_bytes": 2**30, "inline_bytes": 1024, "heartbeat_s": 0.5,
        "lost_after_s": 2.0, "fetch_timeout_s": 7.0, "store_lost_after_s": 300.0,
        "slot_losses_max": 2, "worker_losses_max": 4, "far_factor": 2.0,
    }  # fmt: skip
    shell.mesh("stop")
    assert up.finish().code == 0
