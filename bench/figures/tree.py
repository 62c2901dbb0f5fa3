"""What of a reduction over large results goes through the router."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from ..meter import Meter
from ..peers import another_worker
from ..row import Goal, Row
from ..settings import Settings
from ..subject import START_TIMEOUT_S, router_alone
from ..work import first_of, made

if TYPE_CHECKING:
    from mesh import Mesh

WORKERS = 4
LEAF_BYTES = 1_000_000
FAN_IN = 10

IN_RECORDS = Goal(target=1.0, aim=0.1, better="less", of="value")


def share(mesh: Mesh, meter: Meter, leaves: int) -> float:
    """Bytes that pass the router, in % of those that go from worker to worker."""
    before = meter.passed, _fetched(mesh)
    level = mesh.submit_many(made, [LEAF_BYTES] * leaves)
    while len(level) > 1:
        columns = [level[nth::FAN_IN] for nth in range(FAN_IN)]
        level = mesh.submit_many(first_of, *columns)
    level.wait()
    passed = meter.passed - before[0]
    return 100 * passed / (_fetched(mesh) - before[1])


def _fetched(mesh: Mesh) -> int:
    """Bytes that workers have from each other, directly, as far as they have reported it: those of
    the last moment may be missing, which does not flatter."""
    workers = mesh.status()["workers"]
    return sum(each["fetched"]["direct"]["size_bytes"] for each in workers)


def measure(settings: Settings) -> list[Row]:
    from mesh import Mesh

    leaves = settings.pick(1000, quick=100)
    with ExitStack() as opened:
        enter = opened.enter_context
        owner = enter(router_alone(settings.folder))
        folder = Path(enter(tempfile.TemporaryDirectory()))
        meter = Meter(Path(str(owner.folder)) / "access.json", folder)
        opened.callback(meter.close)
        for nth in range(WORKERS):
            store = enter(tempfile.TemporaryDirectory(dir=settings.folder))
            enter(another_worker(str(meter.access), store, host=f"host-{nth}", port=0))
        mesh = enter(Mesh(access=str(meter.access)))
        mesh.wait_for_slots(WORKERS, START_TIMEOUT_S)
        samples = [share(mesh, meter, leaves) for _ in range(settings.few)]
    name = f"through the router, {leaves:,} × 1 MB reduced on {WORKERS} workers"
    return [Row(name, "% of bytes moved", samples, goal=IN_RECORDS)]
