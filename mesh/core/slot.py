"""Slot: what runs one task at a time, as the worker's core sees it: a child process, or one of its
threads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..task import Kind
from .life import Cause
from .line import Line

if TYPE_CHECKING:
    from .crew import Crew


class Slot:
    """Slot `number` of its worker.

    Attributes:
        crew: the slots of its process.
        line: the leases it was sent and has not answered.
        functions: the digests it knows.
        struck: the lease that was interrupted, or None. Its slot takes nothing before it answers,
            and nothing any more if it has a process to itself.
        size: the memory in bytes for which it is killed, if it is.
        ending: why the worker itself is killing it, or None: a Kind, the end of what it runs, or
            RETURNED, which is given back.
        stuck: why the result of what it ran waits, or None.
        cpus: what it is at takes so many slots' worth.
    """

    __slots__ = (
        "began",
        "cpus",
        "crew",
        "ending",
        "functions",
        "line",
        "number",
        "pid",
        "read",
        "ready",
        "size",
        "struck",
        "stuck",
    )

    def __init__(self, number: int, crew: Crew) -> None:
        self.number = number
        self.crew = crew
        self.pid = 0
        self.ready = False
        self.read = True  # nothing of its line lies unread in its socket, as far as is known
        self.line = Line()
        self.functions: set[bytes] = set()
        self.began = 0.0
        self.size = 0
        self.struck: int | None = None
        self.stuck: str | None = None
        self.ending: Kind | Cause | None = None
        self.cpus = 1

    @property
    def takes(self) -> bool:
        """Whether it takes tasks."""
        return self.ready and self.ending is None and self.crew.takes
