"""Weight: the memory that a task uses, with all it has started."""

from __future__ import annotations

import os
from pathlib import Path

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def of_tree(pid: int, limit: int) -> int:
    """The memory of a process and its descendants in bytes, if that is more than `limit`; else
    something less. Linux: elsewhere nothing is known, and nothing too much.

    Resident pages are counted first, which is quick. Forked processes share pages, so what looks
    like too much is counted again, each page once.
    """
    pids = _tree(pid)
    size = sum(map(_resident, pids))
    return size if size <= limit else min(size, sum(map(_proportional, pids)))


def _tree(pid: int) -> list[int]:
    pids, at = [pid], 0
    while at < len(pids):
        pids += _children(pids[at])
        at += 1
    return pids


def _children(pid: int) -> list[int]:
    found: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            found += map(int, Path(f"/proc/{pid}/task/{thread}/children").read_text().split())
    except OSError:
        pass  # it has ended
    return found


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_BYTES
    except (OSError, IndexError):
        return 0


def _proportional(pid: int) -> int:
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def resident_bytes() -> int:
    """The memory of this process that is in RAM now; its peak where that is not told."""
    try:
        with open("/proc/self/statm") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
