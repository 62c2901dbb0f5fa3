"""Restoring: what the records bring back to a router that starts."""

from __future__ import annotations

from collections.abc import Iterator

from ..core.block import HOLE, Block, Tries
from ..core.input import NOWHERE, Record
from ..core.ledger import PUTS, RECORD, record_of
from ..core.recovery import Maker
from ..core.restored import Begun, Restored
from ..errors import StoreError
from ..protocol.inputs import split
from ..task import STATE_OF, Kind, State, key, show, unkey
from .rows import LEASE, unpack
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
        ended=[0] * State.DONE + counts + [0] * (PUTS + 1 - State.DONE - len(counts)),
        blocks=blocks,
        inputs=_ended_inputs(txn, blocks),
        begun={who.decode(): _begun(raw) for who, raw in txn.scan("begun")},
        gone={store.decode() for store, _ in txn.scan("gone")},
        age_s=unpack(txn.get("meta", b"age") or b"\x00"),
    )


def _open_blocks(txn: Transaction) -> Iterator[Block]:
    for block_key, _ in txn.scan("open"):
        raw = txn.get("block", block_key)
        if raw is None:
            raise StoreError(f"block {show(*unkey(block_key))} is open and has no header")
        block = _block(txn, block_key, raw)
        if block.left:
            yield block


def _block(txn: Transaction, block_key: bytes, raw: bytes) -> Block:
    """The block that has this header, its tasks as they are recorded."""
    session, first = unkey(block_key)
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
    return block


def _ended_inputs(txn: Transaction, blocks: list[Block]) -> dict[bytes, Record]:
    """How those inputs ended, of tasks that have not, that have."""
    inputs: dict[bytes, Record] = {}
    for block in blocks:
        for i, ids in enumerate(block.inputs or ()):
            if block.states[i] < State.DONE:
                inputs |= _records(txn, [task for task in split(ids) if task not in inputs])
    return inputs


def _records(txn: Transaction, tasks: list[bytes]) -> dict[bytes, Record]:
    found = ((task, outcome(txn, task)) for task in tasks)
    return {task: record_of(raw) for task, raw in found if raw is not None}


def outcome(txn: Transaction, task: bytes) -> bytes | None:
    """How a task ended, for those that take its result: if that is lost, it is nowhere."""
    raw = txn.get("outcome", task)
    if not is_lost(txn, task, raw):
        return raw
    assert raw is not None  # who has no outcome has lost nothing
    kind, lease, _ = RECORD.unpack_from(raw)
    return RECORD.pack(kind, lease, NOWHERE.encode()) + raw[RECORD.size :]


def is_lost(txn: Transaction, task: bytes, outcome: bytes | None) -> bool:
    """Whether the outcome of a task stands for a result that its holder has lost."""
    if outcome is None or outcome[0] != Kind.STORED:
        return False
    _, lease, _ = RECORD.unpack_from(outcome)
    return txn.get("lost", task + LEASE.pack(lease)) is not None


def makers(txn: Transaction, tasks: list[bytes]) -> list[Maker]:
    """Tasks that have ended, with all that it takes to have them run once more."""
    return [_maker(txn, task) for task in tasks]


def _maker(txn: Transaction, task: bytes) -> Maker:
    found = txn.before("block", task)
    record = txn.get("outcome", task)
    if found is None or record is None or found[0][:8] != task[:8]:
        return Maker(task, None, None, {})
    block = _block(txn, *found)
    i = unkey(task)[1] - block.first
    if i >= block.size:
        return Maker(task, None, None, {})
    inputs = split(block.inputs[i]) if block.inputs is not None else []
    return Maker(task, block, record_of(record), _records(txn, inputs))


def _begun(raw: bytes) -> Begun:
    incarnation, rows = unpack(raw)
    return incarnation, [tuple(row) for row in rows]
