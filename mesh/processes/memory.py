"""Memory: how much of it the tasks of a worker may use together."""

from __future__ import annotations

from pathlib import Path

#: Beyond this a limit of the first version of cgroups means none.
_NO_LIMIT = 1 << 60


def limit(root: Path = Path("/")) -> int | None:
    """Bytes: the least of what the machine has and what its cgroup and those above it may use; None
    where that is not told."""
    known = [size for size in (_total(root), *_of_cgroups(root)) if size is not None]
    return min(known, default=None)


def _total(root: Path) -> int | None:
    try:
        for line in (root / "proc/meminfo").read_text().splitlines():
            if line.startswith("MemTotal:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    return None


def _of_cgroups(root: Path) -> list[int]:
    limits: list[int] = []
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return limits
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if controllers == "":
            top, name = root / "sys/fs/cgroup", "memory.max"
        elif "memory" in controllers.split(","):
            top, name = root / "sys/fs/cgroup/memory", "memory.limit_in_bytes"
        else:
            continue
        place = top / group.lstrip("/")
        for each in [place, *place.parents]:
            if not each.is_relative_to(top):
                break
            try:
                size = int((each / name).read_text())
            except (OSError, ValueError):
                continue  # "max", or not to be seen from inside of a container
            if size < _NO_LIMIT:
                limits.append(size)
    return limits
