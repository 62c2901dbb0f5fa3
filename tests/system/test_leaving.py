"""A worker that leaves while the mesh goes on: what it has made is with another worker then."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from leftovers import Leftovers
from scripts import ROOT, another_worker

from mesh import Mesh, ResultLost

SIZE = 100_000

#: Nobody waits for a worker that has left, so these are longer than any of these tests.
PATIENT = {"heartbeat_s": 0.2, "lost_after_s": 60.0}


def made(number: int) -> bytes:
    if number == 5:
        print("\n" * 20_000)
    return bytes([number]) * SIZE


def content(root: Path) -> list[Path]:
    return list((root / "content").glob("??/*"))


@contextmanager
def worker_without_folder(access: Path) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """A worker of one slot that chooses the folder of its store itself; that folder."""
    command = [sys.executable, "-m", "mesh", "worker", "--access", access, "--slots", 1, "--json"]
    env = os.environ | {"PYTHONPATH": ROOT}
    with subprocess.Popen(list(map(str, command)), env=env, stdout=subprocess.PIPE) as worker:
        assert worker.stdout is not None
        folder = Path(json.loads(worker.stdout.readline())["store"])
        try:
            yield worker, folder
        finally:
            worker.send_signal(signal.SIGINT)
            worker.wait(20)
            shutil.rmtree(folder.parent)  # of this mesh alone


def told_to_leave(worker: Any) -> None:
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(20) == 0


def test_what_nobody_has_fetched_goes_to_the_home_worker_and_is_had_from_there(
    tmp_path: Path, nothing_left_behind: Leftovers
) -> None:
    with Mesh(dir=tmp_path / "mesh", slots=0, settings=PATIENT) as mesh:
        with another_worker(mesh.folder, tmp_path / "leaves", 2) as worker:
            group = mesh.submit_many(made, range(20))
            assert group.wait(20)
            assert group[3].result(20) == made(3)
            while not sum(group[3].explain()["result"]["fetched"].values()):
                pass
            told_to_leave(worker)
        assert len(content(tmp_path / "leaves")) == 1, "what was fetched"
        assert len(content(tmp_path / "mesh" / "worker")) == 20, "the others, and a log"

        assert group[4].result(20) == made(4), "by the future that knows the old store"
        assert len(mesh.future(group[5].id).logs()) >= 20_000
        with Mesh(access=mesh.folder) as other:
            assert other.result(group[6].id, 20) == made(6)
        assert "left, and worker" in str(group[4].explain())
        with another_worker(mesh.folder, tmp_path / "new", 1):
            assert mesh.submit(len, group[7]).result(20) == SIZE


@pytest.mark.parametrize("whom", ["router", "taker", "leaver"])
def test_whoever_is_killed_meanwhile_every_result_is_somewhere(
    tmp_path: Path, nothing_left_behind: Leftovers, whom: str
) -> None:
    folder, runs = tmp_path / "leaves", tmp_path / "runs"
    runs.mkdir()
    with Mesh(dir=tmp_path / "mesh", slots=0, settings=PATIENT) as mesh:
        with another_worker(mesh.folder, folder, 2) as worker:
            group = mesh.submit_many(made_once, [str(runs)] * 30, range(30))
            assert group.wait(20)
            status = mesh.status()
            [taker] = [each["pid"] for each in status["workers"] if each["home"]]
            pids = {"router": status["router"]["pid"], "taker": taker, "leaver": worker.pid}
            os.kill(taker, signal.SIGSTOP)  # nothing is adopted before it goes on
            worker.send_signal(signal.SIGTERM)
            mesh.status()
            os.kill(pids[whom], signal.SIGKILL)
            os.kill(taker, signal.SIGCONT)
            assert worker.wait(20) == (-signal.SIGKILL if whom == "leaver" else 0)
        if whom == "leaver":
            with another_worker(mesh.folder, folder, 0):
                assert group.results(timeout=25) == [made(i) for i in range(30)]
        else:
            assert content(folder) == []
            assert group.results(timeout=25) == [made(i) for i in range(30)]
    assert len(list(runs.iterdir())) == 30, "nothing ran again"


def made_once(runs: str, number: int) -> bytes:
    """It leaves a trace for each run."""
    (Path(runs) / f"{number}-{os.urandom(4).hex()}").touch()
    return made(number)


def test_at_a_second_signal_it_goes_and_its_store_stays(
    tmp_path: Path, nothing_left_behind: Leftovers
) -> None:
    with Mesh(dir=tmp_path / "mesh", slots=0, settings=PATIENT) as mesh:
        with another_worker(mesh.folder, tmp_path / "leaves", 1) as worker:
            group = mesh.submit_many(made, range(3))
            assert group.wait(20)
            [taker] = [each["pid"] for each in mesh.status()["workers"] if each["home"]]
            os.kill(taker, signal.SIGSTOP)
            worker.send_signal(signal.SIGTERM)
            worker.send_signal(signal.SIGINT)
            assert worker.wait(20) == 0
            os.kill(taker, signal.SIGCONT)
        assert len(content(tmp_path / "leaves")) == 3


def test_a_store_that_nobody_chose_goes_when_nothing_in_it_is_needed(
    tmp_path: Path, nothing_left_behind: Leftovers
) -> None:
    with Mesh(dir=tmp_path / "mesh", slots=0, settings=PATIENT) as mesh:
        with worker_without_folder(mesh.folder) as (worker, folder):
            group = mesh.submit_many(made, range(5))
            assert group.wait(20)
            assert group[0].result(20) == made(0)
            while not sum(group[0].explain()["result"]["fetched"].values()):
                pass
            assert content(folder)
            told_to_leave(worker)
            assert not folder.exists()
        with Mesh(access=mesh.folder) as other:
            assert other.result(group[1].id, 20) == made(1)
            with pytest.raises(ResultLost, match="ubmit"):
                other.result(group[0].id, 20)


def test_what_was_with_a_worker_that_is_forgotten_is_made_again_at_once(
    tmp_path: Path, nothing_left_behind: Leftovers
) -> None:
    soon = {"heartbeat_s": 0.2, "lost_after_s": 0.6}
    with Mesh(dir=tmp_path / "mesh", slots=0, settings=soon) as mesh:
        with another_worker(mesh.folder, tmp_path / "dies", 1) as worker:
            future = mesh.submit(made, 1)
            assert future.wait(20)
            [id] = [each["id"] for each in mesh.status()["workers"] if not each["home"]]
            assert mesh.forget_workers(id) == {id: "live"}
            worker.kill()
        with another_worker(mesh.folder, tmp_path / "next", 1):
            length = mesh.submit(len, future)
            assert mesh.submit(abs, -1).result(20) == 1, "others run, this one waits"
            assert mesh.forget_workers(id, "nosuchid") == {id: "forgotten", "nosuchid": "unknown"}
            assert (length.result(20), future.result(20)) == (SIZE, made(1))
