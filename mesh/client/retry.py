"""Retry: tasks that failed or were cancelled, once more, with the same function and arguments.

What has ended never changes: they are new tasks, and their group is a new one, whose other members
are those of the old. Their arguments come from the mesh's records, as they travel, and go back
there; neither they nor the function are unpickled here, and what was put is not sent again. An id
of the user's goes over to the new task, as if the call had been submitted again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import MeshError, TaskNotFound
from ..protocol import messages as m
from ..protocol.functions import Packed
from ..protocol.messages import BLOCK_TASKS_MAX
from ..task import SUCCESS
from . import roll
from .connection import Connection
from .group import Group
from .outbox import MESSAGE_BYTES

if TYPE_CHECKING:
    from .future import Future
    from .source import Source

#: Members that are older tasks are told to the router so many runs at a time.
RUNS_MAX = 4096


def task(connection: Connection, session: str, counter: int) -> Future:
    """A task that failed or was cancelled, once more.

    Raises:
        TaskNotFound: there is none.
        MeshError: it did not fail.
    """
    (row,) = roll.call(connection, [(session, counter, 1)], whole=True)
    if row["state"] in (None, "waiting", "queued", "running", "done"):
        if row["state"] is None:
            raise TaskNotFound(f"no task {row['id']}, or not any more")
        raise MeshError(f"{row['id']} is {row['state']}: only what failed is run again")
    made: list[Future] = []
    connection.outbox.add(
        Functions(connection).of(row["digest"]),
        row["options"],
        row["arguments"],
        row["inputs"],
        row["name"],
        row["mark"],
        lambda counter: made.append(connection.waiting.future(counter, row["name"])),
    )
    return made[0]


def members(connection: Source, old: Group) -> Group:
    """A group like `old`, in which new tasks are in place of those that did not succeed; `old`
    itself if there are none."""
    assert isinstance(connection, Connection), "in a folder without a mesh nobody has a group"
    connection.flush(None)
    raws = [old.raw(i) for i in range(len(old))]
    again = [i for i, raw in enumerate(raws) if raw is not None and raw[0] not in SUCCESS]
    if not again:
        return old
    spans = roll.merged(old.task_of(i) for i in again)
    rows = list(zip(again, roll.call(connection, spans, whole=True)))
    known = [(i, row) for i, row in rows if row["digest"] is not None]
    first = connection.outbox.reserve(len(old) + 1)
    group = Group(connection, connection.session, first, len(old), old.name, old.aliases)
    connection.waiting.follow(group, old, {i for i, _ in known})
    _regroup(connection, group, old)
    connection.waiting.add(group)
    functions = Functions(connection)
    for packed, block in _blocks(group, known, functions):
        connection.outbox.add_block(packed, block)
    connection.waiting.drop_if_ended(group)
    return group


class Functions:
    """Functions as the mesh has them, ready to travel."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._known: dict[bytes, Packed] = {}

    def of(self, digest: bytes) -> Packed:
        """The function of that digest.

        Raises:
            MeshError: the mesh does not have it any more.
        """
        if digest not in self._known:
            told = self._connection.ask("function", {"digest": digest})
            if told is None:
                raise MeshError(f"function {digest.hex()} is not known any more: submit it again")
            self._known[digest] = Packed(digest, *told)
        return self._known[digest]


def _regroup(connection: Connection, group: Group, old: Group) -> None:
    """Have the router record the group in place of `old`, with its members that are older tasks."""
    rows = [list(run) for run in group.older]
    about = {"first": group.first - 1, "size": len(group), "name": group.name, "old": old.key}
    for at in range(0, max(len(rows), 1), RUNS_MAX):
        connection.ask("regroup", {**about, "rows": rows[at : at + RUNS_MAX]})


def _blocks(
    group: Group, rows: Sequence[tuple[int, dict[str, Any]]], functions: Functions
) -> Iterator[tuple[Packed, m.Block]]:
    """Members that follow each other, alike in function and options, as blocks."""
    at = 0
    while at < len(rows):
        index, head = rows[at]
        run: list[dict[str, Any]] = []
        size = 0
        for i, row in rows[at : at + BLOCK_TASKS_MAX]:
            alike = all(row[each] == head[each] for each in ("digest", "options"))
            if not alike or i != index + len(run) or size >= MESSAGE_BYTES:
                break
            run.append(row)
            size += len(row["arguments"]) + len(row["inputs"])
        named = any(row["name"] is not None for row in run)
        yield (
            functions.of(head["digest"]),
            m.Block(
                group.first + index,
                head["digest"],
                head["options"],
                group.first - 1,
                index,
                [row["arguments"] for row in run],
                [row["name"] for row in run] if named else None,
                [row["mark"] or b"" for row in run] if named else None,
                [row["inputs"] for row in run] if any(row["inputs"] for row in run) else None,
            ),
        )
        at += len(run)
