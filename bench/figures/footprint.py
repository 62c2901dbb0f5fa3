"""What an embedded mesh with two slots takes of a machine while nothing is stored in it."""

from __future__ import annotations

import os
import time
from functools import partial
from typing import TypedDict

from .. import procfs
from ..fresh import fresh
from ..measure import interleave
from ..reference import PROCESS_POOL, warm_pool
from ..row import Goal, Row
from ..settings import Settings
from ..subject import process_ids, temporary_mesh

MB = 1e6
SETTLE_S = 1.0

MEMORY = Goal(target=110, aim=70, better="less", of="value")
NO_PORTS = Goal(target=0, aim=0, better="less", of="value")


class Footprint(TypedDict):
    processes: int
    processes_mb: float
    client_mb: float
    total_mb: float
    tcp_ports: int
    descriptors: int
    client_descriptors: int


def mesh_footprint() -> Footprint:
    """Run in a new process, which is then the client."""
    with temporary_mesh() as mesh:
        time.sleep(SETTLE_S)
        return footprint(process_ids(mesh))


def pool_footprint() -> Footprint:
    with warm_pool(PROCESS_POOL):
        time.sleep(SETTLE_S)
        return footprint(procfs.descendants(os.getpid()))


def footprint(pids: set[int]) -> Footprint:
    """Of these processes, with this one as their client."""
    client = os.getpid()
    processes_mb = sum(map(procfs.pss, pids)) / MB
    client_mb = procfs.pss(client) / MB
    return {
        "processes": len(pids),
        "processes_mb": processes_mb,
        "client_mb": client_mb,
        "total_mb": processes_mb + client_mb,
        "tcp_ports": len(procfs.listening_ports({*pids, client})),
        "descriptors": sum(map(procfs.descriptors, pids)),
        "client_descriptors": procfs.descriptors(client),
    }


def measure(settings: Settings) -> list[Row]:
    samples = interleave(
        {name: partial(fresh, f"figures.footprint:{name}_footprint") for name in ("mesh", "pool")},
        settings.few,
    )

    def row(field: str, name: str, unit: str, goal: Goal | None = None) -> Row:
        ours, theirs = ([sample[field] for sample in samples[side]] for side in ("mesh", "pool"))
        # No ratio to a pool that has none of it, as of ports.
        return (
            Row(name, unit, ours, PROCESS_POOL, theirs, goal)
            if all(theirs)
            else Row(name, unit, ours, goal=goal)
        )

    return [
        row("processes", "processes beside the client", "processes"),
        row("processes_mb", "PSS of router, worker, slots", "MB", MEMORY),
        row("client_mb", "PSS of the client", "MB"),
        row("total_mb", "PSS of all, client included", "MB", MEMORY),
        row("tcp_ports", "listening TCP ports", "ports", NO_PORTS),
        row("descriptors", "descriptors of router, worker, slots", "open"),
        row("client_descriptors", "descriptors of the client", "open"),
    ]
