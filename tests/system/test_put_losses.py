"""What is put while processes die, stand still or are not there."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ending import kill
from matrix import LONG, SOON, router_of
from scripts import another_worker

from mesh import DependencyFailed, Mesh
from mesh.store import deposits

#: The content of a put of a test.
ARRAY = np.arange(100_000)

#: More than two gigabytes: lengths and offsets beyond 31 bits.
HUGE_BYTES = 2**31 + 1


def total(array: Any) -> int:
    return int(np.sum(array))


def worker_of(mesh: Mesh) -> int:
    return int(mesh.status()["workers"][0]["pid"])


def incoming_of(mesh: Mesh) -> Path:
    return Path(mesh.folder) / "worker" / "incoming"


@pytest.fixture
def soon(nothing_left_behind: Any) -> Any:
    """A mesh that notices silence soon."""
    with Mesh(slots=1, settings=SOON) as m:
        yield m


def test_many_tasks_on_two_workers_take_one(tmp_path: Path) -> None:
    folder = tmp_path / "w2"
    with Mesh(slots=1) as m:
        future = m.put(ARRAY)
        access = Path(m.folder) / "access.json"
        with another_worker(access, folder, 1):
            m.wait_for_slots(2, 30)
            group = m.submit_many(lambda a: (os.getppid(), int(a.sum())), [future] * 100)
            rows = group.results(timeout=60)
            assert {total for _, total in rows} == {ARRAY.sum()}
            assert len({worker for worker, _ in rows}) == 2
            assert len(list(folder.glob("content/*/*"))) == 1, "it was brought there once"


def test_a_worker_killed_before_it_has_taken_it_in_does_so_in_its_next_life(soon: Mesh) -> None:
    soon.wait_for_slots(1, 20)
    worker = worker_of(soon)
    os.kill(worker, signal.SIGSTOP)
    task = soon.submit(total, ARRAY)
    kill(worker)
    assert task.result(60) == ARRAY.sum()


def test_a_router_killed_before_it_has_recorded_it_is_told_again(soon: Mesh) -> None:
    soon.wait_for_slots(1, 20)
    worker = worker_of(soon)
    os.kill(worker, signal.SIGSTOP)
    task = soon.submit(total, ARRAY)
    kill(router_of(soon))
    os.kill(worker, signal.SIGCONT)
    assert task.result(60) == ARRAY.sum()
    assert soon.put(ARRAY).result(20)[-1] == ARRAY[-1]


def test_what_a_worker_does_not_have_after_all_fails_what_takes_it(soon: Mesh) -> None:
    soon.wait_for_slots(1, 20)
    assert soon.submit(total, ARRAY).result(30) == ARRAY.sum()  # its place is there
    worker = worker_of(soon)
    os.kill(worker, signal.SIGSTOP)
    task = soon.submit(total, ARRAY + 1)
    [place] = deposits.folders(incoming_of(soon))
    [left] = [file for file in place.iterdir() if file.name != deposits.LOCK]
    left.unlink()
    os.kill(worker, signal.SIGCONT)
    with pytest.raises(DependencyFailed, match=r"could not be stored: store .* does not hold"):
        task.result(60)
    assert soon.submit(total, ARRAY + 2).result(30) == (ARRAY + 2).sum()


def test_content_that_was_lost_is_stored_anew(soon: Mesh) -> None:
    for _ in range(3):
        assert soon.submit(total, ARRAY).result(30) == ARRAY.sum()
    content = list((Path(soon.folder) / "worker" / "content").glob("??/*"))
    assert len(content) == 2
    for file in content:
        file.unlink()
    assert soon.submit(total, ARRAY).result(30) == ARRAY.sum()


def test_a_client_killed_amid_an_upload_leaves_nothing(soon: Mesh, script: Any) -> None:
    source = """
        import sys, time
        import numpy as np
        from mesh import Mesh
        from mesh.processes import spool

        def half(file, parts):
            with open(file, "wb") as opened:
                opened.write(bytes(1000))
            print("half", flush=True)
            time.sleep(600)

        spool.write = half
        Mesh(access=sys.argv[1]).put(np.arange(1_000_000))
    """
    client = script(source, Path(soon.folder) / "access.json")
    assert client.line() == "half"
    [place] = deposits.folders(incoming_of(soon))
    for each in (place, *place.iterdir()):
        os.utime(each, (0, 0))
    kill(worker_of(soon))  # its next life looks at what is there
    soon.wait_for_slots(1, 30)
    assert soon.submit(total, ARRAY).result(60) == ARRAY.sum()
    assert place in deposits.folders(incoming_of(soon)), "its client lives"
    client.kill()
    kill(worker_of(soon))
    assert soon.submit(total, ARRAY + 1).result(60) == (ARRAY + 1).sum()
    assert place not in deposits.folders(incoming_of(soon))


@pytest.mark.skipif(LONG <= 1, reason="takes long: set MESH_LONG")
def test_more_than_two_gigabytes(own_mesh: Mesh) -> None:
    if shutil.disk_usage(own_mesh.folder).free < 3 * HUGE_BYTES:
        pytest.skip("there is no room for it")
    array = np.zeros(HUGE_BYTES, dtype="u1")
    array[-1] = 7
    assert own_mesh.submit(total, array).result(300) == 7
    made = own_mesh.submit(lambda size: np.full(size, 7, dtype="u1"), HUGE_BYTES).result(300)
    assert (len(made), made[0], made[-1]) == (HUGE_BYTES, 7, 7), "a result, too"
    future = own_mesh.put(array)
    assert own_mesh.submit(lambda a: int(a[-1]), future).result(300) == 7
