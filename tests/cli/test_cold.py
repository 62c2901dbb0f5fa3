"""A mesh's folder on which no mesh runs: read by commands, and left as it is."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from shell import Shell

SIZE = 300_000


def state_of(folder: Path) -> dict[str, tuple[int, int, int]]:
    """All that is in a folder: modes, sizes and times."""
    return {
        str(path.relative_to(folder)): (stat.st_mode, stat.st_size, stat.st_mtime_ns)
        for path in [folder, *folder.rglob("*")]
        if (stat := path.lstat())
    }


@pytest.fixture(scope="module")
def cold(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """A shell with a folder ``m`` of a mesh of which everything was killed while a task ran."""
    sockets = Path("/tmp") / f"mesh-test-cold-{os.getpid()}"
    sockets.mkdir()
    shell = Shell(tmp_path_factory.mktemp("cold"), sockets)
    try:
        shell.up()
        shell.submit("--id", "one", "sim:run", 1)
        shell.submit("--id", "large", "sim:big", SIZE)
        shell.submit("--id", "bad", "sim:fail", "no")
        shell.python(
            """
            import numpy as np
            import sim
            from mesh import Mesh
            with Mesh("default") as m:
                m.submit_many(sim.big, [3, 300_000], ids=["m0", "m1"], name="sweep").wait()
                m.options(id="takes").submit(len, np.ones(100_000)).result()
            """
        )
        held = shell.held()
        shell.submit("--id", "held", *held.call)
        held.await_begin()
        shell.python(
            """
            import sys
            from mesh import Mesh
            m = Mesh("default")
            m.options(id="waits").submit(list, [m.future("held")])
            m.flush()
            m.detach()
            m.shutdown()
            """
        )
        shell.kill_all()
    finally:
        shutil.rmtree(sockets)
    yield shell
    assert not shell.left()
    shell.close()


def test_everything_is_told_and_nothing_is_changed(cold: Shell) -> None:
    folder = cold.folder / "m"
    there = ["--dir", folder]
    before = state_of(folder)

    assert cold.mesh("result", "one", *there).out == "{'x': 1, 'seed': 0}\n"
    assert len(cold.mesh("result", "large", *there).out) == SIZE + 1
    cold.mesh("result", "m1", *there, "-o", cold.work / "value")
    assert (cold.work / "value").read_bytes() == b"x" * SIZE
    assert "ValueError: no" in cold.mesh("result", "bad", *there, code=1).err
    assert cold.mesh("logs", "one", *there).out == "running 1\n"
    rows = {row["name"]: row for row in cold.mesh("tasks", *there, "--json").rows}
    assert rows["held"]["state"] in ("queued", "running") and rows["waits"]["state"] == "waiting"
    assert rows["large"]["result"]["size_bytes"] >= SIZE
    status = cold.mesh("status", *there, "--json").json
    assert (status["router"]["epoch"], status["is_running"], status["puts"]) == (1, False, 1)
    assert (status["tasks"]["done"], status["tasks"]["failed"]) == (5, 1)
    assert [store["folder"] for store in status["stores"]] == [str(folder / "worker")]
    assert "does not run" in cold.mesh("status", *there).out
    assert "a mesh: none runs here" in cold.mesh("explain", "held", *there).out
    assert "waits for its input" in cold.mesh("explain", "waits", *there).out
    [group] = {row["id"].partition(".")[0] for row in rows.values() if row["name"] == "m0"}
    assert "2 done" in cold.mesh("explain", f"{group}.0", *there).out
    said = cold.mesh("result", "held", *there, code=1).err
    assert "has not ended" in said and "mesh up --dir" in said
    cold.mesh("result", "nobody", *there, code=6)

    assert state_of(folder) == before


@pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("unshare") is None, reason="mounts a folder read-only"
)
def test_it_may_lie_on_a_read_only_file_system(cold: Shell) -> None:
    folder = cold.folder / "m"
    mount = f"mount --bind {folder} {folder} && mount -o remount,bind,ro {folder}"
    command = f"{mount} && ! touch {folder}/x 2>&- && {sys.executable} -m mesh"
    for call in (f"result m1 --dir {folder}", f"tasks --dir {folder}", f"status --dir {folder}"):
        done = subprocess.run(
            ["unshare", "-m", "sh", "-c", f"{command} {call}"],
            cwd=cold.work,
            env=cold.env,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr


def test_what_is_in_doubt_is_looked_through_before_it_is_read(cold: Shell) -> None:
    copy = cold.folder / "copy"
    shutil.copytree(cold.folder / "m", copy)
    (copy / "router" / "records.mdb-seal").unlink()
    assert cold.mesh("result", "one", "--dir", copy).out == "{'x': 1, 'seed': 0}\n"
    assert len(cold.mesh("result", "large", "--dir", copy).out) == SIZE + 1
    with open(copy / "router" / "records.mdb", "r+b") as data:
        data.seek(8192)
        data.write(b"\xff" * 200_000)
    damaged = cold.mesh("result", "one", "--dir", copy, code=1)
    assert "is damaged" in damaged.err and damaged.out == ""


def test_what_a_mesh_serves_is_asked_of_the_mesh(cold: Shell) -> None:
    copy = cold.folder / "served"
    shutil.copytree(cold.folder / "m", copy)
    up = cold.up("--dir", copy, "--slots", 0)
    status = cold.mesh("status", "--dir", copy, "--json").json
    assert status["router"]["pid"] and "is_running" not in status
    assert cold.mesh("result", "one", "--dir", copy).out == "{'x': 1, 'seed': 0}\n"
    cold.mesh("stop", "--dir", copy)
    assert up.finish().code == 0
    assert not cold.mesh("status", "--dir", copy, "--json").json["is_running"]


def test_where_a_result_is_that_is_not_to_be_seen_from_here(shell: Shell) -> None:
    up = shell.up("--slots", 0)
    stores = shell.folder / "stores"
    worker = shell.start("worker", "--slots", 1, "--dir", stores / "w1")
    worker.line()
    shell.submit("--id", "large", "sim:big", SIZE)
    shell.mesh("wait", "large")
    shell.mesh("stop")
    assert up.finish().code == worker.finish().code == 0
    there = ["--dir", shell.folder / "m"]

    said = shell.mesh("result", "large", *there, code=6).err
    assert f"on host {socket.gethostname()} in {stores / 'w1'}" in said and "--store" in said
    assert "which is away" in shell.mesh("explain", "large", *there).out
    for store in (stores / "w1", stores):
        out = shell.mesh("result", "large", *there, "--store", store).out
        assert len(out) == SIZE + 1
    (file,) = (path for path in (stores / "w1" / "content").rglob("*") if path.is_file())
    file.write_bytes(file.read_bytes()[:-1])
    lost = shell.mesh("result", "large", *there, "--store", stores, code=6).err
    assert "is lost" in lost and str(stores / "w1") in lost
    assert "--store is for" in shell.mesh("result", "large", "--store", stores, code=2).err
