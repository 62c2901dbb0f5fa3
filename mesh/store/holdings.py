"""Holdings: which store has what a task's run has left, by its record, and what becomes of that.

A record names one store, and what is said of a store is of no account once the record names
another.
"""

from __future__ import annotations

from ..core.ledger import RECORD
from ..task import Kind
from .rows import LEASE
from .tables import Transaction


def lose(txn: Transaction, task: bytes, lease: int, store: str) -> None:
    """What `lease` of a task left in `store` is not there, says who has looked."""
    if is_with(txn.get("outcome", task), lease, store):
        txn.put("lost", task + LEASE.pack(lease), b"")


def is_with(record: bytes | None, lease: int, store: str) -> bool:
    """Whether a record says that the result which `lease` has made is with `store`."""
    if record is None or record[0] != Kind.STORED:
        return False
    _, whose, where = RECORD.unpack_from(record)
    return bool(whose == lease and where == store.encode())
