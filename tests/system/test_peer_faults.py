"""What goes wrong while results move from peer to peer."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sample_tasks as tasks
from leftovers import Leftovers
from scripts import another_worker, start_worker
from tcp_proxy import TcpProxy

from mesh import Mesh
from mesh.client.fetch import Place

MB = 1_000_000
SETTINGS = {"heartbeat_s": 0.3, "lost_after_s": 2.0}


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Path]:
    """A folder on another file system: nothing there can be linked."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        if os.stat(folder).st_dev == os.stat(tmp_path).st_dev:
            pytest.skip("/dev/shm is no file system of its own")
        yield Path(folder)


@pytest.fixture
def mesh(tmp_path: Path, nothing_left_behind: Leftovers) -> Iterator[Mesh]:
    """A mesh with one slot, which others join."""
    listen = "tcp://127.0.0.1:*"
    with Mesh(dir=tmp_path / "mesh", slots=1, settings=SETTINGS, listen=listen) as m:
        yield m


def made(folder: str, size: int) -> bytes:
    tasks.note(folder, "made")
    return bytes(range(256)) * (size // 256)


def length(*given: bytes) -> tuple[int, int]:
    """The worker, and how much it was given."""
    return os.getppid(), sum(map(len, given))


def traces_in(tmp_path: Path) -> Path:
    (tmp_path / "traces").mkdir()
    return tmp_path / "traces"


def store_file(store: Path) -> Path:
    """The one result in a store."""
    [file] = [each for each in (store / "content").rglob("*") if each.is_file()]
    return file


class Busy:
    """The mesh's own slot, held, so that tasks go to others."""

    def __init__(self, mesh: Mesh, folder: Path) -> None:
        names = [tasks.pipe_at(folder / f"busy-{len(os.listdir(folder))}-{each}") for each in "bg"]
        self._begun, self._gate = names
        self._held = mesh.submit(tasks.say_and_hold, *names)
        tasks.heard_at(self._begun)

    def end(self, *, once_more: bool = False) -> None:
        """`once_more`: its worker was killed, and it begins elsewhere."""
        if once_more:
            tasks.heard_at(self._begun)
        tasks.let_go(self._gate)
        assert self._held.wait(20)


def await_given(mesh: Mesh, future: Any) -> None:
    """Until a worker has been given a task."""
    while future.explain().get("worker") is None:
        mesh.status()


def test_a_holder_that_stands_still_is_waited_for(
    mesh: Mesh, tmp_path: Path, elsewhere: Path
) -> None:
    folder = tmp_path / "mesh"
    busy = Busy(mesh, tmp_path)
    with another_worker(folder, elsewhere / "holder", 1) as holder:
        mesh.wait_for_slots(2, 20)
        future = mesh.submit(made, str(traces_in(tmp_path)), 20 * MB)
        assert future.wait(20)
        holder.send_signal(signal.SIGSTOP)
        takes = mesh.submit(length, future)
        busy.end()
        if takes.explain()["state"] == "running":  # else it waits for the holder
            await_given(mesh, takes)
        assert not takes.done()
        holder.send_signal(signal.SIGCONT)
        assert takes.result(25)[1] == 20 * MB // 256 * 256
        assert tasks.runs(tmp_path / "traces") == {"made": 1}


def test_a_holder_that_is_killed_and_comes_back_gives_the_rest(
    mesh: Mesh, tmp_path: Path, elsewhere: Path
) -> None:
    folder, store = tmp_path / "mesh", elsewhere / "holder"
    traces = str(traces_in(tmp_path))
    busy = Busy(mesh, tmp_path)
    holder = start_worker(folder, store, 1)
    try:
        mesh.wait_for_slots(2, 20)
        group = mesh.submit_many(made, [traces] * 20, [20 * MB] * 20)
        assert group.wait(25)
        busy_there = Busy(mesh, tmp_path)  # in the holder's slot: the other has to fetch
        takes = mesh.submit(length, *group)
        busy.end()
        await_given(mesh, takes)
    finally:
        holder.kill()
        holder.wait()
    with another_worker(folder, store, 0):
        assert takes.result(25)[1] == 20 * (20 * MB // 256 * 256)
        busy_there.end(once_more=True)
    assert tasks.runs(tmp_path / "traces") == {"made": 20}


def test_a_flipped_byte_is_noticed_and_the_result_made_again(
    mesh: Mesh, tmp_path: Path, elsewhere: Path
) -> None:
    folder, store = tmp_path / "mesh", elsewhere / "holder"
    busy = Busy(mesh, tmp_path)
    with another_worker(folder, store, 1):
        mesh.wait_for_slots(2, 20)
        future = mesh.submit(made, str(traces_in(tmp_path)), 5 * MB)
        assert future.wait(20)
        with open(store_file(store), "r+b") as file:
            file.seek(3 * MB)
            file.write(b"\xff\xff")
        gate = Busy(mesh, tmp_path)  # in the holder's slot
        takes = mesh.submit(lambda given: sum(given), future)
        busy.end()
        want = sum(bytes(range(256)) * (5 * MB // 256))
        assert takes.result(25) == want
        gate.end()
    assert tasks.runs(tmp_path / "traces") == {"made": 2}


def test_inputs_come_while_the_router_is_restarted(
    mesh: Mesh, tmp_path: Path, elsewhere: Path
) -> None:
    busy = Busy(mesh, tmp_path)
    with another_worker(tmp_path / "mesh", elsewhere / "holder", 1):
        mesh.wait_for_slots(2, 20)
        group = mesh.submit_many(made, [str(traces_in(tmp_path))] * 20, [20 * MB] * 20)
        assert group.wait(25)
        gate = Busy(mesh, tmp_path)
        takes = mesh.submit(length, *group)
        mesh.flush(20)
        busy.end()
        await_given(mesh, takes)
        os.kill(mesh.status()["router"]["pid"], signal.SIGKILL)
        assert takes.result(25)[1] == 20 * (20 * MB // 256 * 256)
        gate.end()
    assert tasks.runs(tmp_path / "traces") == {"made": 20}


def test_a_transfer_goes_on_where_its_link_was_cut(mesh: Mesh, tmp_path: Path) -> None:
    size = 100 * MB // 256 * 256
    busy = Busy(mesh, tmp_path)
    with another_worker(tmp_path / "mesh", tmp_path / "holder", 1, "--data-port", 0):
        mesh.wait_for_slots(2, 20)
        future = mesh.submit(made, str(traces_in(tmp_path)), size)
        assert future.wait(20)
        holder = future.explain()["result"]["store"]
        fetcher = mesh._connection._fetcher
        address = fetcher._locate(holder, 10)
        assert address is not None
        served, _, key = address.address.split()[1].partition("#")
        host, port = served.removeprefix("tcp://").rsplit(":", 1)
        with TcpProxy((host, int(port)), 1, cut_every_s=0.2, cut_share=1.0) as proxy:
            fetcher._locate = lambda store, timeout: Place(
                f"{proxy.address}#{key}", "elsewhere", ""
            )
            fetcher._wake_router = None  # no way around it
            value = future.result(25)
            assert value == bytes(range(256)) * (size // 256)
            assert proxy.met["cut"] > 0
            fetcher.close()
        served = {"size_bytes": 0}
        while not served["size_bytes"]:
            [about] = [each for each in mesh.status()["workers"] if each["id"] == holder]
            served = about["served"]["direct"]
        assert served["size_bytes"] < 3 * size, "only what was missing was asked for again"
        busy.end()


def test_fifty_clients_fetch_one_result(mesh: Mesh, tmp_path: Path, script: Any) -> None:
    size = 5 * MB // 256 * 256
    busy = Busy(mesh, tmp_path)
    with another_worker(tmp_path / "mesh", tmp_path / "holder", 1, "--data-port", 0):
        mesh.wait_for_slots(2, 20)
        future = mesh.submit(made, str(traces_in(tmp_path)), size)
        assert future.wait(20)
        clients = script(
            """
            import sys, zlib
            from concurrent.futures import ThreadPoolExecutor
            from mesh import Mesh
            folder, task = sys.argv[1:]

            def fetched(m):
                m._connection._fetcher._host = "elsewhere"
                return zlib.crc32(m.result(task, 25))

            meshes = [Mesh(access=folder) for _ in range(50)]
            with ThreadPoolExecutor(50) as pool:
                sums = set(pool.map(fetched, meshes))
            for m in meshes:
                m.shutdown()
            print(len(sums))
            """,
            tmp_path / "mesh",
            future.id,
        )
        assert clients.finish() == "1\n"
        busy.end()
