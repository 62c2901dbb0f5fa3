"""Results when they are asked for: how they come, and what that costs."""

from __future__ import annotations

import os
import pickle
import resource
import signal
from pathlib import Path

import numpy as np
import pytest
import sample_tasks as tasks
from scripts import Script
from test_stores import content

from mesh import Kept, Mesh, MeshError, ResultLost
from mesh.client import saving
from mesh.client.saving import save

LARGE = 40_000_000


def anonymous_bytes() -> int:
    """The memory of this process that no file backs."""
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
        if line.startswith("Anonymous:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("the kernel does not say")


def counted(size: int) -> np.ndarray:
    return np.arange(size // 8, dtype=np.int64)


def test_an_array_of_this_host_is_a_view_of_the_file_whatever_becomes_of_that(
    tmp_path: Path,
) -> None:
    with Mesh(dir=tmp_path / "m", slots=1) as m:
        future = m.submit(counted, LARGE)
        assert future.wait(20)
        [file] = content(tmp_path / "m/worker")
        before = anonymous_bytes()

        array = future.result(20)

        assert array[-1] == LARGE // 8 - 1 and anonymous_bytes() - before < LARGE // 4
        raw = file.read_bytes()
        array[:1000] = -1
        assert file.read_bytes() == raw  # what one does to it is its own
        again = m.future(future.id).result(20)
        assert again[0] == 0
        file.unlink()
        file.write_bytes(b"another")
        assert np.array_equal(array[1000:], again[1000:]) and int(array.sum()) > 0
    assert array[-1] == LARGE // 8 - 1


@pytest.mark.parametrize("size", [20_000, LARGE], ids=["read", "mapped"])
def test_a_file_that_is_not_what_it_was_is_lost_not_served(tmp_path: Path, size: int) -> None:
    with Mesh(dir=tmp_path / "m", slots=1) as m:
        future = m.submit(bytes, size)
        assert future.wait(20)
        [file] = content(tmp_path / "m/worker")
        raw = bytearray(file.read_bytes())
        raw[size // 2] ^= 1
        file.write_bytes(raw)
        with pytest.raises(ResultLost, match="checksum"):
            m.result(future.id, 20)
        file.write_bytes(raw[:-1])
        with pytest.raises(ResultLost, match="bytes of"):
            m.future(future.id).result(20)


def test_a_task_tells_what_it_takes_and_who_waits_for_it(tmp_path: Path) -> None:
    with Mesh(dir=tmp_path / "m", slots=1) as m:
        gate = tasks.pipe_at(tmp_path / "gate")
        first = m.submit(tasks.hold, gate, bytes(100_000))
        second = m.submit(len, first)
        m.flush()

        assert second.explain()["inputs"] == [first.id]
        assert first.explain()["needed_by"] == {"count": 1, "waiting": [second.id]}
        assert f"1 task takes its result; waiting for it: {second.id}" in str(first.explain())
        assert f"takes {first.id}" in str(second.explain())

        tasks.let_go(gate)
        assert second.result(20) == 100_000
        told = first.explain()
        assert told["needed_by"]["count"] == 0 and not told["result"]["is_away"]
        assert told["result"]["fetched"] == {"local": 0, "direct": 0, "relayed": 0}
        assert len(first.result(20)) == 100_000
        while (fetched := first.explain()["result"]["fetched"]) == told["result"]["fetched"]:
            pass  # the client says so in its own time
        assert fetched == {"local": 1, "direct": 0, "relayed": 0}


def saving_script(id: str, file: Path, way: str) -> str:
    """Writes the result of a task to a file, which comes this way, and prints the memory that no
    file backs, before and at its most, in kB."""
    return f"""
        from pathlib import Path
        from mesh import Mesh
        from mesh.client import fetch, saving
        from mesh.protocol import transfer
        def now():
            lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
            return next(int(line.split()[1]) for line in lines if line.startswith("Anonymous:"))
        names = {{transfer.LOCAL: "local", transfer.DIRECT: "direct", transfer.RELAYED: "relayed"}}
        ways = []
        fetch.Fetcher._count = lambda self, ref, way: ways.append(names[way])
        most = [0]
        def watched(step):
            def watch(*arguments):
                most[0] = max(most[0], now())
                return step(*arguments)
            return watch
        saving._copy = watched(saving._copy)
        fetch._Thread.write = watched(fetch._Thread.write)
        with Mesh({str(file.parent / "m")!r}) as m:
            if {way != "local"}:
                m._connection._fetcher._local = lambda place, ref: None
            if {way == "relayed"}:
                m._connection._fetcher._host = "elsewhere"
            future = m.future({id!r})
            future.wait()
            before = now()
            saving.save(future.outcome(), {str(file)!r})
            print(before, most[0], *ways)
        """


@pytest.mark.parametrize("way", ["local", "direct", "relayed"])
def test_a_large_result_goes_to_a_file_without_being_in_memory(
    tmp_path: Path, script: type[Script], way: str
) -> None:
    with Mesh(dir=tmp_path / "m", slots=1) as m:
        for call, check in (
            (m.submit(bytes, LARGE), lambda file: file.read_bytes() == bytes(LARGE)),
            (
                m.submit(counted, LARGE),
                lambda file: np.array_equal(pickle.loads(file.read_bytes()), counted(LARGE)),
            ),
        ):
            file = tmp_path / "value"
            assert call.wait(20)
            told = script(saving_script(call.id, file, way)).finish().split()
            before, most = map(int, told[:2])
            assert (most - before) * 1024 < LARGE // 4 and told[2:] == [way]
            assert check(file)
            assert sorted(each.name for each in tmp_path.glob("value*")) == ["value"]


def test_a_file_that_cannot_be_written_is_as_it_was(tmp_path: Path) -> None:
    with Mesh(dir=tmp_path / "m", slots=1) as m:
        future = m.submit(bytes, LARGE)
        file = tmp_path / "value"
        file.write_text("before")
        link = tmp_path / "link"
        link.symlink_to(file)
        os.truncate(file, 3)
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (LARGE // 2, limits[1]))
        try:
            assert future.wait(20)
            with pytest.raises(MeshError, match="cannot be written"):
                save(future.outcome(), str(file))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            signal.signal(signal.SIGXFSZ, handler)
        assert file.read_text() == "bef" and not list(tmp_path.glob("*.part"))

        assert save(future.outcome(), str(link)) == (LARGE, "bytes")
        assert link.is_symlink() and file.stat().st_size == LARGE
        save(future.outcome(), os.devnull)
        assert not Path(os.devnull).is_file()


def test_two_that_write_to_one_file_are_not_in_each_others_way(tmp_path: Path) -> None:
    file = tmp_path / "value"
    with saving.target(str(file)) as first, saving.target(str(file)) as second:
        first.write(b"first" * 1000)
        second.write(b"second")
    assert file.read_bytes() == b"first" * 1000  # it was done last
    assert not [each.name for each in tmp_path.iterdir() if each.name.endswith(".part")]
    with pytest.raises(MeshError, match="names no file"):
        saving.save_value(b"", "")


def test_what_was_asked_for_is_there_without_a_mesh(tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    with Mesh(slots=1, results=folder) as m:
        large = m.options(id="large").submit(counted, LARGE)
        group = m.submit_many(pow, [2, 3], [2, 2], ids=["two", "three"])
        assert np.array_equal(large.result(20), counted(LARGE)) and group.results() == [4, 9]
        one = m.submit(bytes, 100_000)
        assert m.result(one.id, 20) == bytes(100_000)
        m.submit(pow, 2, 5).wait(20)  # nobody asks for it

    kept = Kept(folder)
    assert np.array_equal(kept.result("large"), counted(LARGE))
    assert [kept.result(name) for name in ("two", "three")] == [4, 9]
    assert kept.result(one.id) == bytes(100_000)
    assert len(list(folder.glob("objects/??/*"))) == 4
