"""Running: what a task can ask about itself, `mesh.current()`."""

from __future__ import annotations

import random
import shutil
import socket
import time
from collections.abc import Callable
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.random import Generator


class Running:
    """The task that runs here, as `mesh.current()` gives it to the task's own code.

    Attributes:
        id: the task's id, such as ``k3f9x2m7.17``.
        lease: the number of this run of it; no two runs have the same.
        attempt: which run of it this is: 1, and one more for each that failed or was lost.
        group: the id of the group it is a member of, or None.
        index: which member it is, from 0; None without a group.
        slot: the number of the slot that runs it, from 0; no two of a worker have the same.
        time_limit: seconds that this run may take, or None.

    Example:
        >>> def simulate(T):
        ...     rng = mesh.current().rng
        ...     return sum(rng.random() < T for _ in range(1000))
    """

    def __init__(
        self,
        *,
        task: str,
        lease: int,
        attempt: int,
        group: str | None,
        index: int,
        slot: int,
        time_limit: float | None,
        begun: float,
        room: Path,
    ) -> None:
        self.id = task
        self.lease = lease
        self.attempt = attempt
        self.group = group
        self.index = None if group is None else index
        self.slot = slot
        self.time_limit = time_limit
        self._begun = begun  # as time.perf_counter() tells time
        self._room = room

    def __repr__(self) -> str:
        member = "" if self.group is None else f", member {self.index} of {self.group}"
        return f"<task {self.id}{member}, attempt {self.attempt}, slot {self.slot} of {self.host}>"

    @property
    def host(self) -> str:
        """The name of this host."""
        return socket.gethostname()

    @property
    def time_left_s(self) -> float | None:
        """Seconds until this run is stopped, by `time_limit`; None: it may take as long as it
        does."""
        if self.time_limit is None:
            return None
        return max(0.0, self._begun + self.time_limit - time.perf_counter())

    @cached_property
    def scratch(self) -> Path:
        """A folder of this run's own, on a disk of this host: made when it is first asked for, and
        removed with all that is in it when the run ends."""
        self._room.mkdir(mode=0o700, exist_ok=True)
        return self._room

    @cached_property
    def seed(self) -> int:
        """A number of 64 bits that is this member's of its group, else this task's: the same when
        it runs again, and another for each other."""
        own = self.id if self.group is None else f"{self.group} {self.index}"
        return int.from_bytes(blake2b(own.encode(), digest_size=8).digest(), "big")

    @cached_property
    def rng(self) -> random.Random:
        """A random generator of this task's own, from its `seed`: it gives the same numbers when
        the task runs again."""
        return random.Random(self.seed)

    @cached_property
    def np_rng(self) -> Generator:
        """The same as NumPy has it: ``numpy.random.default_rng(seed)``.

        Raises:
            ImportError: this host has no NumPy.
        """
        import numpy

        return numpy.random.default_rng(self.seed)

    def environ(self) -> dict[str, str]:
        """All of it as environment variables, for commands: ``MESH_TASK_ID``, ``MESH_LEASE``,
        ``MESH_ATTEMPT``, ``MESH_HOST``, ``MESH_SLOT_NUMBER``, ``MESH_SEED``, ``MESH_SCRATCH``; of
        a member of a group ``MESH_GROUP`` and ``MESH_INDEX``, with a time limit
        ``MESH_TIME_LEFT_S``. `scratch` is made by that.

        Example:
            >>> subprocess.run(["./sim"], env=os.environ | mesh.current().environ())
        """
        told: dict[str, Any] = {
            "TASK_ID": self.id,
            "LEASE": self.lease,
            "ATTEMPT": self.attempt,
            "HOST": self.host,
            "SLOT_NUMBER": self.slot,
            "SEED": self.seed,
            "SCRATCH": self.scratch,
            "GROUP": self.group,
            "INDEX": self.index,
            "TIME_LEFT_S": None if self.time_left_s is None else f"{self.time_left_s:.3f}",
        }
        return {f"MESH_{name}": str(value) for name, value in told.items() if value is not None}

    def end(self) -> None:
        """It has ended: nothing of its own stays."""
        if "scratch" in self.__dict__:
            shutil.rmtree(self._room, ignore_errors=True)


#: In a slot: gives what it runs just now, or None. Made when it is asked for: most tasks never ask.
ask: Callable[[], Running | None] | None = None


def current() -> Running:
    """The task that runs here: to be called by a task's own code, from any of its threads, and from
    processes that it forks.

    Raises:
        RuntimeError: no task runs in this process.

    Example:
        >>> mesh.current().scratch / "field.h5"
    """
    now = None if ask is None else ask()
    if now is None:
        raise RuntimeError(
            "mesh.current() is for the code of a task: no task runs in this process. "
            "Give what it is asked for as an argument where the same code runs outside of tasks"
        )
    return now


def variables() -> dict[str, str]:
    """What `current().environ()` is; nothing outside of tasks."""
    now = None if ask is None else ask()
    return {} if now is None else now.environ()
