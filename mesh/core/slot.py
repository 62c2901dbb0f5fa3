"""Slot: a child process as the worker's core sees it."""

from __future__ import annotations

from ..protocol.outcome import failure_body
from ..task import Kind
from .line import Line


class Slot:
    """A child process as the core sees it.

    Attributes:
        line: the leases it was sent and has not answered.
        functions: the digests it knows.
        ending: why the worker itself is killing it, a Kind, or None.
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
    )

    def __init__(self, number: int, left: int | None = None) -> None:
        self.number = number
        self.pid = 0
        self.ready = False
        self.read = True  # nothing of its line lies unread in its socket, as far as is known
        self.line = Line()
        self.functions: set[bytes] = set()
        self.began = 0.0
        self.ending: Kind | None = None
        self.left = left

    @property
    def takes(self) -> bool:
        """Whether it takes tasks."""
        return self.ready and self.ending is None and self.left != 0


def obituary(
    task: str, how: str, ending: Kind | None, time_limit: float | None, host: str, pid: int
) -> bytes:
    """The failure of a task whose slot died under it: ended by the worker (`ending` says why), or
    by the task itself."""
    where = f"on {host}, process {pid}"
    if ending is Kind.CANCELLED:
        return failure_body("CancelledError", f"{task} was cancelled {where}", host, pid)
    if ending is Kind.TIMED_OUT and time_limit is not None:
        text = f"{task} ran longer than its time_limit of {time_limit:g} s {where}, and was stopped"
        return failure_body("TaskTimeout", text, host, pid)
    return failure_body("WorkerLost", f"{task} took its slot down: it {how} {where}", host, pid)
