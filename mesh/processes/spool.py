"""The spool: how what is too big for a packet crosses between a worker and its slots.

The maker writes a file and sends its path; the taker maps it and, if it was only on its way,
removes the name. A large result needs no second copy: the file the slot wrote is moved into the
worker's store as it is.
"""

from __future__ import annotations

import mmap
import os
import zlib
from pathlib import Path
from typing import Any

from ..protocol.outcome import stored_key


def function(folder: Path, pid: int, number: int) -> Path:
    """Where a function waits for the slot that knows it by `number`."""
    return folder / f"function-{pid}-{number}"


def arguments(folder: Path, lease: int) -> Path:
    """Where the arguments of a lease wait for its slot."""
    return folder / f"arguments-{lease:016x}"


def path(folder: Path, task: bytes, lease: int, index: int) -> Path:
    """Where the result (or log) of a task's lease waits for the worker."""
    return folder / stored_key(task, lease, index).hex()


def checksum(parts: list[Any]) -> int:
    """The crc32 of `parts`, one after the other."""
    crc = 0
    for part in parts:
        crc = zlib.crc32(part, crc)
    return crc


def write(file: Path, parts: list[Any]) -> int:
    """Write `parts` one after the other; how many bytes.

    Raises:
        OSError: there is no room for them.
    """
    size = 0
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        for part in parts:
            view = memoryview(part).cast("B")
            size += len(view)
            while len(view):
                view = view[os.write(descriptor, view) :]
    except OSError:
        os.unlink(file)  # a full disk: what is there of it only takes room
        raise
    finally:
        os.close(descriptor)
    return size


def take(file: str) -> memoryview:
    """The content of `file`, mapped privately (writing to it changes nobody else's), unnamed."""
    content = mapped(file)
    os.unlink(file)
    return content


def mapped(file: str) -> memoryview:
    """The content of `file`, mapped privately: writing to it changes nobody else's."""
    descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return memoryview(mmap.mmap(descriptor, 0, access=mmap.ACCESS_COPY))
    finally:
        os.close(descriptor)
