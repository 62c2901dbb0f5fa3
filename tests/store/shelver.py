"""A process that keeps results and lets go of some, as a worker does, until it is killed.

    python shelver.py FOLDER SEED [AT]

Its work depends on the seed alone. A line on its standard output says what the store has taken:
the leases that are there from now on, and those that are not. AT: it kills itself in that
call that moves a file to its place.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import zlib
from pathlib import Path
from typing import Any

from mesh.processes import spool
from mesh.protocol.outcome import Ref
from mesh.store.opening import open_results
from mesh.store.results import Results
from mesh.store.writes import Gone
from mesh.task import key

STORE = "wwwwwwww"

#: Results of one commit.
BATCH = 12


def task(lease: int) -> bytes:
    """Whose result the one of a lease is."""
    return key("k3f9x2m7", lease)


def content(lease: int) -> bytes:
    """What it is."""
    return random.Random(lease).randbytes(lease % 3000)


def kill_itself_in(call: int) -> None:
    """Die at the point between: the entry is committed, and the file not moved."""
    move, calls = Results._move_in, iter(range(call))

    def last(self: Results, source: Path, name: bytes) -> Any:
        if next(calls, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)
        move(self, source, name)

    Results._move_in = last  # type: ignore[method-assign]


def main() -> None:
    folder, seed = Path(sys.argv[1]), int(sys.argv[2])
    store, _ = open_results(folder, STORE, "process", print)
    if len(sys.argv) > 3:
        kill_itself_in(int(sys.argv[3]))
    chance = random.Random(seed)
    lease, there = seed << 32, set[int]()
    while True:
        made = range(lease, lease + BATCH)
        lease += BATCH
        gone = {each for each in there if chance.random() < 0.2}
        writes: list[Ref | Gone] = []
        for each in made:
            spool.write(spool.path(store.incoming, task(each), each, 0), [content(each)])
            crc = zlib.crc32(content(each))
            writes.append(Ref(task(each), each, 0, len(content(each)), crc, STORE.encode()))
        writes += [Gone(task(each), each) for each in gone]
        print("-", *gone, flush=True)  # from now on nobody is promised these
        store.apply(writes)
        there = there - gone | set(made)
        print("+", *made, flush=True)


if __name__ == "__main__":
    main()
