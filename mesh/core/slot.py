"""Slot: a child process as the worker's core sees it."""

from __future__ import annotations

from ..task import Kind
from .life import Cause
from .line import Line


class Slot:
    """A child process as the core sees it.

    Attributes:
        line: the leases it was sent and has not answered.
        functions: the digests it knows.
        struck: the lease that was interrupted, or None. Its slot takes nothing any more.
        size: the memory in bytes for which it is killed, if it is.
        ending: why the worker itself is killing it, or None: a Kind, the end of what it runs, or
            RETURNED, which is given back.
        stuck: why the result of what it ran waits, or None.
        left: how many more tasks it takes before another process has its place; None: no end.
    """

    __slots__ = (
        "began",
        "ending",
        "functions",
        "left",
        "line",
        "number",
        "pid",
        "read",
        "ready",
        "size",
        "struck",
        "stuck",
    )

    def __init__(self, number: int, left: int | None = None) -> None:
        self.number = number
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
        self.left = left

    @property
    def takes(self) -> bool:
        """Whether it takes tasks."""
        return self.ready and self.ending is None and self.left != 0
