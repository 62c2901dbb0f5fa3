"""How fast results go from the worker that has made them to the one whose tasks take them."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from .. import procfs
from ..measure import Peak, bring_in, interleave, seconds_of
from ..peers import another_worker
from ..row import Goal, Row
from ..settings import Settings
from ..subject import START_TIMEOUT_S, router_alone, router_pid
from ..tcpcopy import TcpCopy
from ..work import held, made, taken

if TYPE_CHECKING:
    from mesh import Mesh

MB = 1e6
RESULT_BYTES = 10_000_000
RESULTS = 100

#: So many times that goes through the router, or past it: 10 GB.
ROUNDS = 10

#: Beside what is copied, other things are written meanwhile.
SPARE_BYTES = 200_000_000

#: A file system of its own, if it is one: files of another cannot be linked there.
ELSEWHERE = "/dev/shm"

PLAIN_TCP = "plain TCP copy"

IN_CHUNKS = Goal(target=0.5, aim=0.8, better="more")
GROWTH = Goal(target=20, aim=10, better="less", of="value")


def _is_ready() -> None:
    """Nothing is to be done before the clock runs."""


class Exchange:
    """What one worker has made is taken by another that comes for it. Each has one slot.

    Args:
        mesh: without slots of its own.
        maker, taker: where their stores are.
        port: the data port of two that are on different hosts: 0 for any, or "off"; None: both are
            on this one.
    """

    def __init__(
        self, mesh: Mesh, maker: str, taker: str, port: int | Literal["off"] | None = None
    ) -> None:
        self._mesh = mesh
        self._maker = partial(self._worker, maker, "maker", port)
        self._taker = partial(self._worker, taker, "taker", port)

    @contextmanager
    def _worker(self, parent: str, host: str, port: int | Literal["off"] | None) -> Iterator[None]:
        access = str(self._mesh.folder)
        with tempfile.TemporaryDirectory(dir=parent, prefix="mesh-bench-") as folder:
            if port is None:
                opened = another_worker(access, folder)
            else:
                opened = another_worker(access, folder, host=host, port=port)
            with opened:
                yield

    def seconds(self, count: int, size: int, ready: Callable[[], None] = _is_ready) -> float:
        """From when tasks may begin that take one of so many results each, to their end. `ready` is
        called right before."""
        mesh = self._mesh
        with self._maker():
            mesh.wait_for_slots(1, START_TIMEOUT_S)
            results = mesh.submit_many(made, [size] * count)
            results.wait()
            with self._busy(), self._taker():
                mesh.wait_for_slots(2, START_TIMEOUT_S)
                mesh.submit(taken).result(START_TIMEOUT_S)
                ready()
                seconds = seconds_of(lambda: mesh.submit_many(taken, results).results())
            mesh.forget(results.id)
        return seconds

    @contextmanager
    def _busy(self) -> Iterator[None]:
        """Keeps the slot there is from taking what its worker has."""
        with tempfile.TemporaryDirectory() as folder:
            begun = Path(folder) / "begun"
            holding = self._mesh.submit(held, str(begun))
            while not begun.exists():
                time.sleep(0.01)
            try:
                yield
            finally:
                begun.unlink()
            holding.result(START_TIMEOUT_S)


def speeds(settings: Settings) -> list[Row]:
    """From one worker to another, beside plain TCP."""
    count = settings.pick(RESULTS, quick=10)
    total = count * RESULT_BYTES
    here = settings.folder
    at_hand = partial(bring_in, Path(here), total + SPARE_BYTES)
    with TcpCopy(count, RESULT_BYTES) as copy, router_alone(here) as mesh:
        ways = {
            "in chunks over ipc": Exchange(mesh, ELSEWHERE, here),
            "in chunks over TCP": Exchange(mesh, ELSEWHERE, here, 0),
            "relayed": Exchange(mesh, ELSEWHERE, here, "off"),
            "linked": Exchange(mesh, here, here),
        }

        def speed(exchange: Exchange) -> float:
            return total / exchange.seconds(count, RESULT_BYTES, at_hand)

        def plain() -> float:
            at_hand()
            return copy.bytes_per_second()

        samples = interleave(
            {name: partial(speed, each) for name, each in ways.items()} | {PLAIN_TCP: plain},
            settings.few,
        )
    theirs = samples.pop(PLAIN_TCP)
    what = f"{count} × {RESULT_BYTES // 1_000_000} MB"
    return [
        Row(f"{what}, {name}", "B/s", ours, PLAIN_TCP, theirs, IN_CHUNKS if "ipc" in name else None)
        for name, ours in samples.items()
    ]


def growth(settings: Settings, port: int | Literal["off"]) -> float:
    """How many MB of anonymous memory a new router takes at most, beyond those that it has at
    first, while so much passes between two workers."""
    count = settings.pick(RESULTS, quick=10)
    with router_alone(settings.folder) as mesh:
        exchange = Exchange(mesh, ELSEWHERE, settings.folder, port)
        with Peak(partial(procfs.anonymous, router_pid(mesh))) as peak:
            for _ in range(settings.pick(ROUNDS, quick=2)):
                exchange.seconds(count, RESULT_BYTES)
    return peak.growth / MB


def measure(settings: Settings) -> list[Row]:
    rows = speeds(settings)
    gb = settings.pick(RESULTS * ROUNDS, quick=20) * RESULT_BYTES / 1e9
    for name, port in (("directly", 0), ("relayed", "off")):
        grown = growth(settings, port)
        rows.append(Row(f"router, {gb:g} GB {name}", "MB", [grown], goal=GROWTH))
    return rows
