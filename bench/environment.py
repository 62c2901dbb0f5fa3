"""Where a run took place: without it, its figures can't be compared with another's."""

from __future__ import annotations

import os
import platform
import statistics
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from .measure import seconds_of

PACKAGES = ("meshrun", "pyzmq", "lmdb", "msgpack", "cloudpickle", "loky")
FSYNCS = 21


def describe(folder: str) -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cpus": len(os.sched_getaffinity(0)),
        "load_average": os.getloadavg()[0],
        "file_system": file_system(folder),
        "fsync_us": fsync_us(folder),
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def file_system(folder: str) -> str:
    """The type of the file system a folder is on."""
    path = Path(folder).resolve()
    mounts = (line.split() for line in Path("/proc/self/mounts").read_text().splitlines())
    types = {Path(point): kind for _, point, kind, *_ in mounts}
    return next(types[place] for place in (path, *path.parents) if place in types)


def fsync_us(folder: str) -> float:
    """The median cost of a small synced append, the least any promise about a disk costs there."""
    with tempfile.TemporaryFile(dir=folder) as file:

        def append() -> None:
            os.write(file.fileno(), bytes(4096))
            os.fsync(file.fileno())

        return 1e6 * statistics.median(seconds_of(append) for _ in range(FSYNCS))
