"""What a mesh has run first in each process, in real slots."""

from __future__ import annotations

import os
from concurrent.futures import BrokenExecutor
from pathlib import Path

import pytest
import sample_tasks as tasks
from leftovers import Leftovers

from mesh import InitializerFailed, Mesh

table: list[int] = []
made = 0


def set_up(folder: str, value: int) -> None:
    global made
    print("sets up")
    made = value
    table.append(value)
    tasks.note(folder, str(os.getpid()))


async def set_up_slowly(folder: str, value: int) -> None:
    import asyncio

    await asyncio.sleep(0.05)
    set_up(folder, value)


def seen(_: object = None) -> tuple[int, list[int], int]:
    return made, table, os.getpid()


def seen_by_another() -> tuple[int, list[int], int]:
    return seen()


def test_it_runs_once_in_each_process_for_who_asked_for_it(
    nothing_left_behind: Leftovers, tmp_path: Path
) -> None:
    initargs = str(tmp_path / "ran"), 7
    (tmp_path / "ran").mkdir()
    with Mesh(slots=1, max_tasks_per_child=4) as others:
        mine = Mesh(access=others.folder, initializer=set_up, initargs=initargs)
        with mine:
            assert others.submit(seen).result(20)[:2] == (0, [])
            first = mine.submit(seen)
            assert first.result(20)[:2] == (7, [7])
            assert first.logs() == "sets up\n"
            assert mine.submit(seen_by_another).result(20) == first.result()
            assert others.submit(seen).result(20)[:2] == (0, []), "the fourth: the process ends"
            *_, pid = mine.options(id="again").submit(seen).result(20)
            assert pid != first.result()[2]
        with Mesh(access=others.folder) as without:
            found = without.options(id="again").submit(seen)
            assert found.result(20) == (7, [7], pid), "ids know nothing of it"
    assert sorted(tasks.runs(tmp_path / "ran").values()) == [1, 1]


def test_threads_of_a_process_share_it(nothing_left_behind: Leftovers, tmp_path: Path) -> None:
    initargs = str(tmp_path / "ran"), 7
    (tmp_path / "ran").mkdir()
    with Mesh(slots=1, threads=3, initializer=set_up_slowly, initargs=initargs) as m:
        told = m.submit_many(seen, range(6)).results(timeout=25)
        told.append(m.submit(seen_by_another).result(20))
    assert {made for made, *_ in told} == {7} and all(table == [7] for _, table, _ in told)
    assert list(tasks.runs(tmp_path / "ran").values()) == [1]


def open_it(path: str) -> None:
    with open(path):
        pass


@pytest.mark.parametrize("threads", [1, 2])
def test_if_it_raises_tasks_say_so_and_one_that_is_run_again_has_another_process(
    nothing_left_behind: Leftovers, tmp_path: Path, threads: int
) -> None:
    path = tmp_path / "there"
    with Mesh(slots=1, threads=threads, initializer=open_it, initargs=(str(path),)) as m:
        errors = m.submit_many(seen, range(100)).results("return", timeout=25)
        for error in errors:
            assert isinstance(error, InitializerFailed) and isinstance(error, BrokenExecutor)
        error = errors[0]
        assert "the initializer of this mesh failed: FileNotFoundError" in str(error)
        assert "in open_it" in str(error.__cause__) and "slot.py" not in str(error.__cause__)
        assert error.failure is not None and error.failure.kind.endswith("InitializerFailed")
        retried = m.options(retries=20, backoff=0.01).submit(tasks.pid)
        path.touch()
        assert retried.result(25) > 0
