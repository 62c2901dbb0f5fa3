"""How many tasks that do nothing get done in a second."""

from __future__ import annotations

from concurrent.futures import Executor
from functools import partial
from typing import TYPE_CHECKING

from ..measure import interleave, seconds_of
from ..reference import PROCESS_POOL, warm_pool
from ..row import Goal, Row
from ..settings import Settings
from ..subject import durable_mesh, temporary_mesh
from ..work import noop

if TYPE_CHECKING:
    from mesh import Mesh

ONE_BY_ONE = Goal(target=3, aim=6, better="more")
IN_BATCHES = Goal(target=8, aim=15, better="more")


def one_by_one(pool: Executor, count: int) -> float:
    """Tasks per second: all submitted, then all gathered."""

    def run() -> None:
        for future in [pool.submit(noop) for _ in range(count)]:
            future.result()

    return count / seconds_of(run)


def flushed(mesh: Mesh, count: int) -> float:
    """The same, and every task known to be on disk before the first result is asked for."""

    def run() -> None:
        futures = [mesh.submit(noop) for _ in range(count)]
        mesh.flush()
        for future in futures:
            future.result()

    return count / seconds_of(run)


def in_batches(mesh: Mesh, count: int) -> float:
    """Tasks per second of one `submit_many`."""
    return count / seconds_of(lambda: mesh.submit_many(noop, range(count)).results())


def measure(settings: Settings) -> list[Row]:
    count = settings.pick(20_000, quick=2_000)
    with (
        warm_pool(PROCESS_POOL) as pool,
        durable_mesh(settings.folder) as durable,
        temporary_mesh() as temporary,
    ):
        samples = interleave(
            {
                "submit, folder": partial(one_by_one, durable, count),
                "submit, no folder": partial(one_by_one, temporary, count),
                "submit and flush, folder": partial(flushed, durable, count),
                "submit_many, folder": partial(in_batches, durable, count),
                "submit_many, no folder": partial(in_batches, temporary, count),
                PROCESS_POOL: partial(one_by_one, pool, count),
            },
            settings.repeat,
        )
    theirs = samples.pop(PROCESS_POOL)
    goals = {"submit, folder": ONE_BY_ONE, "submit_many, folder": IN_BATCHES}
    return [
        Row(name, "tasks/s", ours, f"{PROCESS_POOL}.submit", theirs, goals.get(name))
        for name, ours in samples.items()
    ]
