"""Results when they are asked for: how they come, and what that costs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import sample_tasks as tasks
from test_stores import content

from mesh import Mesh, ResultLost

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
        future = m.submit(tasks.nap, 0, bytes(size))
        assert future.wait(20)
        [file] = content(tmp_path / "m/worker")
        raw = bytearray(file.read_bytes())
        raw[size // 2] ^= 1
        file.write_bytes(raw)
        with pytest.raises(ResultLost, match="checksum"):
            future.result(20)
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
        assert first.explain()["result"]["fetched"]["local"] == 1
