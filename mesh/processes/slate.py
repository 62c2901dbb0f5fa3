"""Slate: what a slot notes of what it runs, in memory that its worker sees: lease, when that began,
and where its output begins in the file that catches it (capture.py).

In the other direction its worker notes which lease is to be interrupted, where that is one of
several which a process runs; and until when tasks may begin. A worker that stands still cannot say
that they no longer may: so it says it before.

A worker knows what it gave to a slot, not how far that is: outcomes come back in packets. To note
it costs the slot a quarter of a microsecond a task, which a message or a file would not. A file
that is mapped would do as well, but on a full disk writing to it may kill the process.
"""

from __future__ import annotations

import mmap
import os
import struct
import tempfile
import time
from typing import NamedTuple

_NOTE = struct.Struct("=QdQ")
_STRUCK = struct.Struct("=Q")
_UNTIL_AT = _NOTE.size + _STRUCK.size
_BYTES = _UNTIL_AT + struct.calcsize("d")


class Note(NamedTuple):
    """What a slate says. Lease 0: nothing yet."""

    lease: int
    begun: float
    at: int


class Slate:
    """The slate behind `descriptor`: a new one without; `descriptor` is for a child then, until it
    has it.

    Raises:
        OSError: there is no descriptor or memory left.
    """

    def __init__(self, descriptor: int | None = None) -> None:
        if descriptor is None:
            descriptor = _memory()
            os.ftruncate(descriptor, _BYTES)
        self.descriptor = descriptor
        self._map = mmap.mmap(descriptor, _BYTES)
        self._until = memoryview(self._map)[_UNTIL_AT:].cast("d")

    def given(self) -> None:
        """Who was to have the descriptor has it, or never will; the memory stays."""
        os.close(self.descriptor)

    def write(self, lease: int, begun: float, at: int) -> None:
        """`lease` begins."""
        self._map[: _NOTE.size] = _NOTE.pack(lease, begun, at)

    def read(self) -> Note:
        """What is noted. The other side may be writing: what is the same twice is whole."""
        said = self._map[: _NOTE.size]
        while said != (again := self._map[: _NOTE.size]):
            said = again
        return Note(*_NOTE.unpack(said))

    def strike(self, lease: int) -> None:
        """`lease` is to be interrupted: for a process that is stopped, and then told to look."""
        _STRUCK.pack_into(self._map, _NOTE.size, lease)

    @property
    def struck(self) -> int:
        """The lease that is to be interrupted, or was."""
        return int(_STRUCK.unpack_from(self._map, _NOTE.size)[0])

    def allow(self, until: float) -> None:
        """Tasks may begin until then, as `time.monotonic` tells time to all on this host."""
        self._until[0] = until

    @property
    def is_late(self) -> bool:
        """Whether tasks may no longer begin."""
        return time.monotonic() >= self._until[0]

    def close(self) -> None:
        """Free the memory."""
        self._until.release()
        self._map.close()


def _memory() -> int:
    """Memory that has a descriptor; where that does not exist, a file without a name."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("mesh-slate")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
