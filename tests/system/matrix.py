"""What the tests of the failure matrix share: a mesh that notices silence soon, workers of its own
making, tasks that leave a trace of each run, and the check that none was lost."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sample_tasks as tasks

from mesh import Group, Mesh

#: A worker that is silent is given up within two seconds.
SOON = {"heartbeat_s": 0.2, "lost_after_s": 2.0}

#: What takes a length lasts so many times as long: `MESH_LONG=100` for a night.
LONG = float(os.environ.get("MESH_LONG", "1"))

#: What a process that was told to leave may take for it.
LEAVE_S = 20.0


def router_of(mesh: Mesh) -> int:
    """The router's process."""
    return mesh.status()["router"]["pid"]


def slots_of(mesh: Mesh) -> list[int]:
    """The processes of all slots that are ready."""
    return [slot["pid"] for worker in mesh.status()["workers"] for slot in worker["slots"]]


def address_of(folder: Path) -> str:
    """Where the router of the mesh in `folder` listens: on TCP, if it does."""
    return json.loads((folder / "access.json").read_text())["addresses"][-1]


def access_by(address: str, folder: Path, file: Path) -> Path:
    """An access file for the mesh in `folder` that leads to `address` instead of its own."""
    access = json.loads((folder / "access.json").read_text())
    file.touch(mode=0o600)
    file.write_text(json.dumps(access | {"addresses": [address]}))
    return file


@contextmanager
def stopped(*pids: int) -> Iterator[None]:
    """These processes stand still, as a machine that swaps or a laptop that sleeps lets them."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


class Crowd:
    """Quick tasks, each of which leaves one byte a run in `folder` and returns its square."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()

    def submit(self, mesh: Mesh, count: int, nap_s: float = 0.0) -> Group:
        """`count` of them; each seventh naps."""

        def work(folder: str, i: int, nap_s: float) -> int:
            tasks.note(folder, str(i), nap_s if i % 7 == 0 else 0.0)
            return i * i

        return mesh.submit_many(work, [str(self.folder)] * count, range(count), [nap_s] * count)

    def check(self, group: Group, count: int, again: int | None = None) -> None:
        """All have run and have their result, one each; at most `again` ran once more."""
        assert group.results(timeout=25) == [i * i for i in range(count)]
        runs = tasks.runs(self.folder)
        assert sorted(map(int, runs)) == list(range(count)) and all(runs.values())
        repeated = sum(runs.values()) - count
        assert again is None or repeated <= again, f"{repeated} runs were repeated"
        told = group.status()
        assert (told["done"], told["total"]) == (count, count)


def counts(mesh: Mesh) -> dict[str, Any]:
    """How many tasks are in each state, those left out that are in none."""
    return {state: count for state, count in mesh.status()["tasks"].items() if count}
