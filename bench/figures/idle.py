"""How much of a core a mesh uses while it has nothing to do."""

from __future__ import annotations

import os
import time
from functools import partial

from .. import procfs
from ..fresh import fresh
from ..measure import interleave
from ..row import Row
from ..settings import Settings
from ..subject import process_ids, temporary_mesh

# Long enough for whatever polls eagerly after work to have calmed down.
SETTLE_S = 2.0


def idle(seconds: float) -> dict[str, float]:
    """Run in a new process: percent of a core, of the mesh's processes and of their client."""
    with temporary_mesh() as mesh:
        groups = {"mesh": process_ids(mesh), "client": {os.getpid()}}
        time.sleep(SETTLE_S)
        start = time.perf_counter()
        before = {name: sum(map(procfs.cpu_seconds, pids)) for name, pids in groups.items()}
        time.sleep(seconds)
        after = {name: sum(map(procfs.cpu_seconds, pids)) for name, pids in groups.items()}
        elapsed = time.perf_counter() - start
    return {name: 100 * (after[name] - before[name]) / elapsed for name in groups}


def measure(settings: Settings) -> list[Row]:
    seconds = settings.pick(10, quick=3)
    take = partial(fresh, "figures.idle:idle", seconds)
    samples = interleave({"idle": take}, settings.few)["idle"]
    return [
        Row("router, worker, slots", "% of a core", [sample["mesh"] for sample in samples]),
        Row("client", "% of a core", [sample["client"] for sample in samples]),
    ]
