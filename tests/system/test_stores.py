"""The store of a worker, in a mesh: what is kept there, whatever happens to the worker."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from scripts import another_worker

from mesh import Mesh
from mesh.store.results import TABLES
from mesh.store.tables import LmdbTables

SOON = {"heartbeat_s": 0.2, "lost_after_s": 2.0}


def blob(i: int) -> bytes:
    return bytes([i % 256]) * 20_000


def kill_worker(m: Mesh, dead: set[int]) -> None:
    """Kill its one worker, as soon as there is one that is not `dead`."""
    pid = 0
    while not pid or pid in dead:
        m.wait_for_slots(1, 20)
        pid = next((worker["pid"] for worker in m.status()["workers"]), 0)
    os.kill(pid, signal.SIGKILL)
    dead.add(pid)


def files_and_entries(root: Path) -> tuple[set[str], set[str]]:
    """What is in a store that nobody has open: the names of its files, and of what it knows."""
    tables = LmdbTables(root / "index.mdb", TABLES, durability="process")
    with tables.begin() as txn:
        entries = {name.hex() for name, _ in txn.scan("result")}
    tables.close()
    return {file.name for file in (root / "content").rglob("*") if file.is_file()}, entries


def test_a_worker_that_is_killed_as_it_stores_leaves_no_file_that_it_does_not_know(
    tmp_path: Path,
) -> None:
    with Mesh(dir=tmp_path / "m", slots=2, settings=SOON) as m:
        group, dead = m.submit_many(blob, range(600)), set[int]()
        for done in (20, 100, 180, 300, 420):
            group[done].result(20)
            kill_worker(m, dead)
        assert group.results(timeout=25) == [blob(i) for i in range(600)]
    [root] = (tmp_path / "m").glob("worker*")

    files, entries = files_and_entries(root)

    assert files == entries and len(files) >= 600


def content(root: Path) -> list[Path]:
    """The files of the results in a store."""
    return list((root / "content").glob("??/*"))


def test_what_is_forgotten_goes_from_the_stores_of_its_holders_also_of_one_that_was_away(
    tmp_path: Path,
) -> None:
    """Of two workers, one is not there when the results grow too old."""
    settings = {"heartbeat_s": 0.1, "lost_after_s": 0.5, "ttl_s": 5.0}
    here, away = tmp_path / "m/worker", tmp_path / "away"
    with Mesh(dir=tmp_path / "m", slots=1, settings=settings) as m:
        with another_worker(m.folder, away, 1) as worker:
            m.wait_for_slots(2, 20)
            while not (content(here) and content(away)):
                m.submit_many(blob, range(20)).results(timeout=20)
            worker.kill()  # else it would hand over
            worker.wait()
        while m.status()["tasks"]["done"] or content(here):
            m.flush()  # a round trip, in which the router goes on
        assert content(away)

        with another_worker(m.folder, away, 1):
            while content(away):
                m.flush()
        assert m.submit(pow, 2, 3).result(20) == 8
    for root in (here, away):
        assert files_and_entries(root) == (set(), set())


def noted_blob(traces: str, i: int) -> bytes:
    (Path(traces) / f"{i}-{os.getpid()}").touch()
    return blob(i)


def test_what_was_stored_and_not_told_is_told_by_the_next_worker_and_not_run_again(
    tmp_path: Path,
) -> None:
    traces = tmp_path / "traces"
    traces.mkdir()
    with Mesh(dir=tmp_path / "m", slots=2, settings=SOON) as m:
        m.wait_for_slots(2, 20)
        router = m.status()["router"]["pid"]
        gate, told = tmp_path / "gate", tmp_path / "told"
        os.mkfifo(gate)
        os.mkfifo(told)
        content = str(tmp_path / "m" / "worker" / "content")
        gates, rest = [str(gate), ""], [[each] * 2 for each in (str(traces), content, str(told))]
        future, _ = m.submit_many(hold_and_blob, gates, *rest)
        m.flush()
        with open(gate, "wb"):  # it runs
            worker = m.status()["workers"][0]["pid"]
            os.kill(router, signal.SIGSTOP)  # nobody hears how it ends
        told.read_bytes()
        os.kill(worker, signal.SIGKILL)
        os.kill(router, signal.SIGKILL)  # and with it what it was sent
        told.read_bytes()  # the other runs once more

        assert future.result(25) == blob(7)
        assert len(list(traces.iterdir())) == 1, "it has not run again"


def hold_and_blob(gate: str, traces: str, content: str, told: str) -> bytes | None:
    """With a gate: a large result when that opens. Without: say when there is one in the store."""
    if gate:
        Path(gate).read_bytes()
        return noted_blob(traces, 7)
    while not list(Path(content).glob("??/*")):
        time.sleep(0.01)
    Path(told).write_bytes(b"it is committed")
    return None
