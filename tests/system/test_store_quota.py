"""A worker whose store has a quota: what is not needed goes, and what is needed stays."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from leftovers import Leftovers
from scripts import another_worker

from mesh import Mesh, ResultLost

SIZE = 100_000


def made(number: int) -> bytes:
    return bytes([number]) * SIZE


def slowly_made(number: int) -> bytes:
    time.sleep(0.1)
    return made(number)


def stored_bytes(mesh: Mesh) -> int:
    """What the worker with the quota has."""
    [worker] = [each for each in mesh.status()["workers"] if not each["home"]]
    return int(worker["stored_bytes"])


def test_beyond_its_quota_a_store_lets_go_of_what_was_fetched(
    tmp_path: Path, nothing_left_behind: Leftovers
) -> None:
    with (
        Mesh(dir=tmp_path / "mesh", slots=0, settings={"heartbeat_s": 0.2}) as mesh,
        another_worker(mesh.folder, tmp_path / "small", 1, "--store-quota", "1MB"),
    ):
        first = mesh.submit(made, 1)
        assert first.result(20) == made(1)
        unfetched = mesh.submit_many(made, range(2, 5))
        for number in range(30):
            assert mesh.submit(made, number).result(20) == made(number)
        while stored_bytes(mesh) > 10 * SIZE:
            pass
        with Mesh(access=mesh.folder) as other, pytest.raises(ResultLost, match="evicted"):
            other.result(first.id, 20)
        assert unfetched.results(timeout=20) == [made(n) for n in range(2, 5)]
        assert first.result(20) == made(1), "for who has submitted it it is made again"


def test_what_nobody_has_fetched_stays_and_no_more_is_begun(
    tmp_path: Path, nothing_left_behind: Leftovers
) -> None:
    with (
        Mesh(dir=tmp_path / "mesh", slots=0, settings={"heartbeat_s": 0.2}) as mesh,
        another_worker(mesh.folder, tmp_path / "small", 1, "--store-quota", "300kB"),
    ):
        group = mesh.submit_many(slowly_made, range(16))
        for progress in group.progress():
            if progress.done >= 3:
                break
        while any(worker["window"] for worker in mesh.status()["workers"] if not worker["home"]):
            pass
        done = mesh.status()["tasks"]["done"]
        with another_worker(mesh.folder, tmp_path / "large", 1):
            assert group.wait(20)
        assert done < 16 and group.results(timeout=20) == [made(n) for n in range(16)]
