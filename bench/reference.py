"""The pools Mesh is held against, each with two processes, and warm."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from importlib.util import find_spec

from .work import noop

SLOTS = 2
WARM_UP_TASKS = 200

PROCESS_POOL = "ProcessPoolExecutor"
LOKY = "loky"
LIBRARIES = {PROCESS_POOL: "concurrent.futures", LOKY: "loky"}


def warm_up(pool: Executor) -> None:
    """Bring every process, thread and lazy import to life before a clock runs."""
    for future in [pool.submit(noop) for _ in range(WARM_UP_TASKS)]:
        future.result()


def pool_type(name: str) -> Callable[[int], Executor]:
    """What makes such a pool, of so many processes, by its library's own default start method."""
    library = importlib.import_module(LIBRARIES[name])
    make: Callable[[int], Executor] = library.ProcessPoolExecutor
    return make


@contextmanager
def warm_pool(name: str) -> Iterator[Executor]:
    """Open it before any mesh or socket: it may fork by default, and wants no threads then."""
    with pool_type(name)(SLOTS) as pool:
        warm_up(pool)
        yield pool


def installed_pools() -> list[str]:
    """The standard library's, and others where they are installed."""
    return [name for name, library in LIBRARIES.items() if find_spec(library)]
