"""How many tasks get done in a second that each take the results of two others."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from ..measure import interleave, seconds_of
from ..row import Goal, Row
from ..settings import Settings
from ..subject import durable_mesh, temporary_mesh
from ..work import noop

if TYPE_CHECKING:
    from mesh import Mesh

#: Tasks of one layer of the graph, in two groups: each takes one of either group before.
LAYER_TASKS = 2_000

INDEPENDENT = "independent no-ops"

GOAL = Goal(target=0.4, aim=0.7, better="more")


def independent(mesh: Mesh, count: int) -> float:
    """Tasks per second of one `submit_many`."""
    return count / seconds_of(lambda: mesh.submit_many(noop, range(count)).wait())


def graph(mesh: Mesh, count: int) -> float:
    """Tasks per second of layers, each with twice as many edges as tasks."""
    half = min(LAYER_TASKS, count // 4) // 2

    def run() -> None:
        one, two = (mesh.submit_many(noop, range(half)) for _ in range(2))
        for _ in range(count // half // 2 - 1):
            one, two = (
                mesh.submit_many(noop, one, two),
                mesh.submit_many(noop, two, one),
            )
        one.wait()
        two.wait()

    return count / seconds_of(run)


def measure(settings: Settings) -> list[Row]:
    count = settings.pick(100_000, quick=4_000)
    with durable_mesh(settings.folder) as durable, temporary_mesh() as temporary:
        samples = interleave(
            {
                f"{name}, {where}": partial(measured, mesh, count)
                for where, mesh in (("folder", durable), ("no folder", temporary))
                for name, measured in (("graph", graph), (INDEPENDENT, independent))
            },
            settings.repeat,
        )
    return [
        Row(
            f"graph, {where}",
            "tasks/s",
            samples[f"graph, {where}"],
            INDEPENDENT,
            samples[f"{INDEPENDENT}, {where}"],
            GOAL,
        )
        for where in ("folder", "no folder")
    ]
