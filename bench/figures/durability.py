"""What surviving a power cut costs: level `disk` beside level `process`."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

from ..measure import interleave, percentile, seconds_of
from ..row import Row
from ..settings import Settings
from ..subject import LEVELS, durable_mesh
from ..work import noop
from .throughput import flushed

if TYPE_CHECKING:
    from mesh import Mesh


def flush_of_one(mesh: Mesh, count: int) -> float:
    """Milliseconds until a task that was submitted alone is recorded, at the median."""

    def run() -> None:
        mesh.submit(noop)
        mesh.flush()

    return percentile([1e3 * seconds_of(run) for _ in range(count)], 50)


def measure(settings: Settings) -> list[Row]:
    many, few = settings.pick(20_000, quick=2_000), settings.pick(500, quick=50)
    with ExitStack() as stack:
        meshes = {
            level: stack.enter_context(durable_mesh(settings.folder, durability=level))
            for level in LEVELS
        }
        throughput, latency = (
            interleave(
                {level: partial(take, mesh, count) for level, mesh in meshes.items()},
                settings.repeat,
            )
            for take, count in ((flushed, many), (flush_of_one, few))
        )
    return [
        Row(name, unit, samples["disk"], "process", samples["process"])
        for name, unit, samples in (
            ("submit and flush, disk", "tasks/s", throughput),
            ("one task and its flush, p50, disk", "ms", latency),
        )
    ]
