"""What a task costs in anonymous memory while it waits and after it has ended."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from .. import procfs
from ..fresh import fresh
from ..measure import interleave
from ..row import Goal, Row
from ..settings import Settings
from ..subject import durable_mesh, router_pid
from ..work import noop

if TYPE_CHECKING:
    from mesh import Mesh

MB = 1e6
SETTLE_S = 1.0
BLOCKED_S = 3_600
QUARTERS = (25, 50, 75, 100)

QUEUED = Goal(target=600, aim=300, better="less", of="value")
# Flat: the last three quarters of the tasks add next to nothing to what the first one took.
FLAT = Goal(target=1.2, aim=1.05, better="less")


def queued(how: str, count: int, folder: str) -> float:
    """Run in a new process: bytes of the router per task queued behind one that blocks."""
    with durable_mesh(folder, slots=1) as mesh:
        blocker = mesh.submit(time.sleep, BLOCKED_S)
        _wait_until(lambda: mesh.status()["tasks"]["running"] == 1)
        router = router_pid(mesh)
        before = _settled(router)
        if how == "submit_many":
            mesh.submit_many(noop, range(count))
        else:
            for _ in range(count):
                mesh.submit(noop)
        _wait_until(lambda: _unfinished(mesh) > count)
        grown = _settled(router) - before
        mesh.cancel(blocker.id)
        mesh.shutdown(cancel_futures=True)
    return grown / count


def given(count: int) -> float:
    """Run in a new process: bytes of the router's core per task that a worker has been given.

    The core alone, beside a worker that takes them all: no real one is given more than thousands.
    """
    submit = _lone_core(window=count)
    before = procfs.anonymous(os.getpid())
    submit(count, None)
    return (procfs.anonymous(os.getpid()) - before) / count


def awaited(count: int) -> float:
    """Run in a new process: bytes of the router's core per task that waits for one input, beside
    what that task and the one whose result it takes cost as queued ones: each takes another's."""
    submit = _lone_core(window=0)
    before = procfs.anonymous(os.getpid())
    first = submit(count, None)
    queued = procfs.anonymous(os.getpid())
    submit(count, first)
    return (procfs.anonymous(os.getpid()) - queued - (queued - before)) / count


def _lone_core(window: int) -> Callable[[int, int | None], int]:
    """A router's core with a client and a worker; what has the client submit so many tasks, which
    take the results of those from a counter on, and says the first counter."""
    from mesh.core.events import Committed, Heard, Settings
    from mesh.core.restored import Restored
    from mesh.core.router import RouterCore
    from mesh.protocol import messages as m
    from mesh.protocol.link import Envelope
    from mesh.task import key

    core = RouterCore(Restored("mesh", b"birth", 1), Settings(), 0.0)
    sessions = {"client": "cccccccc", "worker": "wwwwwwww"}
    for role, who in sessions.items():
        about = {"slots": 1, "window": window} if role == "worker" else {}
        hello = m.Hello(role, who, b"1", m.VERSION_MIN, m.VERSION_MAX, about, [])
        core.handle(Heard(who.encode(), Envelope(1, 0, 0, hello)), 0.0)
    function = m.Function(b"f" * 16, "sim:f", b"code", b"")
    core.handle(Heard(b"cccccccc", Envelope(1, 1, 0, function)), 0.0)
    core.handle(Committed(core.settle(0.0).ticket), 0.0)
    size, sent, next_one = m.BLOCK_TASKS_MAX, 1, 0

    def submit(count: int, takes: int | None) -> int:
        nonlocal sent, next_one
        begun = next_one
        for n in range(count // size):
            inputs = None
            if takes is not None:
                inputs = [key("cccccccc", takes + n * size + i) for i in range(size)]
            row = [next_one, function.digest, {}, None, 0, [b""] * size, None, None, inputs]
            next_one, sent = next_one + size, sent + 1
            core.handle(Heard(b"cccccccc", Envelope(1, sent, 0, m.Submit([row]))), 0.0)
            core.settle(0.0)
        return begun

    return submit


def finished(count: int, folder: str) -> float:
    """Run in a new process: bytes of the router per task, all submitted at once and done.

    What the allocator kept of the queue is in it: nobody else can have that memory.
    """
    with durable_mesh(folder) as mesh:
        router = router_pid(mesh)
        before = _settled(router)
        group = mesh.submit_many(noop, range(count))
        group.wait()
        return (_settled(router) - before) / count


def mapped(count: int, folder: str) -> dict[str, list[float]]:
    """Run in a new process: MB of the client and the router after each quarter of one `map`."""
    seen: dict[str, list[float]] = {"client": [], "router": []}
    marks = {count * percent // 100 for percent in QUARTERS}
    with durable_mesh(folder) as mesh:
        pids = {"client": os.getpid(), "router": router_pid(mesh)}
        for done, _ in enumerate(mesh.map(noop, range(count)), start=1):
            if done in marks:
                for name, pid in pids.items():
                    seen[name].append(procfs.anonymous(pid) / MB)
    return seen


def _unfinished(mesh: Mesh) -> int:
    tasks: dict[str, int] = mesh.status()["tasks"]
    return tasks["queued"] + tasks["running"]


def _wait_until(true: Callable[[], bool]) -> None:
    """The figure's deadline ends a wait in vain."""
    while not true():
        time.sleep(0.1)


def _settled(pid: int) -> int:
    """Anonymous memory once what was under way has been committed."""
    time.sleep(SETTLE_S)
    return procfs.anonymous(pid)


def measure(settings: Settings) -> list[Row]:
    many = settings.pick(1_000_000, quick=50_000)
    # Fewer one by one: the client's futures take several times what the router does.
    single = settings.pick(200_000, quick=20_000)
    folder = settings.folder
    costs = interleave(
        {
            f"router, per task of {many:,} queued by submit_many": partial(
                fresh, "figures.memory:queued", "submit_many", many, folder
            ),
            f"router, per task of {single:,} queued by submit": partial(
                fresh, "figures.memory:queued", "submit", single, folder
            ),
            f"router's core, per task of {single:,} given to a worker": partial(
                fresh, "figures.memory:given", single
            ),
            f"router's core, per input of {single:,} that tasks wait for": partial(
                fresh, "figures.memory:awaited", single
            ),
            f"router, per task of {many:,} done": partial(
                fresh, "figures.memory:finished", many, folder
            ),
        },
        settings.few,
    )
    rows = [
        Row(name, "B", samples, goal=QUEUED if "queued" in name else None)
        for name, samples in costs.items()
    ]
    take = partial(fresh, "figures.memory:mapped", many, folder)
    maps = interleave({"map": take}, settings.few)["map"]
    for process in ("client", "router"):
        by_quarter = dict(zip(QUARTERS, zip(*(run[process] for run in maps))))
        first = list(by_quarter[QUARTERS[0]])
        rows += [
            Row(
                name=f"{process} at {percent} % of map over {many:,}",
                unit="MB",
                ours=list(by_quarter[percent]),
                reference=f"itself at {QUARTERS[0]} %",
                theirs=first,
                goal=FLAT if percent == QUARTERS[-1] else None,
            )
            for percent in QUARTERS[1:]
        ]
    return rows
