"""Folders in which no mesh can live: what is said, and that the next folder works."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import lmdb
import msgpack
import pytest
import sample_tasks as tasks
from ending import await_end
from leftovers import place_of_its_own

from mesh import Mesh, ResultLost, StoreError
from mesh.protocol import outcome


@pytest.fixture(autouse=True)
def other_meshes_go_on(mesh: Mesh) -> Iterator[None]:
    yield
    assert mesh.submit(pow, 2, 3).result(20) == 8


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("template") / "used"
    with place_of_its_own(folder.parent), Mesh(dir=folder, slots=1) as m:
        m.options(id="small").submit(pow, 2, 10).result(20)
        m.options(id="large").submit(bytes, 300_000).result(20)
    return folder


@pytest.fixture
def used(template: Path, tmp_path: Path) -> Path:
    """A folder in which a mesh has lived."""
    return Path(shutil.copytree(template, tmp_path / "used"))


def refusal(folder: Path) -> str:
    """Why no mesh can live there; the next folder works."""
    with pytest.raises(StoreError) as caught:
        Mesh(dir=folder, slots=1)
    return str(caught.value)


# -- whose and where ------------------------------------------------------------------------------


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert str(tmp_path / "file") in refusal(tmp_path / "file")
    assert str(tmp_path / "file") in refusal(tmp_path / "file" / "below")
    with Mesh(dir=tmp_path / "folder", slots=1) as m:
        assert m.submit(pow, 2, 3).result(20) == 8


def test_a_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    if os.getuid():
        pytest.skip("only root can give a folder away")
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    os.chown(theirs, 65534, -1)
    said = refusal(theirs)
    assert "uid 65534" in said and str(theirs) in said


def test_a_folder_that_others_could_read_is_closed_to_them(tmp_path: Path) -> None:
    folder = tmp_path / "open"
    folder.mkdir(mode=0o755)
    with Mesh(dir=folder, slots=1) as m:
        m.submit(bytes, 100_000).result(20)
        for path in (folder / "router", folder / "worker", *folder.rglob("*.mdb*")):
            assert path.stat().st_mode & 0o077 == 0, path
        assert (folder / "access.json").stat().st_mode & 0o777 == 0o600


def test_a_folder_without_the_right_to_write_is_refused(tmp_path: Path) -> None:
    if not os.getuid():
        pytest.skip("root may write everywhere; see the read-only file system below")
    folder = tmp_path / "closed"
    folder.mkdir()
    folder.chmod(0o500)
    try:
        assert str(folder) in refusal(folder)
    finally:
        folder.chmod(0o700)


def mounted(options: list[str], point: Path) -> bool:
    return subprocess.run(["mount", *options, point], capture_output=True).returncode == 0


@pytest.fixture
def read_only(used: Path, tmp_path: Path) -> Iterator[Path]:
    """The folder of a mesh on a file system that cannot be written to."""
    point = tmp_path / "mounted"
    point.mkdir()
    if os.getuid() or not mounted(["--bind", str(used)], point):
        pytest.skip("needs the right to mount")
    try:
        if not mounted(["-o", "remount,ro,bind"], point):
            pytest.skip("needs the right to mount read-only")
        yield point
    finally:
        subprocess.run(["umount", point], check=True)


def test_a_read_only_file_system_is_refused(read_only: Path) -> None:
    said = refusal(read_only)
    assert "read-only" in said and str(read_only) in said


@pytest.fixture
def tiny(tmp_path: Path) -> Iterator[Path]:
    """A file system of four megabytes."""
    point = tmp_path / "tiny"
    point.mkdir()
    if os.getuid() or not mounted(["-t", "tmpfs", "-o", "size=4m", "tmpfs"], point):
        pytest.skip("needs the right to mount")
    try:
        yield point
    finally:
        subprocess.run(["umount", point], check=True)


# -- what is in it --------------------------------------------------------------------------------


DAMAGES = {
    "noise": lambda whole: os.urandom(len(whole)),
    "empty": lambda whole: b"",
    "cut": lambda whole: whole[: len(whole) // 2 // 4096 * 4096],
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_records_that_are_damaged_are_refused_with_the_remedy(used: Path, damage: str) -> None:
    file = used / "router" / "records.mdb"
    whole = file.read_bytes()
    file.write_bytes(DAMAGES[damage](whole))
    said = refusal(used)
    assert str(file) in said and "Move" in said and "are lost" in said
    file.write_bytes(whole)
    with Mesh(dir=used, slots=1) as m:  # the refusal has made nothing worse
        assert m.result("small", 20) == 1024
        assert len(m.result("large", 20)) == 300_000


@pytest.mark.parametrize("damage", DAMAGES)
def test_results_are_served_although_their_index_was_damaged(used: Path, damage: str) -> None:
    file = used / "worker" / "index.mdb"
    file.write_bytes(DAMAGES[damage](file.read_bytes()))
    with Mesh(dir=used, slots=1) as m:
        m._connection._fetcher._host = "elsewhere"  # so that the worker is asked, not its folder
        assert len(m.result("large", 20)) == 300_000
        assert m.result("small", 20) == 1024
        assert len(m.submit(bytes, 100_000).result(20)) == 100_000
    assert "1 are indexed again" in (used / "log" / "worker.log").read_text()


@pytest.mark.parametrize("store", ["router/records.mdb", "worker/index.mdb"])
def test_a_folder_where_a_store_should_be_is_refused(used: Path, store: str) -> None:
    (used / store).unlink()
    (used / store).mkdir()
    said = refusal(used)
    assert str(used / store) in said and "another folder" in said


def test_a_store_of_a_newer_version_is_refused_and_left_alone(used: Path) -> None:
    for store, value in (("router/records.mdb", msgpack.packb(99)), ("worker/index.mdb", b"\x63")):
        whole = (used / store).read_bytes()
        with lmdb.open(str(used / store), subdir=False, max_dbs=30) as env:
            meta = env.open_db(b"meta")
            with env.begin(write=True) as txn:
                txn.put(b"schema", value, db=meta)
        said = refusal(used)
        assert "schema 99" in said and "Mesh version that wrote it" in said
        (used / store).write_bytes(whole)
    with Mesh(dir=used, slots=1) as m:
        assert m.result("small", 20) == 1024


def test_a_folder_in_use_is_joined_and_without_its_access_file_refused(tmp_path: Path) -> None:
    with Mesh(dir=tmp_path / "own", slots=1) as owner:
        with Mesh(dir=tmp_path / "own") as joined:
            assert joined.submit(pow, 2, 3).result(20) == 8
        owner.wait_for_slots(1, 20)
        file = tmp_path / "own" / "access.json"
        hidden = file.rename(tmp_path / "hidden.json")
        said = refusal(tmp_path / "own")
        assert f"in use by process {os.getpid()}" in said  # the owner of router and worker
        hidden.rename(file)
        assert owner.submit(pow, 2, 4).result(20) == 16


def test_scripts_that_start_on_one_folder_at_once_share_one_mesh(script, tmp_path: Path) -> None:
    source = """
        import sys
        from mesh import Mesh
        _, folder, start, end = sys.argv
        open(start).read()
        with Mesh(dir=folder, slots=1) as m:
            print(repr(m).split()[2].strip(":"), m.submit(pow, 2, 3).result(), flush=True)
            open(end).read()
    """
    gates = [
        [tasks.pipe_at(tmp_path / f"{what}{nth}") for what in ("start", "end")] for nth in range(3)
    ]
    scripts = [script(source, tmp_path / "own", *each) for each in gates]
    for start, _ in gates:
        tasks.let_go(start)
    said = [each.line() for each in scripts]
    assert sorted(said) == ["embedded 8", "joined 8", "joined 8"]
    for nth in sorted(range(3), key=lambda nth: said[nth], reverse=True):  # the owner is last
        tasks.let_go(gates[nth][1])
        scripts[nth].finish()


def test_who_comes_while_a_mesh_ends_waits_and_starts_the_next(script, tmp_path: Path) -> None:
    m = Mesh(dir=tmp_path / "own", slots=1, settings={"heartbeat_s": 0.2, "lost_after_s": 1.0})
    m.wait_for_slots(1, 20)
    status = m.status()
    worker, router = status["workers"][0]["pid"], status["router"]["pid"]
    os.kill(worker, signal.SIGSTOP)
    ending = threading.Thread(target=m.shutdown)
    ending.start()
    assert await_end(router)

    # Given a mesh whose end takes its time; who comes meanwhile is not refused
    each = script(
        """
        import sys, time
        from mesh import Mesh
        sleep = time.sleep
        def waits(seconds):
            time.sleep = sleep
            print("waits", flush=True)
        time.sleep = waits
        with Mesh(dir=sys.argv[1], slots=1) as m:
            print(repr(m).split()[2].strip(":"), m.submit(pow, 2, 3).result(), flush=True)
        """,
        tmp_path / "own",
    )
    assert each.line() == "waits"
    os.kill(worker, signal.SIGCONT)
    assert each.line() == "embedded 8"
    each.finish()
    ending.join()


# -- what was in it and is not any more -----------------------------------------------------------


def content(used: Path) -> Path:
    (file,) = [path for path in (used / "worker" / "content").rglob("*") if path.is_file()]
    return file


def test_a_result_that_is_gone_from_the_disk_is_lost_by_name(used: Path) -> None:
    content(used).unlink()
    with Mesh(dir=used, slots=1) as m:
        with pytest.raises(ResultLost):
            m.result("large", 20)
        assert m.result("small", 20) == 1024


def test_a_result_that_is_cut_short_is_lost_rather_than_wrong(used: Path) -> None:
    file = content(used)
    file.write_bytes(file.read_bytes()[:-1])
    with Mesh(dir=used, slots=1) as m, pytest.raises(ResultLost, match="of 300"):
        m.result("large", 20)


def test_a_result_that_is_damaged_is_lost_rather_than_wrong(used: Path) -> None:
    file = content(used)
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    with Mesh(dir=used, slots=1) as m, pytest.raises(ResultLost, match="checksum"):
        m.result("large", 20)


def test_what_was_lost_runs_again_under_its_id(used: Path) -> None:
    content(used).unlink()
    with Mesh(dir=used, slots=1) as m:
        again = m.options(id="large").submit(bytes, 300_000)
        assert again.result(20) == bytes(300_000), "it is made again"
        assert m.result("large", 20) == bytes(300_000)
    with Mesh(dir=used, slots=1) as m:
        group = m.submit_many(bytes, [300_000], ids=["large"])
        assert group.results(timeout=20) == [bytes(300_000)]
        assert group.status()["found"] == 1


def test_a_result_of_another_size_is_lost_at_once(used: Path) -> None:
    with Mesh(dir=used, slots=1) as m:
        future = m.future("large")
        assert future.wait(20)
        ref = outcome.parse_ref(outcome.parse(future._raw[1]).rest)
        with pytest.raises(ResultLost, match=f"holds {ref.size} bytes instead of {ref.size + 1}"):
            m._connection.fetch(ref._replace(size=ref.size + 1), 10)


def test_a_store_that_was_thrown_away_leaves_its_results_unreachable(used: Path) -> None:
    from mesh import ResultUnreachable

    shutil.rmtree(used / "worker")
    with Mesh(dir=used, slots=1, settings={"lost_after_s": 0.5}) as m:
        with pytest.raises((ResultUnreachable, ResultLost), match="store"):
            m.result("large", 20)
        assert m.result("small", 20) == 1024


def test_records_that_were_thrown_away_are_gone_and_said_to_be(used: Path) -> None:
    from mesh import TaskNotFound

    shutil.rmtree(used / "router")
    with Mesh(dir=used, slots=1) as m:
        with pytest.raises(TaskNotFound, match="'small'"):
            m.result("small", 20)
        assert m.options(id="small").submit(pow, 2, 10).result(20) == 1024


def test_records_begun_anew_mistake_no_result_for_one_of_before(tmp_path: Path) -> None:
    """The next mesh counts its leases from the beginning, and keeps results in the same store."""
    refs = []
    for size in (100_000, 200_000):
        with Mesh(dir=tmp_path / "own", slots=1) as m:
            large = m.submit(bytes, size)
            assert len(large.result(20)) == size
            refs.append(outcome.parse_ref(outcome.parse(large._raw[1]).rest))
            for ref in refs:
                assert len(m._connection.fetch(ref, 10)) == ref.size
        shutil.rmtree(tmp_path / "own" / "router")
    assert refs[0].lease == refs[1].lease and refs[0].size != refs[1].size


# -- no room --------------------------------------------------------------------------------------


def test_a_result_that_no_disk_holds_can_be_cancelled_and_the_others_stay(
    tiny: Path, tmp_path: Path
) -> None:
    """It waits in its slot for room that will not come."""

    def make(begun: str) -> bytes:
        with open(begun, "w"):
            pass
        return bytes(8_000_000)

    begun = tasks.pipe_at(tmp_path / "begun")
    with Mesh(dir=tiny / "own", slots=1) as m:
        kept = m.submit(bytes, 100_000)
        assert len(kept.result(20)) == 100_000
        too_large = m.submit(make, begun)
        tasks.heard_at(begun)
        assert m.cancel(too_large.id) == 1
        assert too_large.cancelled()
        assert m.submit(pow, 2, 3).result(20) == 8
        assert len(m.result(kept.id, 20)) == 100_000
