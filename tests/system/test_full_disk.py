"""A disk that is full for a while: nothing is lost, who submits is told once, and all goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import suppress
from pathlib import Path

import pytest
import sample_tasks as tasks
from matrix import access_by, address_of, router_of
from scripts import ROOT, another_worker
from tcp_proxy import TcpProxy

from mesh import Mesh, QueueFull
from mesh.errors import StoreError

SOON = {"heartbeat_s": 0.2, "lost_after_s": 2.0}

#: What is left on the full disk: too little for what follows, enough for the mesh's own files.
LEFT_BYTES = 3_000_000


class Disk:
    """A small file system of its own, that can be filled."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._filler = path / "filler"

    @property
    def free_bytes(self) -> int:
        stat = os.statvfs(self.path)
        return stat.f_bavail * stat.f_frsize

    def fill(self, left: int = LEFT_BYTES) -> None:
        """Leave so many bytes free."""
        with self._filler.open("wb", buffering=0) as filler, suppress(OSError):
            while (more := self.free_bytes - left) > 0:
                filler.write(bytes(more))  # others write, too: perhaps it finds no room

    def free(self) -> None:
        self._filler.unlink()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=32m,mode=0700", "mesh-test", str(place)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("only root may mount a small file system")
    try:
        yield Disk(place)
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def first_and_size(i: int, blob: bytes) -> tuple[int, int]:
    return i, len(blob)


def test_who_submits_to_a_full_disk_is_told_and_nothing_is_lost(disk: Disk, capfd) -> None:
    with Mesh(dir=disk.path / "m", slots=2, settings=SOON, router_timeout=1.0) as m:
        assert m.submit(pow, 2, 3).result(20) == 8
        disk.fill()
        futures = []
        with pytest.raises(QueueFull, match=r"could not record more for 1 s: no room in .*/router"):
            while True:
                futures.append(m.submit(first_and_size, len(futures), os.urandom(30_000)))
        with pytest.raises(QueueFull):
            m.flush()
        assert sum(m.status()["tasks"].values()) > 0, "what memory knows can be asked"

        disk.free()

        assert [each.result(25) for each in futures] == [(i, 30_000) for i in range(len(futures))]
        assert len({each.id for each in futures}) == len(futures)
        assert m.submit(pow, 2, 4).result(20) == 16
        said = capfd.readouterr().err
        while "has room again" not in said:  # the router says so at its next heartbeat
            m.status()
            said += capfd.readouterr().err
    said += capfd.readouterr().err
    assert said.count("cannot record more") == 1 and said.count("has room again") == 1, said


