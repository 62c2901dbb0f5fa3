"""A process that keeps a store, as router and worker do, and says how far it is.

    python keeper.py FOLDER LEVEL SEED STEPS

Its work depends on the seed alone. After each step that the store has taken it writes a byte into
FOLDER/acknowledged; after the last it ends at once, like one that is killed.
"""

from __future__ import annotations

import os
import random
import sys
import zlib
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any

from mesh.core.ledger import RECORD
from mesh.processes import spool
from mesh.protocol.outcome import Ref
from mesh.store.opening import open_results
from mesh.store.records import TABLES, Records, open_records
from mesh.store.tables import Tables
from mesh.task import Kind, key

SESSIONS = ("k3f9x2m2", "k3zzzzzz")
ENTROPY, MESH, STORE = bytes(16), "meshmesh", "wwwwwwww"

#: At level `process` the records are let rest after every so manieth step.
RESTS = 4


def writes(seed: int) -> Iterator[list[tuple[Any, ...]]]:
    """The writes of one turn after the other, as a router's core has them: without end."""
    chance = random.Random(seed)
    next_of = dict.fromkeys(SESSIONS, 0)
    left: list[tuple[str, int]] = []
    while True:
        turn: list[tuple[Any, ...]] = []
        for _ in range(chance.randint(1, 4)):
            session = chance.choice(SESSIONS)
            first, size = next_of[session], chance.randint(1, 60)
            next_of[session] += size
            names = (
                [f"{session}-{first + i}" for i in range(size)] if chance.random() < 0.3 else None
            )
            digest = bytes([chance.randrange(8)]) * 16
            header = [size, digest, {}, None, 0, names, 0, b""]
            payloads = [chance.randbytes(chance.choice((5, 50, 500))) for _ in range(size)]
            marks = None if names is None else [b"m" * 16] * size
            turn.append(("function", digest, "sim:simulate", b"code", b"V" * 500))
            turn.append(("block", session, first, header, {}, payloads, marks))
            left += [(session, first + i) for i in range(size)]
        chance.shuffle(left)
        ended, left = left[: len(left) * 2 // 3], left[len(left) * 2 // 3 :]
        rows = [(key(*task), RECORD.pack(Kind.VALUE, 1, b"") + b"value") for task in ended]
        turn.append(("outcomes", sorted(rows)))
        turn.append(("tries", key(*chance.choice(ended)), [1, 0, 0]))
        turn.append(("worker", STORE, {"host": "node7"} if chance.random() < 0.5 else None))
        turn.append(("counts", [chance.randrange(1000) for _ in range(4)]))
        yield turn


def result(seed: int, step: int) -> bytes:
    """What the large result of a step is."""
    chance = random.Random(seed * 1000 + step)
    return chance.randbytes(chance.choice((0, 10, 5_000, 70_000)))


def ref(seed: int, step: int) -> Ref:
    """What stands for it."""
    content = result(seed, step)
    task = key(SESSIONS[0], step)
    return Ref(task, step, 0, len(content), zlib.crc32(content), STORE.encode())


def digest(tables: Tables) -> str:
    """All that is in the tables of records, in a few characters."""
    found = blake2b(digest_size=12)
    with tables.begin() as txn:
        for table in TABLES:
            for name, value in txn.scan(table):
                found.update(repr((table, name, value)).encode())
    return found.hexdigest()


def states(tables: Tables, seed: int, steps: int) -> list[str]:
    """The digest of the records after each of so many steps; first that of none."""
    told = [digest(tables)]
    records = Records(tables, ENTROPY, MESH)
    told.append(digest(tables))
    records.restore()
    told.append(digest(tables))
    for _, turn in zip(range(steps - 2), writes(seed)):
        records.apply(turn)
        told.append(digest(tables))
    return told


def main() -> None:
    folder, durability, seed, steps = Path(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:])
    said = os.open(folder / "acknowledged", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    results, _ = open_results(folder / "worker", STORE, durability, print)
    (folder / "router").mkdir()
    records = open_records(folder / "router", ENTROPY, MESH, durability)
    os.write(said, b".")
    records.restore()
    os.write(said, b".")
    for step, turn in zip(range(2, steps), writes(seed)):
        waiting = ref(seed, step)
        spool.write(spool.path(results.incoming, waiting.task, step, 0), [result(seed, step)])
        results.apply([waiting])
        records.apply(turn)
        os.write(said, b".")
        if durability == "process" and step % RESTS == 0:
            records.tables.rest()
    os._exit(0)


if __name__ == "__main__":
    main()
