"""How fast bytes go to a task and come back, a few tasks in flight."""

from __future__ import annotations

import os
from collections import deque
from concurrent.futures import Executor, Future
from functools import partial
from pathlib import Path

from ..measure import bring_in, interleave, seconds_of
from ..reference import PROCESS_POOL, warm_pool
from ..row import Goal, Row
from ..settings import Settings
from ..subject import durable_mesh, temporary_mesh
from ..work import identity, numbers

WINDOW = 8
# Label, bytes, tasks of a sample.
SIZES = (
    ("1 kB", 1_000, 2_000),
    ("8 kB", 8_000, 2_000),
    ("64 kB", 64_000, 2_000),
    ("1 MB", 1_000_000, 200),
)
QUICK_SHARE = 10
GOALS = {"1 MB": Goal(target=1.0, aim=2.0, better="more")}

Rows = list[Row]

#: An array that a task returns, and the client looks at: none of it goes there.
ARRAY_BYTES = 100_000_000
ARRAY_TASKS = 10
BACK_AT_FULL_SIZE = Goal(target=1.5, aim=4.0, better="more")


def echo(pool: Executor, folder: str, size: int, count: int) -> float:
    """Tasks per second with `WINDOW` in flight; every result is fetched and looked at. All bytes
    are new, as results mostly are: the same ones a mesh need not store twice. What they take in
    files is at hand in `folder`."""
    given = [os.urandom(size) for _ in range(count)]
    bring_in(Path(folder), 2 * size * count)

    def run() -> None:
        flying: deque[Future[bytes]] = deque()
        for data in given:
            if len(flying) == WINDOW:
                check(flying.popleft().result())
            flying.append(pool.submit(identity, data))
        for future in flying:
            check(future.result())

    def check(result: bytes) -> None:
        if len(result) != size:
            raise ValueError(f"{size} bytes went, {len(result)} came back")

    return count / seconds_of(run)


def bring_back(pool: Executor, size: int, count: int) -> float:
    """Bytes per second of arrays that come one after the other."""

    def run() -> None:
        for _ in range(count):
            array = pool.submit(numbers, size // 8).result()
            if array[-1] != size // 8 - 1:
                raise ValueError("another array came back")

    run()  # every slot has made its array, and files and pages are there
    return size * count / seconds_of(run)


def back_and_forth(settings: Settings, pool: Executor, label: str, size: int, count: int) -> Rows:
    """Tasks that are given so many bytes and give them back, on meshes that have nothing else."""
    folder = settings.folder
    with durable_mesh(folder) as durable, temporary_mesh() as temporary:
        samples = interleave(
            {
                f"{label}, folder": partial(echo, durable, folder, size, count),
                f"{label}, no folder": partial(echo, temporary, folder, size, count),
                PROCESS_POOL: partial(echo, pool, folder, size, count),
            },
            settings.repeat,
        )
    return _rows(samples, "tasks/s", GOALS.get(label))


def back(settings: Settings, pool: Executor, size: int, count: int) -> Rows:
    """Arrays that tasks have."""
    label = f"array of {size // 1_000_000} MB back"
    with durable_mesh(settings.folder) as durable, temporary_mesh() as temporary:
        samples = interleave(
            {
                label: partial(bring_back, durable, size, count),
                f"{label}, no folder": partial(bring_back, temporary, size, count),
                PROCESS_POOL: partial(bring_back, pool, size, count),
            },
            settings.repeat,
        )
    return _rows(samples, "B/s", BACK_AT_FULL_SIZE)


def _rows(samples: dict[str, list[float]], unit: str, goal: Goal | None) -> Rows:
    theirs = samples.pop(PROCESS_POOL)
    return [Row(name, unit, ours, PROCESS_POOL, theirs, goal) for name, ours in samples.items()]


def measure(settings: Settings) -> Rows:
    rows = []
    with warm_pool(PROCESS_POOL) as pool:
        for label, size, usual in SIZES:
            count = settings.pick(usual, quick=usual // QUICK_SHARE)
            rows += back_and_forth(settings, pool, label, size, count)
        size = settings.pick(ARRAY_BYTES, quick=ARRAY_BYTES // QUICK_SHARE)
        rows += back(settings, pool, size, settings.pick(ARRAY_TASKS, quick=2))
    return rows
