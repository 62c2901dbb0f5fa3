"""The spool: how what is too big for a packet crosses between a worker and its slots.

The maker writes a file and sends its path; the taker maps it and, if it was only on its way,
removes the name. A large result needs no second copy: the file the slot wrote is moved into the
worker's store as it is.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ..protocol.checksum import crc32
from ..protocol.outcome import stored_key
from ..store import content

#: So much is written and summed up at a time: it is in the processor's cache for the second.
STEP_BYTES = 256 * 1024


def name(pid: int, number: int) -> str:
    """What the files of slot `number` are called by, in process `pid`."""
    return f"{pid}-{number}"


def function(folder: Path, slot: str, number: int) -> Path:
    """Where a function waits for the slot that knows it by `number`."""
    return folder / f"function-{slot}-{number}"


def output(folder: Path, slot: str) -> Path:
    """What the tasks of a slot print."""
    return folder / f"slot-{slot}.out"


def arguments(folder: Path, lease: int) -> Path:
    """Where the arguments of a lease wait for its slot."""
    return folder / f"arguments-{lease:016x}"


def path(folder: Path, task: bytes, lease: int, index: int) -> Path:
    """Where the result (or log) of a task's lease waits for the worker."""
    return folder / stored_key(task, lease, index).hex()


def write(file: Path | str, parts: list[Any]) -> tuple[int, int]:
    """Write `parts` one after the other, passing over them once: how many bytes, and their crc32.

    Raises:
        OSError: there is no room for them.
    """
    size = crc = 0
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        for part in parts:
            view = memoryview(part).cast("B")
            size += len(view)
            for at in range(0, len(view), STEP_BYTES):
                step = view[at : at + STEP_BYTES]
                crc = crc32(step, crc)
                while len(step):
                    step = step[os.write(descriptor, step) :]
    except OSError:
        os.unlink(file)  # a full disk: what is there of it only takes room
        raise
    finally:
        os.close(descriptor)
    return size, crc


def take(file: str) -> memoryview:
    """The content of `file`, mapped privately (writing to it changes nobody else's), unnamed."""
    taken = content.mapped(file)
    os.unlink(file)
    return taken


def shelter(folder: Path, pid: int) -> Path:
    """Where tasks of process `pid` run whose own folder is not on this host."""
    return folder / f"slot-{pid}.cwd"


def scratch(folder: Path, slot: str) -> Path:
    """The folder of the task that a slot runs, if that has asked for one."""
    return folder / f"slot-{slot}.tmp"
