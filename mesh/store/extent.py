"""The extent of a data file: how far it reaches, and how far its last page says it does.

Whoever reads a mapped file beyond its end is killed by SIGBUS, so a file that was cut short must
not be used. But LMDB may end a transaction with free pages behind all others, and does not write
those: a file that nobody has touched is then shorter than it says, too. So it is made as long after
each commit; and one that is short nevertheless, because its owner was killed between the two, is
inspected before it is used.
"""

from __future__ import annotations

import os
from pathlib import Path

import lmdb


def needed(env: lmdb.Environment) -> int:
    """How long the data file of `env` is with all pages that there ever were."""
    return int((env.info()["last_pgno"] + 1) * env.stat()["psize"])


def is_short(data: Path) -> bool:
    """Whether a data file ends before its last page. One that is none is not: it is for who opens
    it to say so."""
    try:
        env = lmdb.open(
            str(data), subdir=False, readonly=True, lock=False, create=False, map_size=0
        )
    except lmdb.Error:
        return False
    try:
        return data.stat().st_size < needed(env)
    finally:
        env.close()


def lengthen(data: Path, size: int) -> None:
    """Make a data file at least `size` bytes long. What is new takes no room on the disk."""
    if data.stat().st_size < size:
        os.truncate(data, size)
