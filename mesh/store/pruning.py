"""Pruning: which blocks have ended, in that order; and forgetting them, with all that is theirs.

What of theirs lies with workers is noted when they are forgotten, until its holder has said that it
is gone.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from typing import Any

from ..core.drops import Due
from ..core.ledger import PUTS, RECORD
from ..core.pruning import Old
from ..core.puts import PUT
from ..protocol.outcome import Ref, refs_in
from ..task import ENDED, STATE_OF, Kind, key, unkey
from . import groups, lineage
from .holdings import drop, drop_copies
from .meaning import alias_key
from .rows import LEASE, pack, unpack
from .tables import Transaction

#: The router's age in milliseconds, before the block's key.
_AGE = struct.Struct(">Q")


def functions(txn: Transaction, about: tuple[bytes, int]) -> tuple[set[bytes], bytes | None]:
    """The functions that the next blocks are calls of, `about` = behind which block and how many;
    and the last of those, if there are more."""
    behind, most = about
    used: set[bytes] = set()
    for nth, (block, raw) in enumerate(txn.scan("block", behind)):
        used.add(unpack(raw)[1])
        if nth == most:
            return used, block
    return used, None


def forget_functions(txn: Transaction, digests: list[bytes]) -> None:
    """No block is a call of these."""
    for digest in digests:
        txn.delete("function", digest)


def close(txn: Transaction, block: bytes, age_s: float) -> None:
    """The last task of a block has ended."""
    txn.delete("open", block)
    txn.put("ended", _AGE.pack(math.ceil(age_s * 1000)) + block, b"")
    txn.put("over", block, pack(age_s))


def hear(txn: Transaction, who: str, age_s: float) -> None:
    """A client has heard of all that ended before; more than it had, perhaps, when it left last. Of
    one whose blocks are all forgotten nothing is kept."""
    if txn.get("session", who.encode()) is None:
        return
    said = txn.get("heard", who.encode())
    if said is None or unpack(said) < age_s:
        txn.put("heard", who.encode(), pack(age_s))


def prunable(txn: Transaction, about: tuple[bytes, int]) -> tuple[list[Old], int]:
    """The next blocks to end, `about` = behind which place and how many; and the room that all
    records take."""
    behind, most = about
    rows: list[Old] = []
    for place, _ in txn.scan("ended", behind):
        if place == behind:
            continue
        if len(rows) == most:
            break
        rows.append(_tell(txn, place))
    return rows, txn.used_bytes()


def _tell(txn: Transaction, place: bytes) -> Old:
    block = place[_AGE.size :]
    session, first = unkey(block)
    header = _header(txn, block)
    size = header[0]
    counts = [0] * (PUTS + 1 - ENDED)
    stored = 0
    for _, record in txn.scan("outcome", block, key(session, first + size)):
        counts[_counted(header, record[0]) - ENDED] += 1
        if record[0] == Kind.STORED:
            stored += sum(ref.size for ref in _refs_in(record[0], record[RECORD.size :]))
    heard = txn.get("heard", session.encode())
    return Old(
        place,
        _AGE.unpack_from(place)[0] / 1000,
        block,
        session,
        unpack(heard) if heard is not None else 0.0,
        counts,
        lineage.is_taken(txn, block),
        size,
        stored,
    )


def _counted(header: list[Any], kind: int) -> int:
    """Where the router counts a member of a block that has ended so: by its state, or as a put."""
    return PUTS if header[1] == PUT else STATE_OF[Kind(kind)]


def _last_of(txn: Transaction, session: str) -> bytes | None:
    found = txn.before("block", session.encode() + b"\xff" * 8)
    return found[0] if found is not None and found[0][:8] == session.encode() else None


def empty(txn: Transaction, sessions: list[str]) -> list[str]:
    """Those of which no block is left."""
    return [session for session in sessions if _last_of(txn, session) is None]


def _header(txn: Transaction, block: bytes) -> list[Any]:
    raw = txn.get("block", block)
    return list(unpack(raw or b"\x91\x00"))


def prune(txn: Transaction, gone: list[tuple[bytes, bytes, float]]) -> None:
    """Forget blocks: their places in the order of ends, their keys, and from which age on holders
    are told that whatever they have of them is not needed."""
    for place, block, from_s in gone:
        txn.delete("ended", place)
        for free in lineage.let_go(txn, block):
            txn.put("ended", place[: _AGE.size] + free, b"")
        header = _header(txn, block)
        if len(header) > 1:
            _prune_block(txn, block, header, from_s)


def _prune_block(txn: Transaction, block: bytes, header: list[Any], from_s: float) -> None:
    session, first = unkey(block)
    size, names, group = header[0], header[5], header[3]
    stop = key(session, first + size)
    _clear(txn, block, stop, from_s)
    for i, name in enumerate(names or ()):
        _free(txn, name, session, first + i)
    txn.delete("args", block)
    txn.delete("over", block)
    txn.delete("block", block)
    if group is not None:
        _prune_group(txn, session, group)
    if _last_of(txn, session) is None:
        txn.delete("session", session.encode())
        txn.delete("heard", session.encode())


def _clear(txn: Transaction, start: bytes, stop: bytes, from_s: float) -> None:
    """How these tasks went goes, and what workers have of them."""
    for task, record in list(txn.scan("outcome", start, stop)):
        kind, lease, store = RECORD.unpack_from(record)
        if kind == Kind.STORED:
            txn.delete("lost", task + LEASE.pack(lease))
        if _refs_in(kind, record[RECORD.size :]):
            drop(txn, store.decode(), task, lease, from_s)
    drop_copies(txn, start, stop, from_s)
    for table in ("outcome", "tries", "run", "foreign", "moved", "fetched"):
        for each in [each for each, _ in txn.scan(table, start, stop)]:
            txn.delete(table, each)


def _free(txn: Transaction, name: str | None, session: str, counter: int) -> None:
    """An alias means nothing any more, if it means this task."""
    alias = None if name is None else txn.get("alias", alias_key(name))
    if alias is not None and unpack(alias)[:2] == [session, counter]:
        txn.delete("alias", alias_key(name))  # type: ignore[arg-type]  # it has one


def forgettable(
    txn: Transaction, spans: list[tuple[str, int, int]]
) -> list[tuple[bytes, list[tuple[int, int]]]]:
    """The blocks that hold some of these tasks; and of those that have ended the index, and where
    they are counted."""
    rows: list[tuple[bytes, list[tuple[int, int]]]] = []
    for session, first, count in spans:
        stop = key(session, first + count)
        before = txn.before("block", key(session, first))
        start = start_of = key(session, first)
        if before is not None and before[0][:8] == session.encode():
            start = before[0]
        for block, raw in txn.scan("block", start, stop):
            low, header = unkey(block)[1], unpack(raw)
            high = min(stop, key(session, low + header[0]))
            rows.append(
                (
                    block,
                    [
                        (unkey(task)[1] - low, _counted(header, record[0]))
                        for task, record in txn.scan("outcome", max(block, start_of), high)
                    ],
                )
            )
    return rows


def forget(txn: Transaction, block: bytes, gone: list[int], age_s: float) -> None:
    """Forget members of a block that have ended: they are holes from now on. The header stays, so
    that the block is known if it is sent again, and goes in its time with what else has ended."""
    header = _header(txn, block)
    if len(header) < 2:
        return
    session, first = unkey(block)
    size, group, names, holes = header[0], header[3], header[5], {*header[7]}
    header += [None, b""][len(header) - 8 :]  # one of an older layout knows no time
    for i in gone:
        _clear(txn, key(session, first + i), key(session, first + i + 1), age_s)
        if names is not None:
            _free(txn, names[i], session, first + i)
            names[i] = None
    header[7] = bytes(sorted(holes.union(gone)))
    header[9] = bytes(sorted({*header[9], *gone}))
    txn.put("block", block, pack(header))
    if len(header[7]) < size:
        args = unpack(txn.get("args", block) or b"\x90")
        kept = [b"" if i in gone else each for i, each in enumerate(args)]
        txn.put("args", block, pack(kept))
        return
    txn.delete("args", block)
    for free in lineage.let_go(txn, block):
        txn.put("ended", _AGE.pack(math.ceil(age_s * 1000)) + free, b"")
    for each in [each for each, _ in txn.scan("foreign", block, key(session, first + size))]:
        txn.delete("foreign", each)
    if group is not None:
        _prune_group(txn, session, group)


def _prune_group(txn: Transaction, session: str, group: int) -> None:
    """A group goes with the last of its members."""
    raw = txn.get("group", key(session, group))
    if raw is None:
        return
    size = unpack(raw)[0]
    for member, _ in txn.scan("block", key(session, group + 1), key(session, group + 1 + size)):
        header = _header(txn, member)
        if header[3] == group and not _is_forgotten(txn, member, header):
            return
    groups.forget(txn, key(session, group))


def _is_forgotten(txn: Transaction, block: bytes, header: list[Any]) -> bool:
    """Whether there is nothing left of a block: no task of its own, and no older one."""
    session, first = unkey(block)
    older = txn.scan("foreign", block, key(session, first + header[0]))
    return len(header[7]) == header[0] and not any(True for _ in older)


def _refs_in(kind: int, body: bytes) -> list[Ref]:
    """What of an outcome, its value and its log, is in its worker's store."""
    try:
        return refs_in(kind, body)
    except ValueError:  # whatever a slot has made of it
        return []


def drops(txn: Transaction, about: tuple[str, bytes, int]) -> list[Due]:
    """What the worker of a store is to be told: `about` = which store, behind which place in that
    list, and how many."""
    store, behind, most = about
    prefix = store.encode()
    rows: list[Due] = []
    for place, raw in txn.scan("drop", behind or prefix, prefix + b"\xff" * 24):
        if place == behind:
            continue
        if len(rows) == most:
            break
        task, lease = place[len(prefix) : -LEASE.size], place[-LEASE.size :]
        rows.append(Due(place, *unkey(task), LEASE.unpack(lease)[0], unpack(raw)))
    return rows


def dropped(txn: Transaction, store: str, leases: list[list[Any]]) -> None:
    """The worker of a store has let go of these: session, counter, lease."""
    for session, counter, lease in leases:
        txn.delete("drop", store.encode() + key(session, counter) + LEASE.pack(lease))


#: Its answers to the router's questions, by name.
LOOK_UP: dict[str, Callable[[Transaction, Any], Any]] = {
    "prunable": prunable,
    "functions": functions,
    "forgettable": forgettable,
    "empty": empty,
    "drops": drops,
}
