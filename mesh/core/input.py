"""Input: the task behind an input, what is known of its result, and why there will be none."""

from __future__ import annotations

from typing import NamedTuple

from ..protocol.outcome import parse, parse_failure
from ..task import Kind, show, unkey
from .block import Block

#: Of a cause, so much is told to all that it befalls.
CAUSE_CHARS_MAX = 500


class Result(NamedTuple):
    """Where the result of a task that is done is: of which lease, how many bytes with which store.
    Or it is INLINE."""

    lease: int
    store: str
    size: int


#: The result of every task whose outcome has it: of no matter which lease.
INLINE = Result(0, "", 0)


class Input:
    """The task behind an input.

    Attributes:
        origin: where it is among the open tasks; None if it never was there.
        result: once it is done; not while it is lost.
        is_lost: whether it was done, and is to be made again.
        cause: why it never will be.
        users: how many tasks that have not ended take it.
        waiting: those of them that were not ready when they were last looked at.
        copies: the stores that hold its result, too; `turn` is how often they were named.
    """

    __slots__ = (
        "cause", "copies", "is_lost", "origin", "result", "turn", "users", "waiting",
    )  # fmt: skip

    def __init__(self) -> None:
        self.origin: tuple[Block, int] | None = None
        self.result: Result | None = None
        self.is_lost = False
        self.cause: str | None = None
        self.users = 0
        self.waiting: list[tuple[Block, int]] = []
        self.copies: list[str] = []
        self.turn = 0


#: What the store knows of a task: how it ended, its lease, its store, its body. The store is
#: NOWHERE if its result is lost.
Record = tuple[int, int, str, bytes]

NOWHERE = "\0" * 8


def cause_of(task: bytes, record: Record | None) -> str:
    """Why nothing comes of a task whose input `task` is; the first cause, if that had one."""
    id = show(*unkey(task))
    if record is None:
        return f"its input {id} is no task of this mesh, or not any more"
    kind, _, _, body = record
    if kind == Kind.CANCELLED:
        return f"its input {id} was cancelled"
    try:
        failure, _ = parse_failure(parse(body).rest)
    except ValueError:  # a worker of bad faith: the task failed, of whatever
        return f"its input {id} failed"
    if kind == Kind.UNMET:
        return failure.message
    kind_of = failure.kind.removeprefix("builtins.")
    return f"its input {id} failed: {kind_of}: {failure.message}"[:CAUSE_CHARS_MAX]