@pytest.fixture
def served(disk: Disk, nothing_left_behind) -> Iterator[Path]:
    """The folder of a mesh on the small disk, which is served over TCP."""
    folder = disk.path / "m"
    up = [sys.executable, "-m", "mesh", "up", "--dir", folder, "--slots", "2", "--json"]
    with subprocess.Popen(
        [*map(str, up), "--listen", "tcp://127.0.0.1:*"],
        env=os.environ | {"PYTHONPATH": ROOT},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdout is not None and process.stdout.readline()
        try:
            yield folder
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 0


@pytest.mark.parametrize("trouble", ["cut", "killed"])
def test_who_dials_a_mesh_without_room_hears_what_has_ended(
    disk: Disk, served: Path, tmp_path: Path, trouble: str
) -> None:
    """Its new tasks wait for room, what has ended does not wait behind them."""
    host, _, port = address_of(served).removeprefix("tcp://").rpartition(":")
    gate = tmp_path / "gate"
    with (
        TcpProxy((host, int(port)), 1) as proxy,
        Mesh(access=access_by(proxy.address, served, tmp_path / "by_proxy.json")) as m,
        Mesh(access=served / "access.json") as other,
    ):
        held = m.submit(tasks.hold, tasks.pipe_at(gate), 7)
        m.flush()
        proxy.cut()
        tasks.let_go(gate)
        assert other.result(held.id, timeout=20) == 7, "it has ended, and its client is cut off"
        own = other.submit(pow, 2, 3)
        other.flush()  # and on disk
        disk.fill()
        if trouble == "killed":
            os.kill(router_of(other), signal.SIGKILL)
            assert own.result(20) == 8 and router_of(other)
        futures = [m.submit(first_and_size, i, os.urandom(30_000)) for i in range(200)]
        proxy.mend()

        assert held.result(20) == 7
        assert other.result(held.id, timeout=20) == 7, "who asks by a text hears it, too"
        with pytest.raises(FutureTimeout):
            m.flush(0.1)  # there is no room

        disk.free()
        assert [each.result(25) for each in futures] == [(i, 30_000) for i in range(200)]


def test_results_that_find_no_room_wait_for_it(disk: Disk) -> None:
    """Of what a worker writes: results and prints."""

    def loud(i: int) -> bytes:
        print("x" * 100_000)
        return bytes([i]) * 200_000

    with Mesh(dir=disk.path / "m", slots=2, settings=SOON) as m:
        assert m.submit(pow, 2, 3).result(20) == 8
        disk.fill()
        group = m.submit_many(loud, range(40))
        while disk.free_bytes > 400_000:
            m.status()  # a round trip, in which the worker goes on
        assert not group.wait(0.5)

        disk.free()

        assert group.results(timeout=25) == [bytes([i]) * 200_000 for i in range(40)]
        assert group.status()["failed"] == 0


def test_who_stops_a_mesh_whose_results_wait_for_room_is_told_so(disk: Disk) -> None:
    with Mesh(dir=disk.path / "m", slots=1, settings=SOON) as m:
        m.submit(pow, 2, 3).result(20)
        disk.fill(left=1_000_000)
        big = m.submit(bytes, 3_000_000)
        while not any("waits_for" in slot for slot in m.status()["workers"][0]["slots"]):
            pass
        command = [sys.executable, "-m", "mesh", "stop", "--dir", str(m.folder)]
        stop = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert stop.stderr is not None
        assert "waiting for 1 running task" in stop.stderr.readline()
        # the router may find no room either, and says so first
        assert any(f"results wait: no room in {m.folder}" in line for line in stop.stderr)

        disk.free()

        assert stop.wait(25) == 0
        stop.stderr.close()
    with Mesh(dir=disk.path / "m", slots=1) as m:
        assert len(m.result(big.id, 20)) == 3_000_000


def test_a_mesh_cannot_start_on_a_full_disk_and_says_so(disk: Disk) -> None:
    with Mesh(dir=disk.path / "m", slots=1) as m:
        assert m.submit(pow, 2, 3).result(20) == 8
        task = m.submit(pow, 2, 5)
        task.result(20)
    disk.fill(left=0)

    with pytest.raises(StoreError, match="no room in"):
        Mesh(dir=disk.path / "m", slots=1)

    disk.free()
    with Mesh(dir=disk.path / "m", slots=1) as m:
        assert m.result(task.id, timeout=20) == 32


def test_arguments_that_find_no_room_at_the_worker_wait_for_it(disk: Disk, tmp_path: Path) -> None:
    """Large arguments lie in files until a slot takes them; the router's records are elsewhere."""
    with (
        Mesh(dir=tmp_path / "m", slots=0, settings=SOON) as m,
        another_worker(m.folder, disk.path / "w", 1) as worker,
    ):
        assert m.wait_for_slots(1, 20) == 1
        disk.fill(left=20_000)
        group = m.submit_many(first_and_size, range(8), [bytes(100_000)] * 8)
        assert not group.wait(0.5)

        disk.free()

        assert group.results(timeout=20) == [(i, 100_000) for i in range(8)]
        assert worker.poll() is None


def test_what_is_put_waits_for_room(disk: Disk, capfd) -> None:
    with Mesh(dir=disk.path / "m", slots=1, settings=SOON, router_timeout=4.0) as m:
        assert m.submit(len, bytes(300_000)).result(20) == 300_000
        disk.fill()
        with pytest.raises(QueueFull, match=r"has taken nothing for 4 s: No space left on device"):
            m.submit(len, bytes(5_000_000))
        assert capfd.readouterr().err.count("a large object waits") == 1
        assert [file.stat().st_size for file in disk.path.glob("m/worker/incoming/put-*/*")] == [0]
        disk.free()
        assert m.submit(len, bytes(5_000_001)).result(30) == 5_000_001


def test_who_leaves_a_mesh_whose_disk_is_full_waits_for_no_verdict(disk: Disk) -> None:
    """That of a cancellation comes when it is on disk."""
    with pytest.raises(ZeroDivisionError), Mesh(dir=disk.path / "m", slots=1) as m:
        m.submit(pow, 2, 3).result(20)
        disk.fill(left=0)
        held = m.submit(time.sleep, 60)
        assert not held.done()
        1 / 0  # noqa: B018
