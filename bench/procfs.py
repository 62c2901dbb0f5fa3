"""What Linux knows of a process: memory, CPU time, descriptors, ports, children."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path

TCP_LISTEN = "0A"


def _rollup(pid: int, field: str) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise LookupError(f"no {field} in /proc/{pid}/smaps_rollup")


def pss(pid: int) -> int:
    """Proportional set size in bytes: a page shared by n processes counts 1/n in each."""
    return _rollup(pid, "Pss")


def anonymous(pid: int) -> int:
    """Bytes that belong to no file: the heap, and not the pages of LMDB's map."""
    return _rollup(pid, "Anonymous")


def cpu_seconds(pid: int) -> float:
    """CPU time of all threads, by the process's own clock: `/proc/PID/stat` has steps of 10 ms."""
    # The kernel's encoding of "the scheduler's clock of process PID" (see clock_getcpuclockid(3)).
    return time.clock_gettime((~pid << 3) | 2)


def descendants(pid: int) -> set[int]:
    """Children, their children and so on, of which there is more left than an exit status."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            # The command, in parentheses, may hold anything: what follows the last one is safe.
            state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if state != "Z":
            children.setdefault(int(parent), []).append(int(entry.name))
    found: set[int] = set()
    todo = [pid]
    while todo:
        new = children.get(todo.pop(), [])
        found.update(new)
        todo += new
    return found


def _open_files(pid: int) -> list[str]:
    targets = []
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            targets.append(os.readlink(descriptor))
        except FileNotFoundError:
            continue
    return targets


def descriptors(pid: int) -> int:
    return len(_open_files(pid))


def threads(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


def listening_ports(pids: Iterable[int]) -> set[int]:
    """TCP ports on which any of these processes listens."""
    ours = {target for pid in pids for target in _open_files(pid) if target.startswith("socket:")}
    ports = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        if not os.path.exists(table):
            continue
        for line in Path(table).read_text().splitlines()[1:]:
            _, local, _, state, *rest = line.split()
            if state == TCP_LISTEN and f"socket:[{rest[5]}]" in ours:
                ports.add(int(local.rpartition(":")[2], 16))
    return ports
