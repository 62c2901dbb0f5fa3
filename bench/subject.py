"""The mesh under measurement: opened, warm, and known by its processes."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from . import procfs
from .reference import SLOTS, warm_up

if TYPE_CHECKING:
    from mesh import Mesh

START_TIMEOUT_S = 30

#: What acknowledged may mean, the dearer first.
LEVELS = ("disk", "process")


@contextmanager
def temporary_mesh(slots: int = SLOTS) -> Iterator[Mesh]:
    """`Mesh(slots=…)`: lives and dies with its script, and doesn't wait for a disk."""
    from mesh import Mesh

    with Mesh(slots=slots) as mesh:
        _make_ready(mesh, slots)
        yield mesh


@contextmanager
def durable_mesh(parent: str, slots: int = SLOTS, **options: Any) -> Iterator[Mesh]:
    """`Mesh(slots=…, dir=…)`: acknowledged is on disk, in a new folder left behind in `parent`."""
    from mesh import Mesh

    folder = tempfile.mkdtemp(dir=parent, prefix="mesh-")
    with Mesh(slots=slots, dir=folder, **options) as mesh:
        _make_ready(mesh, slots)
        yield mesh


@contextmanager
def router_alone(parent: str) -> Iterator[Mesh]:
    """`Mesh(slots=0, dir=…)`: a router for workers that join, and a home worker. It has keys, which
    the data ports of workers take."""
    from mesh import Mesh

    folder = tempfile.mkdtemp(dir=parent, prefix="mesh-")
    with Mesh(slots=0, dir=folder, listen="tcp://127.0.0.1:0") as mesh:
        yield mesh


def _make_ready(mesh: Mesh, slots: int) -> None:
    mesh.wait_for_slots(slots, START_TIMEOUT_S)
    warm_up(mesh)


def router_pid(mesh: Mesh) -> int:
    pid: int = mesh.status()["router"]["pid"]
    return pid


def process_ids(mesh: Mesh) -> set[int]:
    """Every process of an embedded mesh but the client: those it tells of, and any others."""
    status = mesh.status()
    told = {status["router"]["pid"]}
    for worker in status["workers"]:
        told.add(worker["pid"])
        told.update(slot["pid"] for slot in worker["slots"])
    untold = set().union(*map(procfs.descendants, {*told, os.getpid()}))
    return told | untold
