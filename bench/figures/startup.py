"""How soon a new script has its first result."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial
from typing import NamedTuple

from ..fresh import fresh
from ..measure import interleave, seconds_of
from ..reference import SLOTS, installed_pools, pool_type
from ..row import Goal, Row
from ..settings import Settings
from ..work import noop

MESH = "Mesh"

FIRST_RESULT = Goal(target=0.6, aim=0.3, better="less", of="value")


class Start(NamedTuple):
    first_result_s: float
    script_s: float


def first_result_s(name: str) -> float:
    """Run in a new process: from constructing the pool, already imported, to its first result."""
    if name == MESH:
        from mesh import Mesh

        make: Callable[[], Executor] = partial(Mesh, slots=SLOTS)
    else:
        make = partial(pool_type(name), SLOTS)
    pools: list[Executor] = []

    def run() -> None:
        pools.append(make())
        pools[0].submit(noop).result()

    seconds = seconds_of(run)
    pools[0].shutdown()
    return seconds


def start(name: str) -> Start:
    """One script, seen from inside and, with interpreter, imports and orderly end, from outside."""
    inside: list[float] = []
    outside = seconds_of(lambda: inside.append(fresh("figures.startup:first_result_s", name)))
    return Start(inside[0], outside)


def measure(settings: Settings) -> list[Row]:
    pools = installed_pools()
    samples = interleave({name: partial(start, name) for name in (MESH, *pools)}, settings.repeat)
    return [
        Row(
            name,
            "s",
            [getattr(s, field) for s in samples[MESH]],
            pool,
            [getattr(s, field) for s in samples[pool]],
            goal,
        )
        for field, name, goal in (
            ("first_result_s", "first result", FIRST_RESULT),
            ("script_s", "whole script", None),
        )
        for pool in pools
    ]
