"""Lineage: which blocks take the results of which, so that none is forgotten before those that do.

A block that might go, and whose results one takes that must stay, is *held*: it is not in the order
of ends, where pruning looks, until the last of those is forgotten. It comes back with the age of
that one.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..protocol.inputs import split
from ..task import key, unkey
from .rows import pack, unpack
from .tables import Transaction


def write_inputs(txn: Transaction, block: bytes, inputs: list[bytes]) -> None:
    """Record what the tasks of a block take, and that those must stay as long as it."""
    txn.put("inputs", block, pack(inputs))
    for maker in _makers(txn, block, inputs):
        txn.put("taker", maker + block, b"")


def is_taken(txn: Transaction, block: bytes) -> bool:
    """Whether the record of a block that takes results of this one is still there."""
    return any(True for _ in txn.scan("taker", block, block + b"\xff" * len(block)))


def hold(txn: Transaction, ended: list[tuple[bytes, bytes]]) -> None:
    """Blocks, with their places in the order of ends, wait for those that take their results."""
    for place, block in ended:
        if is_taken(txn, block):
            txn.delete("ended", place)
            txn.put("held", block, b"")


def let_go(txn: Transaction, block: bytes) -> list[bytes]:
    """A block is being forgotten: which of those that were held for it alone may go, too."""
    raw = txn.get("inputs", block)
    free = []
    for maker in _makers(txn, block, [] if raw is None else unpack(raw)):
        txn.delete("taker", maker + block)
        if txn.get("held", maker) is not None and not is_taken(txn, maker):
            txn.delete("held", maker)
            free.append(maker)
    txn.delete("inputs", block)
    return free


def _makers(txn: Transaction, block: bytes, inputs: list[bytes]) -> Iterator[bytes]:
    """The other blocks that there are of these tasks, each once."""
    stop = b""
    for task in sorted({task for ids in inputs for task in split(ids)}):
        if task < stop:
            continue  # of the same block as the last
        found = txn.before("block", task)
        if found is None or found[0][:8] != task[:8]:
            continue
        session, first = unkey(found[0])
        end = key(session, first + unpack(found[1])[0])
        if task < end:
            stop = end
            if found[0] != block:
                yield found[0]
