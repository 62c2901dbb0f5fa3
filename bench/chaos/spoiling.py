"""Spoiling: results in a store go, or are not what they were, behind their worker's back; or the
whole store goes."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

from mesh.protocol.outcome import parse_key
from mesh.task import show, unkey

#: Of so many results that are youngest some are spoiled: those that others still need.
YOUNG = 60

#: At most so many at once.
MANY = 6


def spoil(content: Path, choice: int) -> list[str]:
    """Spoil some of what is in a store's folder; `choice` says how many, which and how. The ids of
    their tasks.

    A file is removed, or another takes its name: who reads the old one reads on, as after a fault
    of a disk, and what others have linked stays whole.
    """
    found = []
    for path in content.glob("??/*"):
        try:
            found.append((path.stat().st_mtime_ns, path))
        except FileNotFoundError:
            continue  # it was let go of meanwhile
    young = [path for _, path in sorted(found)[-YOUNG:]]
    some = young[choice % 7 :: 7][: choice % MANY + 1]
    return [
        _task_of(path) for path in some if _spoil_one(path, ("gone", "short", "other")[choice % 3])
    ]


def wipe(store: Path) -> list[str]:
    """Remove the whole store of a worker that is not there, if it has made one. The ids of the
    tasks in it."""
    ids = sorted({_task_of(path) for path in store.glob("content/??/*")})
    with suppress(FileNotFoundError):
        shutil.rmtree(store)
    return ids


def _task_of(path: Path) -> str:
    task, _, _ = parse_key(bytes.fromhex(path.name))
    return show(*unkey(task))


def _spoil_one(path: Path, how: str) -> bool:
    draft = path.with_name("spoiled")
    try:
        if how == "gone":
            path.unlink()
            return True
        raw = bytearray(path.read_bytes())
        if how == "short":
            del raw[-1:]
        else:
            raw[len(raw) // 2] ^= 1
        draft.write_bytes(raw)
        os.chmod(draft, 0o600)
        path.stat()  # what is gone by now does not come back
        os.replace(draft, path)
    except FileNotFoundError:
        draft.unlink(missing_ok=True)
        return False
    return True
