"""The content of a stored result: a file that is written once, and read by mapping it.

A file of this kind is never changed in place: it is removed, or another takes its name. So a
mapping stays what it was for as long as somebody holds it, whatever becomes of the file. It is a
private one: who writes to it changes nobody else's.
"""

from __future__ import annotations

import mmap
import os
from pathlib import Path
from typing import Any

from ..protocol.checksum import crc32

#: A smaller file is read: a mapping costs more to set up, and a process has 65,530 of them.
MAPPED_BYTES_MIN = 256 * 1024

#: Written at a time of what comes in parts. For more Linux takes larger folios of memory, and those
#: a virtual machine has given back to its host: to have them again takes longer than the copy.
PIECE_BYTES = 64 * 1024


def mapped(file: str | os.PathLike[str]) -> memoryview:
    """What is in `file`, which is not empty: to be written to as well, by whoever asked.

    Raises:
        OSError: it cannot be mapped.
        ValueError: it is empty.
    """
    descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return memoryview(mmap.mmap(descriptor, 0, access=mmap.ACCESS_COPY))
    finally:
        os.close(descriptor)


def whole(file: Path, size: int, crc: int) -> memoryview | None:
    """What is in `file`, if that has this size and this checksum; a large one is mapped."""
    try:
        found = mapped(file) if size >= MAPPED_BYTES_MIN else memoryview(_read(file, size))
    except (OSError, ValueError):
        try:  # there are too many mappings, perhaps
            found = memoryview(_read(file, size))
        except OSError:
            return None
    return found if len(found) == size and crc32(found) == crc else None


def write_at(descriptor: int, part: Any, at: int) -> None:
    """Write all of a `part` of content to where it belongs in an open file.

    Raises:
        OSError: there is no room for it.
    """
    view = memoryview(part)
    while len(view):
        written = os.pwrite(descriptor, view[:PIECE_BYTES], at)
        view, at = view[written:], at + written


def _read(file: Path, size: int) -> bytearray:
    """The first `size` bytes and one more, if there are so many."""
    content = bytearray(size + 1)
    with open(file, "rb", buffering=0) as opened:
        at = 0
        while at <= size and (count := opened.readinto(memoryview(content)[at:])):
            at += count
    del content[at:]
    return content
