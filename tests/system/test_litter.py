"""What is left of a mesh when everything is killed at once, or when it is interrupted as it starts:
the next start of a mesh removes it, and nothing else."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import threading
import time
from pathlib import Path

import pytest
from ending import await_end
from leftovers import Leftovers

from mesh import Mesh
from mesh.processes import litter
from mesh.transport import sockets


def temporary() -> Path:
    return Path(tempfile.gettempdir())


def left_in(folder: Path) -> list[str]:
    return sorted(os.listdir(folder)) if folder.exists() else []


def kill_all(leftovers: Leftovers) -> None:
    """Kill -9 all that the test has started, at once."""
    pids = leftovers.processes()
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for pid in pids:
            os.kill(pid, number)
    assert all(map(await_end, pids))


@pytest.fixture
def left(script, nothing_left_behind: Leftovers) -> Path:
    """The folder of a temporary mesh of which everything was killed at once."""
    each = script(
        """
        import time
        from mesh import Mesh
        with Mesh(slots=1) as m:
            m.wait_for_slots(1)
            print(m.folder, flush=True)
            time.sleep(600)
        """
    )
    folder = Path(each.line())
    kill_all(nothing_left_behind)
    assert folder.is_dir()
    return folder


def test_the_next_start_removes_what_killed_meshes_left(left: Path) -> None:
    assert left_in(left.parent) == [left.name]
    assert len(left_in(sockets._root())) == 1
    with Mesh(slots=0) as m:
        assert left_in(left.parent) == [m.folder.name]
        assert len(left_in(sockets._root())) == 1


def test_who_lives_is_left_alone(script, nothing_left_behind: Leftovers, tmp_path: Path) -> None:
    each = script(
        """
        from mesh import Mesh
        with Mesh(slots=1) as m:
            m.wait_for_slots(1)
            status = m.status()
            print(status["router"]["pid"], status["workers"][0]["pid"], m.folder, flush=True)
            m.submit(lambda: __import__("time").sleep(600)).result()
        """
    )
    router, worker, folder = each.line().split()
    with Mesh(slots=1) as m:
        assert Path(folder).is_dir()
        assert m.submit(pow, 2, 3).result(20) == 8

    # Nor is a folder removed whose owner is dead while router and worker are not yet
    for pid in (router, worker):
        os.kill(int(pid), signal.SIGSTOP)
    each.kill()
    with Mesh(slots=0):
        assert (Path(folder) / "router" / "records.mdb").exists()
    for pid in (router, worker):
        os.kill(int(pid), signal.SIGCONT)
    assert await_end(int(router)) and await_end(int(worker))


def test_nothing_else_is_touched(left: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    shutil.copytree(left, kept)
    (left.parent / "mesh-alinkaaa").symlink_to(kept)  # a link to what would be removed
    shutil.copytree(left, left.parent / "mesh-strangea")
    (left.parent / "mesh-strangea" / "notes.txt").touch()  # what no mesh puts there
    shutil.copytree(left, left.parent / "mesh-persiste")
    (left.parent / "mesh-persiste" / litter.MARK).unlink()  # Mesh(dir="/tmp/mesh-persiste")
    shutil.copytree(left, left.parent / "mesh-run")
    (left.parent / "mesh-justmade").mkdir(0o700)
    (left.parent / "mesh-openfora").mkdir(0o755)
    names = set(left_in(left.parent)) - {left.name}
    sockets_kept = sockets._root() / "notamesh.d"
    sockets_kept.mkdir()

    with Mesh(slots=0) as m:
        assert set(left_in(left.parent)) == names | {m.folder.name}
        assert sockets_kept.is_dir()
    assert (kept / "owner").exists()
    sockets_kept.rmdir()
    (left.parent / "mesh-alinkaaa").unlink()
    for name in names - {"mesh-alinkaaa"}:
        shutil.rmtree(left.parent / name)


def test_what_was_made_and_never_owned_is_removed_when_it_is_old(left: Path) -> None:
    made = [left.parent / "mesh-aaaaaaaa", left.parent / "mesh-bbbbbbbb"]
    for folder in made:
        folder.mkdir(0o700)
    (made[1] / "owner").touch()
    litter.sweep(left.parent)
    assert all(folder.is_dir() for folder in made)
    old = time.time() - litter.YOUNG_S - 60
    for folder in made:
        os.utime(folder, (old, old))
    litter.sweep(left.parent)
    assert left_in(left.parent) == []


def test_several_may_sweep_at_once_and_none_sweeps_for_long(left: Path) -> None:
    for i in range(2 * litter.REMOVE_MAX + 9):
        shutil.copytree(left, left.parent / f"mesh-{i:08}")
        (sockets._root() / f"{i:08}").mkdir(0o700)
    litter.sweep(left.parent)
    assert len(left_in(left.parent)) == litter.REMOVE_MAX + 10
    assert len(left_in(sockets._root())) == litter.REMOVE_MAX + 10
    threads = [threading.Thread(target=litter.sweep, args=[left.parent]) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert left_in(left.parent) == left_in(sockets._root()) == []


def test_an_interrupt_at_any_moment_of_a_start_leaves_nothing(
    script, nothing_left_behind: Leftovers
) -> None:
    for nth in range(5):
        each = script(
            """
            import signal, sys
            import mesh.processes.local
            from mesh import Mesh
            signal.signal(signal.SIGALRM, signal.default_int_handler)
            print("starts", flush=True)
            signal.setitimer(signal.ITIMER_REAL, float(sys.argv[1]))
            with Mesh(slots=1):
                print("started", flush=True)
            """,
            0.02 + nth * 0.1,
        )
        assert each.line() == "starts"
        each.process.wait()
        each.close()
        nothing_left_behind.check()
