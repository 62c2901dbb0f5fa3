"""How long one task that does nothing takes, alone in the mesh."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import ExitStack
from functools import partial
from typing import NamedTuple

from ..forwarder import Forwarder
from ..measure import interleave, percentile, seconds_of
from ..reference import installed_pools, warm_pool
from ..row import Goal, Row
from ..settings import Settings
from ..subject import durable_mesh, temporary_mesh
from ..work import noop

FORWARDER = "bare pyzmq forwarder"
# About what a no-op takes on the wire: its function's name, no arguments, an id.
PAYLOAD = bytes(64)

AT_THE_MEDIAN = Goal(target=1.6, aim=1.0, better="less")


class Latency(NamedTuple):
    """One block of round trips, in µs."""

    p50: float
    p99: float


def block(call: Callable[[], object], count: int) -> Latency:
    times = [1e6 * seconds_of(call) for _ in range(count)]
    return Latency(percentile(times, 50), percentile(times, 99))


def call_and_wait(pool: Executor) -> None:
    pool.submit(noop).result()


def measure(settings: Settings) -> list[Row]:
    count = settings.pick(1_000, quick=200)
    with ExitStack() as stack:
        pools = {name: stack.enter_context(warm_pool(name)) for name in installed_pools()}
        forwarder = stack.enter_context(Forwarder(settings.folder))
        durable = stack.enter_context(durable_mesh(settings.folder))
        temporary = stack.enter_context(temporary_mesh())
        calls: dict[str, Callable[[], object]] = {
            "folder": partial(call_and_wait, durable),
            "no folder": partial(call_and_wait, temporary),
            FORWARDER: partial(forwarder.echo, PAYLOAD),
        }
        calls |= {name: partial(call_and_wait, pool) for name, pool in pools.items()}
        samples = interleave(
            {name: partial(block, call, count) for name, call in calls.items()}, settings.repeat
        )

    pairs = [("folder", FORWARDER), ("no folder", FORWARDER), *(("folder", name) for name in pools)]
    return [
        Row(
            name=f"{percent}, {ours}",
            unit="µs",
            ours=[getattr(latency, percent) for latency in samples[ours]],
            reference=theirs,
            theirs=[getattr(latency, percent) for latency in samples[theirs]],
            goal=AT_THE_MEDIAN if percent == "p50" and theirs == FORWARDER else None,
        )
        for ours, theirs in pairs
        for percent in Latency._fields
    ]
