"""Holdings: which store has what a task's run has left, by its record, and what becomes of that.

A record names one store, and what is said of a store is of no account once the record names
another.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from typing import Any

from ..core.held import Held, Kept
from ..core.ledger import RECORD
from ..options import option
from ..protocol.outcome import refs_in, with_store
from ..task import Kind, unkey
from . import lineage
from .rows import LEASE, pack, unpack
from .tables import Transaction

#: The key of a copy: task, lease, store.
_COPY = struct.Struct(">16sQ8s")
_STORE_BYTES = 8


def lose(txn: Transaction, task: bytes, lease: int, store: str) -> None:
    """What `lease` of a task left in `store` is not there, says who has looked, nor is a copy."""
    if is_with(txn.get("outcome", task), lease, store):
        if txn.get("lost", task + LEASE.pack(lease)) is None:  # else why is known
            txn.put("lost", task + LEASE.pack(lease), b"")
    else:
        txn.delete("copy", task + LEASE.pack(lease) + store.encode())


def evict(txn: Transaction, task: bytes, lease: int, store: str) -> None:
    """What `lease` of a task left in `store` goes from there to make room."""
    if is_with(txn.get("outcome", task), lease, store):
        txn.put("lost", task + LEASE.pack(lease), b"evicted")


def why_lost(txn: Transaction, about: tuple[bytes, int]) -> str:
    """Why the result of a lease is lost, if that is known: ``evicted``; else ""."""
    task, lease = about
    return (txn.get("lost", task + LEASE.pack(lease)) or b"").decode()


def copied(txn: Transaction, task: bytes, lease: int, store: str) -> None:
    """`store` has a copy of what `lease` of a task has left: it is told when that is forgotten."""
    record = txn.get("outcome", task)
    is_known = record is not None and RECORD.unpack_from(record)[1] == lease
    if is_known and not names(record, lease, store):
        txn.put("copy", task + LEASE.pack(lease) + store.encode(), b"")


def drop_copies(txn: Transaction, start: bytes, stop: bytes, from_s: float) -> None:
    """The copies of what tasks have left are not needed: from task `start` on to before `stop`, or
    of a lease of one."""
    for place in [place for place, _ in txn.scan("copy", start, stop)]:
        task, lease, store = _COPY.unpack(place)
        drop(txn, store.decode(), task, lease, from_s)
        txn.delete("copy", place)


def replaced(txn: Transaction, task: bytes, lease: int) -> None:
    """What was lost of `lease` has been made again: it is lost no more, and nor are its copies
    needed."""
    name = task + LEASE.pack(lease)
    txn.delete("lost", name)
    txn.delete("moved", name)
    drop_copies(txn, name, name + b"\xff" * _STORE_BYTES, 0.0)


def is_with(record: bytes | None, lease: int, store: str) -> bool:
    """Whether a record says that the result which `lease` has made is with `store`."""
    if record is None or record[0] != Kind.STORED:
        return False
    _, whose, where = RECORD.unpack_from(record)
    return bool(whose == lease and where == store.encode())


def names(record: bytes | None, lease: int, store: str) -> bool:
    """Whether a record says that something which `lease` has left, a result or a log, is with
    `store`."""
    if record is None or RECORD.unpack_from(record)[1] != lease:
        return False
    try:
        return any(ref.holder == store for ref in refs_in(record[0], record[RECORD.size :]))
    except ValueError:  # whatever a slot has made of it
        return False


def move(txn: Transaction, task: bytes, lease: int, source: str, target: str, at: float) -> None:
    """What `lease` of a task has left is with `target` from now on, if it has been with `source`
    until now; that one is to let go of it."""
    record = txn.get("outcome", task)
    if not names(record, lease, source):
        return
    assert record is not None, "it names a store"
    kind, _, _ = RECORD.unpack_from(record)
    body = with_store(kind, record[RECORD.size :], target)
    txn.put("outcome", task, RECORD.pack(kind, lease, target.encode()) + body)
    name = task + LEASE.pack(lease)
    txn.delete("lost", name)
    txn.put("moved", name, pack([*moves(txn, task, lease), [source, target, at]]))
    drop(txn, source, task, lease, 0.0)
    txn.delete("drop", target.encode() + name)
    txn.delete("copy", name + target.encode())


def moves(txn: Transaction, task: bytes, lease: int) -> list[list[Any]]:
    """How what a lease has left has moved: from which store to which, and when (unix time)."""
    raw = txn.get("moved", task + LEASE.pack(lease))
    return [] if raw is None else list(unpack(raw))


def fetched(txn: Transaction, task: bytes) -> None:
    """A client has fetched the result of a task."""
    if txn.get("outcome", task) is not None:
        txn.put("fetched", task, b"")


def drop(txn: Transaction, store: str, task: bytes, lease: int, from_s: float) -> None:
    """What a lease of a task left in `store` is not needed: to be told from an age on."""
    txn.put("drop", store.encode() + task + LEASE.pack(lease), pack(from_s))


def held(txn: Transaction, about: tuple[str, list[Kept]]) -> list[Held]:
    """What the records know of what a store has: `about` = which store, and what."""
    store, kept = about
    return [_held(txn, store, task, lease) for task, lease in kept]


def _held(txn: Transaction, store: str, task: bytes, lease: int) -> Held:
    record = txn.get("outcome", task)
    name = task + LEASE.pack(lease)
    if not names(record, lease, store):
        return Held(task, lease, None, is_moved=txn.get("moved", name) is not None)
    block, raw = txn.before("block", task) or (task, b"\x93\x00\xc4\x00\x80")
    over, heard = txn.get("over", block), txn.get("heard", task[:8])
    return Held(
        task,
        lease,
        record,
        is_lost=txn.get("lost", name) is not None,
        is_put=lease == unkey(task)[1],
        is_taken=lineage.is_taken(txn, block),
        is_fetched=txn.get("fetched", task) is not None,
        rerun=option(unpack(raw)[2], "rerun"),
        ended_s=math.inf if over is None else unpack(over),
        heard_s=0.0 if heard is None else unpack(heard),
    )


def gone(txn: Transaction, store: str, is_gone: bool) -> None:
    """Nobody waits for a store any more, nor tells it what to let go of; or its worker is back."""
    if not is_gone:
        txn.delete("gone", store.encode())
        return
    txn.put("gone", store.encode(), b"")
    prefix = store.encode()
    for place in [place for place, _ in txn.scan("drop", prefix, prefix + b"\xff" * 24)]:
        txn.delete("drop", place)


def known(txn: Transaction, stores: list[str]) -> list[bool]:
    """Which of these stores were ever there."""
    return [txn.get("host", store.encode()) is not None for store in stores]


#: The router's writes about it, and its questions, by name.
WRITES: dict[str, Callable[..., None]] = {
    "lost": lose,
    "found": replaced,
    "moved": move,
    "evicted": evict,
    "fetched": fetched,
    "copied": copied,
    "drop": drop,
    "gone": gone,
}
LOOK_UP: dict[str, Callable[[Transaction, Any], Any]] = {
    "held": held,
    "stores": known,
    "why lost": why_lost,
}
