"""Whether anything grows while a mesh runs a million tasks: memory, descriptors, threads, files."""

from __future__ import annotations

import os
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from .. import procfs
from ..fresh import fresh
from ..measure import interleave
from ..row import Goal, Row
from ..settings import Settings
from ..subject import durable_mesh, router_pid
from ..work import fails_or_is_large

if TYPE_CHECKING:
    from mesh import Mesh

MB = 1e6
ROUNDS = 10

#: The rounds compared: the first has what is made when it is first needed.
EARLY, LATE = 2, ROUNDS

#: What has been forgotten is dropped within seconds; what is there longer stays.
PRUNED_S = 30.0

FLAT = Goal(target=1.2, aim=1.05, better="less")

#: What is counted and not measured must not grow at all.
SAME = Goal(target=1.0, aim=1.0, better="less")

#: Where there was nothing early there is nothing late: a ratio would not tell.
NOTHING = Goal(target=0.0, aim=0.0, better="less", of="value")


def soak(count: int, folder: str) -> list[dict[str, float]]:
    """Run in a new process: what there is after each of ROUNDS rounds of tasks.

    One in a hundred may fail and is retried, one in a thousand leaves a result that stays with the
    worker until it is old; here that is at once, so that files come and go as well.
    """
    seen: list[dict[str, float]] = []
    settings = {"heartbeat_s": 0.5, "lost_after_s": 5.0, "ttl_s": 1.0}
    with durable_mesh(folder, settings=settings) as mesh:
        worker = mesh.status()["workers"][0]["pid"]
        pids = {"client": os.getpid(), "router": router_pid(mesh), "worker": worker}
        for n in range(ROUNDS):
            size = count // ROUNDS
            retried = mesh.options(retries=2, backoff=0.01)
            group = retried.submit_many(fails_or_is_large, range(n * size, (n + 1) * size))
            group.wait()
            del group
            while mesh.status()["tasks"]["done"] > size // 10:
                mesh.wait_for_slots(1)  # a round trip: what has ended grows old meanwhile
            now: dict[str, float] = {}
            for name, pid in pids.items():
                now[f"{name}: memory, MB"] = procfs.anonymous(pid) / MB
                now[f"{name}: descriptors"] = procfs.descriptors(pid)
                now[f"{name}: threads"] = procfs.threads(pid)
            until = time.monotonic() + PRUNED_S
            while (kept := _files(mesh)) and time.monotonic() < until:
                mesh.wait_for_slots(1)
            now["results kept as files"] = kept
            seen.append(now)
    return seen


def _files(mesh: Mesh) -> int:
    """How many results are with the worker."""
    return sum(file.is_file() for file in Path(mesh.folder, "worker", "content").rglob("*"))


def measure(settings: Settings) -> list[Row]:
    count = settings.pick(1_000_000, quick=20_000)
    take = partial(fresh, "figures.soak:soak", count, settings.folder)
    runs = interleave({"soak": take}, 1)["soak"]
    rows = []
    for name in runs[0][0]:
        early = [run[EARLY - 1][name] for run in runs]
        late = [run[LATE - 1][name] for run in runs]
        counted, compared = not name.endswith("MB"), any(early)
        rows.append(
            Row(
                name=f"{name.removesuffix(', MB')} at {count:,}",
                unit="" if counted else "MB",
                ours=late,
                reference=f"itself at {count * EARLY // ROUNDS:,}" if compared else "",
                theirs=early if compared else [],
                goal=NOTHING if not compared else SAME if counted else FLAT,
            )
        )
    return rows
