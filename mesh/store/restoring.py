"""Restoring: what the records bring back to a router that starts."""

from __future__ import annotations

from collections.abc import Iterator

from ..core.block import HOLE, Block, Tries
from ..core.inputs import Record
from ..core.ledger import record_of
from ..core.router import Begun, Restored
from ..errors import StoreError
from ..protocol.inputs import split
from ..task import STATE_OF, Kind, State, key, show, unkey
from .rows import unpack
from .tables import Transaction


def restored(txn: Transaction, epoch: int) -> Restored:
    """Everything the core needs to go on, as `epoch`."""
    counts = unpack(txn.get("meta", b"counts") or b"\x90")
    blocks = list(_open_blocks(txn))
    return Restored(
        mesh=(txn.get("meta", b"mesh") or b"").decode(),
        birth=txn.get("meta", b"birth") or b"",
        epoch=epoch,
        sessions={s.decode(): unpack(last) for s, last in txn.scan("session")},
        functions={d: tuple(unpack(raw)[:2]) for d, raw in txn.scan("function")},
        roster={who.decode(): unpack(about) for who, about in txn.scan("worker")},
        ended=[0] * State.DONE + (counts or [0] * (len(State) - State.DONE)),
        blocks=blocks,
        inputs=_ended_inputs(txn, blocks),
        begun={who.decode(): _begun(raw) for who, raw in txn.scan("begun")},
        age_s=unpack(txn.get("meta", b"age") or b"\x00"),
    )


def _open_blocks(txn: Transaction) -> Iterator[Block]:
    for block_key, _ in txn.scan("open"):
        session, first = unkey(block_key)
        raw = txn.get("block", block_key)
        if raw is None:
            raise StoreError(f"block {show(session, first)} is open and has no header")
        size, function, options, group, index, names, sequence, holes = unpack(raw)[:8]
        block = Block(session, first, size, function, options, group, index, names, sequence)
        inputs = txn.get("inputs", block_key)
        block.inputs = None if inputs is None else unpack(inputs)
        for i in holes:
            block.states[i] = HOLE
        stop = key(session, first + size)
        for task, record in txn.scan("outcome", block_key, stop):
            block.states[unkey(task)[1] - first] = STATE_OF[Kind(record[0])]
        for task, tries in txn.scan("tries", block_key, stop):
            block.tries[unkey(task)[1] - first] = Tries(*unpack(tries))
        block.left = sum(state < State.DONE for state in block.states)
        if block.left:
            yield block


def _ended_inputs(txn: Transaction, blocks: list[Block]) -> dict[bytes, Record]:
    """How those inputs ended, of tasks that have not, that have."""
    inputs: dict[bytes, Record] = {}
    for block in blocks:
        for i, ids in enumerate(block.inputs or ()):
            for task in split(ids) if block.states[i] < State.DONE else ():
                raw = txn.get("outcome", task) if task not in inputs else None
                if raw is not None:
                    inputs[task] = record_of(raw)
    return inputs


def _begun(raw: bytes) -> Begun:
    incarnation, rows = unpack(raw)
    return incarnation, [tuple(row) for row in rows]
