"""The roll, as far as it is recorded: what became of each of some tasks, a row each.

A row that is *whole* also has what its task was called with and what it gave, as opaque bytes:
enough to show both to people, or to submit the same call again.
"""

from __future__ import annotations

from typing import Any

from ..core.ledger import RECORD
from ..protocol.outcome import parse
from ..task import STATE_OF, Kind, key, show, unkey
from . import holdings, story
from .meaning import alias_key
from .rows import LEASE, unpack
from .tables import Transaction

#: A roll ends with the row that fills so much: it is one message.
ROLL_BYTES = 1024 * 1024

#: What a row without anything whole is reckoned with.
ROW_BYTES = 256


class _Pages:
    """The blocks of some tasks, each unpacked once for those that follow each other."""

    def __init__(self, txn: Transaction) -> None:
        self._txn = txn
        self._key = b""
        self._header: list[Any] = [0]
        self._functions: dict[bytes, str | None] = {}
        self._hosts: dict[str, str | None] = {}
        self._columns: dict[str, list[Any]] = {}

    def find(self, session: str, counter: int) -> tuple[list[Any], int] | None:
        """The header of the block that has a task, and its index there; None if there is none, or
        it is forgotten."""
        first = unkey(self._key)[1] if self._key else 0
        is_here = self._key[:8] == session.encode() and 0 <= counter - first < self._header[0]
        if not is_here:
            found = self._txn.before("block", key(session, counter))
            if found is None or found[0][:8] != session.encode():
                return None
            self._key, self._header = found[0], unpack(found[1])
            self._columns = {}
            first = unkey(self._key)[1]
        i, header = counter - first, self._header
        if i >= header[0] or len(header) > 9 and i in header[9]:
            return None
        return header, i

    def column(self, table: str) -> list[Any]:
        """What a table has of each task of the block that was found last."""
        if table not in self._columns:
            self._columns[table] = unpack(self._txn.get(table, self._key) or b"\x90")
        return self._columns[table]

    def function(self, digest: bytes) -> str | None:
        """What a function is called."""
        if digest not in self._functions:
            raw = self._txn.get("function", digest)
            self._functions[digest] = None if raw is None else str(unpack(raw)[0])
        return self._functions[digest]

    def host(self, store: str) -> str | None:
        """Where a store is."""
        if store not in self._hosts:
            self._hosts[store] = story.place_of(self._txn, store)[0]
        return self._hosts[store]


def read(txn: Transaction, about: tuple[list[tuple[str, int, int]], bool]) -> list[dict[str, Any]]:
    """A row for each of the tasks of some spans, in their order, until the roll is full. Its
    ``state`` is None if the task has not ended, or does not exist: then it has no ``function``."""
    spans, is_whole = about
    pages = _Pages(txn)
    rows: list[dict[str, Any]] = []
    room = ROLL_BYTES
    for session, first, count in spans:
        for counter in range(first, first + count):
            task = key(session, counter)
            record = txn.get("outcome", task)
            if record is None and (meant := txn.get("foreign", task)) is not None:
                task, record = meant, txn.get("outcome", meant)
            row = _row(txn, pages, task, record)
            if is_whole:
                room -= _add_bytes(txn, pages, task, record, row)
            rows.append(row)
            room -= ROW_BYTES
            if room <= 0:
                return rows
    return rows


def _row(txn: Transaction, pages: _Pages, task: bytes, record: bytes | None) -> dict[str, Any]:
    session, counter = unkey(task)
    row: dict[str, Any] = {"id": show(session, counter), "name": None, "function": None}
    found = pages.find(session, counter)
    if found is not None:
        header, i = found
        row["name"] = header[5][i] if header[5] is not None else None
        row["function"] = pages.function(header[1])
    leases = {key[len(task) :] for key, _ in txn.scan("run", task, task + b"\xff" * LEASE.size)}
    row |= dict.fromkeys(("state", "host", "begun_at", "took_s", "error", "message"))
    if record is not None:
        kind, lease, store = RECORD.unpack_from(record)
        if lease:
            leases.add(LEASE.pack(lease))
        ended = story.told_by(kind, record[RECORD.size :])
        row |= zip(("begun_at", "took_s", "error", "message"), ended, strict=True)
        moved = holdings.moves(txn, task, lease) if kind == Kind.STORED else []
        row["host"] = pages.host(moved[0][0] if moved else store.decode().strip("\0"))
        row["state"] = STATE_OF[Kind(kind)].word
        row["result"] = story.result_in(txn, record) if kind == Kind.STORED else None
    return row | {"attempts": len(leases)}


def _add_bytes(
    txn: Transaction, pages: _Pages, task: bytes, record: bytes | None, row: dict[str, Any]
) -> int:
    """Make a row whole; by how much that is more."""
    session, counter = unkey(task)
    row |= dict.fromkeys(("digest", "options", "arguments", "inputs", "mark", "kind", "rest"))
    found = pages.find(session, counter)
    if found is not None and row["function"] is not None:
        header, i = found
        row["digest"], row["options"] = header[1], header[2]
        arguments, inputs = pages.column("args"), pages.column("inputs")
        row["arguments"] = arguments[i] if i < len(arguments) else None
        row["inputs"] = inputs[i] if i < len(inputs) else b""
        alias = None if row["name"] is None else txn.get("alias", alias_key(row["name"]))
        row["mark"] = None if alias is None else unpack(alias)[4]
    if record is not None:
        row["kind"] = record[0]
        row["rest"] = _rest_in(record)
    return sum(len(row[each] or b"") for each in ("arguments", "inputs", "rest"))


def _rest_in(record: bytes) -> bytes | None:
    """What an outcome has besides times and output."""
    try:
        return bytes(parse(record[RECORD.size :]).rest)
    except ValueError:  # whatever a slot has made of it
        return None
