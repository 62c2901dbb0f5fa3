"""How fast bytes go to a task and come back, a few tasks in flight."""

from __future__ import annotations

import os
from collections import deque
from concurrent.futures import Executor, Future
from functools import partial

from ..measure import interleave, seconds_of
from ..reference import PROCESS_POOL, warm_pool
from ..row import Row
from ..settings import Settings
from ..subject import durable_mesh, temporary_mesh
from ..work import identity

WINDOW = 8
# Label, bytes, tasks of a sample.
SIZES = (
    ("1 kB", 1_000, 2_000),
    ("8 kB", 8_000, 2_000),
    ("64 kB", 64_000, 2_000),
    ("1 MB", 1_000_000, 200),
)
QUICK_SHARE = 10


def echo(pool: Executor, data: bytes, count: int) -> float:
    """Tasks per second with `WINDOW` in flight; every result is fetched and looked at."""

    def run() -> None:
        flying: deque[Future[bytes]] = deque()
        for _ in range(count):
            if len(flying) == WINDOW:
                check(flying.popleft().result())
            flying.append(pool.submit(identity, data))
        for future in flying:
            check(future.result())

    def check(result: bytes) -> None:
        if len(result) != len(data):
            raise ValueError(f"{len(data)} bytes went, {len(result)} came back")

    return count / seconds_of(run)


def measure(settings: Settings) -> list[Row]:
    rows = []
    with (
        warm_pool(PROCESS_POOL) as pool,
        durable_mesh(settings.folder) as durable,
        temporary_mesh() as temporary,
    ):
        for label, size, usual in SIZES:
            data = os.urandom(size)
            count = settings.pick(usual, quick=usual // QUICK_SHARE)
            samples = interleave(
                {
                    f"{label}, folder": partial(echo, durable, data, count),
                    f"{label}, no folder": partial(echo, temporary, data, count),
                    PROCESS_POOL: partial(echo, pool, data, count),
                },
                settings.repeat,
            )
            theirs = samples.pop(PROCESS_POOL)
            rows += [
                Row(name, "tasks/s", ours, PROCESS_POOL, theirs) for name, ours in samples.items()
            ]
    return rows
