"""A store whose map is full, however large its disk is: what a full disk is, and as harmless."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from scripts import another_worker

from mesh import Mesh, QueueFull
from mesh.processes import spawn

SmallMap = Callable[..., None]


@pytest.fixture
def small_map(monkeypatch: pytest.MonkeyPatch) -> SmallMap:
    """`small_map(name, size)`: routers, or workers, that are started from now on have so little.
    With `quota=False` a router's quota does not keep it from being used up."""

    def make(name: str, size: int, quota: bool = True) -> None:
        code = f"import mesh.store.tables as t; t.MAP_BYTES = {size}"
        if not quota:
            code += "; import mesh.processes.router as r; r.QUOTA_PART = 1000"
        little = f"; exec({code!r} if {{name!r}} == {name!r} else '')"
        main = "import main"
        monkeypatch.setattr(spawn, "BOOT", spawn.BOOT.replace(main, main + little))

    return make


def first_and_size(i: int, blob: bytes) -> tuple[int, int]:
    return i, len(blob)


def blob(i: int) -> bytes:
    return bytes([i % 256]) * 4000


def test_who_submits_to_a_full_map_is_told_and_nothing_is_lost(
    tmp_path: Path, small_map: SmallMap, monkeypatch: pytest.MonkeyPatch, capfd
) -> None:
    small_map("router", 4 * 2**20, quota=False)
    with Mesh(dir=tmp_path / "m", slots=1, router_timeout=5.0) as m:
        futures = []
        with pytest.raises(
            QueueFull, match=r"could not record more for 5 s: no room in .*MAP_FULL"
        ):
            while True:
                futures.append(m.submit(first_and_size, len(futures), os.urandom(30_000)))
        status = m.status()
        assert sum(status["tasks"].values()) > 0, "what memory knows can be asked"

        monkeypatch.undo()  # the next router reserves more
        os.kill(status["router"]["pid"], signal.SIGKILL)

        assert [each.result(25) for each in futures] == [(i, 30_000) for i in range(len(futures))]
        assert len({each.id for each in futures}) == len(futures)
        m.flush(20)
    said = capfd.readouterr().err
    assert said.count("cannot record more") == 1, said


def test_a_mesh_whose_map_is_small_forgets_before_it_is_full(
    tmp_path: Path, small_map: SmallMap
) -> None:
    """As in a process whose address space is limited; nobody gave a quota."""
    small_map("router", 32 * 2**20)
    settings = {"heartbeat_s": 0.1, "lost_after_s": 0.5}
    with Mesh(dir=tmp_path / "m", slots=2, settings=settings) as m:
        for _ in range(20):
            group = m.submit_many(blob, range(500))
            assert group.results(timeout=25) == [blob(i) for i in range(500)]
        assert m.status()["tasks"]["done"] < 10_000


def test_a_worker_whose_map_is_full_gives_what_it_cannot_keep_to_others(
    tmp_path: Path, small_map: SmallMap, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_map("worker", 20 * 4096)
    settings = {"heartbeat_s": 0.2, "lost_after_s": 2.0, "inline_bytes": 100}
    with Mesh(dir=tmp_path / "m", slots=1, settings=settings) as m:
        m.wait_for_slots(1, 20)
        first = m.status()["workers"][0]["pid"]
        group = m.submit_many(blob, range(2000))
        log = m.folder / "log/worker.log"
        while "waits for room" not in log.read_text():
            m.status()  # a round trip, in which the worker goes on
        monkeypatch.undo()

        with another_worker(m.folder, tmp_path / "w", 1) as other:
            while not any((tmp_path / "w/content").glob("??/*")):
                m.status()
            os.kill(first, signal.SIGKILL)  # its next life has room
            assert group.results(timeout=20) == [blob(i) for i in range(2000)]
            assert group.status()["failed"] == 0 and other.poll() is None
