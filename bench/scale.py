"""What a router of so many workers costs: real sockets, simulated slots.

    python -m bench.scale                          # 10, 100 and 1,000 workers of 16 slots
    python -m bench.scale --workers 1000 --slots 64 --tasks 200000

One router, with a folder, encrypted TCP and its usual settings; the workers are a crowd
(`crowd.py`) in a few processes, and as real as the router can tell. What they take of this machine
is not the router's: its CPU time per task is the figure that says how far one router goes.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from . import procfs
from .fresh import ROOT
from .measure import percentile
from .subject import router_pid
from .work import noop

if TYPE_CHECKING:
    from mesh import Mesh

#: Processes of a crowd: as many as leave the router a core of two.
CROWDS = 4

#: All of a crowd has joined within this, or something is wrong.
JOIN_TIMEOUT_S = 120.0


@dataclass
class Report:
    """What was found with so many workers; times in seconds, memory in bytes."""

    workers: int
    joined_s: float  # from the start of their processes to the welcome of the last
    memory: int  # the router's, anonymous, before any task
    idle_percent: float  # of a core, the router's, while nobody has anything to do
    rate: float  # no-op tasks per second
    cpu_us: float  # the router's per task of those
    busy_memory: int  # the same as `memory`, with all of the tasks recorded
    alone_p50: float  # the round trip of one task of another client, with nothing else to do
    beside_p50: float  # and while the router is at its limit
    beside_p99: float


#: What a column of the table is called, and how it is written.
COLUMNS = {
    "workers": ("workers", "{:,}"),
    "joined_s": ("joined in s", "{:.1f}"),
    "memory": ("router MB", "{:.1f}"),
    "idle_percent": ("idle, % of a core", "{:.2f}"),
    "rate": ("tasks/s", "{:,.0f}"),
    "cpu_us": ("router µs/task", "{:.1f}"),
    "busy_memory": ("with tasks MB", "{:.1f}"),
    "alone_p50": ("one task, ms", "{:.1f}"),
    "beside_p50": ("beside the load, p50 ms", "{:.1f}"),
    "beside_p99": ("p99 ms", "{:.1f}"),
}

_SCALED = {"memory": 1e-6, "busy_memory": 1e-6} | dict.fromkeys(
    ("alone_p50", "beside_p50", "beside_p99"), 1e3
)


@contextmanager
def crowd(access: Path, workers: int, slots: int, task_s: float) -> Iterator[float]:
    """So many workers that have joined; how long that took."""
    begun = time.monotonic()
    with ExitStack() as ending:
        parts = []
        for nth in range(min(CROWDS, workers)):
            size = workers // CROWDS + (nth < workers % CROWDS)
            what = [sys.executable, "-m", "bench.crowd", access, size, slots, task_s]
            process = subprocess.Popen(
                [*map(str, what)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
            ending.callback(process.wait)
            ending.callback(process.stdin.close)  # type: ignore[union-attr]  # it is a pipe
            parts.append(process)
        late = threading.Timer(JOIN_TIMEOUT_S, lambda: [each.kill() for each in parts])
        late.start()
        for process in parts:
            if not process.stdout.readline():  # type: ignore[union-attr]
                raise TimeoutError(f"{workers} workers have not joined in {JOIN_TIMEOUT_S:g} s")
        late.cancel()
        yield time.monotonic() - begun


def round_trips(mesh: Mesh, until: threading.Event, most: int) -> list[float]:
    """How long each of single tasks took, one after the other."""
    took: list[float] = []
    while not until.is_set() and len(took) < most:
        begun = time.perf_counter()
        mesh.submit(noop).result()
        took.append(time.perf_counter() - begun)
    return took


def look(workers: int, slots: int, tasks: int, task_s: float, idle_s: float, folder: str) -> Report:
    """One row: a new router, and a crowd. Idle it is looked at for `idle_s`, after as long a
    rest."""
    from mesh import Mesh

    where = tempfile.mkdtemp(dir=folder, prefix="mesh-")
    with ExitStack() as opened:
        mesh = opened.enter_context(Mesh(slots=0, dir=where, listen="tcp://127.0.0.1:*"))
        router = router_pid(mesh)
        access = Path(where) / "access.json"
        joined_s = opened.enter_context(crowd(access, workers, slots, task_s))
        mesh.wait_for_slots(workers * slots, JOIN_TIMEOUT_S)
        other = opened.enter_context(Mesh(access=access))
        alone = round_trips(other, threading.Event(), 200)
        time.sleep(idle_s)
        memory, before = procfs.anonymous(router), procfs.cpu_seconds(router)
        time.sleep(idle_s)
        idle = (procfs.cpu_seconds(router) - before) / idle_s

        before, begun, over = procfs.cpu_seconds(router), time.monotonic(), threading.Event()
        beside: list[float] = []
        single = threading.Thread(target=lambda: beside.extend(round_trips(other, over, 1_000_000)))
        single.start()
        mesh.submit_many(noop, range(tasks)).wait()
        took_s = time.monotonic() - begun
        cpu_s = procfs.cpu_seconds(router) - before
        over.set()
        single.join()
        return Report(
            workers,
            joined_s,
            memory,
            100 * idle,
            tasks / took_s,
            1e6 * cpu_s / tasks,
            procfs.anonymous(router),
            percentile(alone, 50),
            percentile(beside, 50),
            percentile(beside, 99),
        )


def row(report: Report) -> str:
    """A line of the table."""
    cells = []
    for each in fields(report):
        value = getattr(report, each.name) * _SCALED.get(each.name, 1)
        cells.append(COLUMNS[each.name][1].format(value))
    return f"| {' | '.join(cells)} |"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.scale", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--workers", type=int, nargs="+", default=[10, 100, 1000], metavar="N")
    parser.add_argument("--slots", type=int, default=16, metavar="M", help="of each (%(default)s)")
    parser.add_argument("--tasks", type=int, default=200_000, metavar="T", help="%(default)s")
    parser.add_argument(
        "--task-s", type=float, default=0.0, metavar="S", help="what each takes (%(default)s)"
    )
    parser.add_argument(
        "--idle-s", type=float, default=10.0, metavar="S", help="idle for (%(default)s)"
    )
    parser.add_argument("--dir", default="/var/tmp", help="for the routers' folders (%(default)s)")
    chosen = parser.parse_args(arguments)
    print(f"| {' | '.join(name for name, _ in COLUMNS.values())} |")
    print(f"| {' | '.join('---:' for _ in COLUMNS)} |", flush=True)
    for workers in chosen.workers:
        with tempfile.TemporaryDirectory(dir=chosen.dir, ignore_cleanup_errors=True) as folder:
            report = look(workers, chosen.slots, chosen.tasks, chosen.task_s, chosen.idle_s, folder)
        print(row(report), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
