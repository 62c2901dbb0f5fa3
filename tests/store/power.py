"""Power cuts: what a disk may hold when the machine goes down, after what a real process wrote.

A process runs with the witness (witness.c) preloaded, which notes every write, sync, rename and
removal below a folder. `Disk` plays these notes again up to any moment, and `cut` makes a folder
as the machine might find it after its next boot:

- what was synced is there; of any other page (4096 bytes) there is any version that was ever in
  the cache since its last sync, or parts of two, in units of 512 bytes;
- a file is as long as it was at its last sync, or at any moment since; where nothing was written
  it is zero;
- names (creations, renames, removals) come into being in order. A sync of a file brings its own
  name, that of a folder all.
"""

from __future__ import annotations

import os
import random
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

PAGE, SECTOR = 4096, 512

#: Files that are notes of the witnessed process rather than on its disk.
ACKNOWLEDGED = "acknowledged"

_HEAD = struct.Struct("=cBHQQ")


class Note(NamedTuple):
    """One thing that the witness saw."""

    op: str
    path: str
    synced: bool
    offset: int
    data: bytes


def compiled(folder: Path) -> Path:
    """The witness as a library, made in `folder`."""
    library = folder / "witness.so"
    source = Path(__file__).parent / "witness.c"
    command = ["cc", "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"]
    subprocess.run(command, check=True, capture_output=True)
    return library


def watched(library: Path, root: Path, log: Path) -> dict[str, str]:
    """The environment of a process whose writes below `root` are to be noted in `log`."""
    return os.environ | {
        "LD_PRELOAD": str(library),
        "WITNESS_ROOT": str(root),
        "WITNESS_LOG": str(log),
    }


def notes(log: Path) -> Iterator[Note]:
    """What the witness wrote down, in order."""
    raw = memoryview(log.read_bytes())
    while len(raw):
        op, synced, path, offset, size = _HEAD.unpack_from(raw)
        data = _HEAD.size + path
        yield Note(
            op.decode(),
            bytes(raw[_HEAD.size : data]).decode(),
            bool(synced),
            offset,
            bytes(raw[data : data + size]),
        )
        raw = raw[data + size :]


class File:
    """A file, as the cache has it and as the disk may have it."""

    def __init__(self) -> None:
        self.cache = bytearray()
        self.disk = bytearray()
        self.versions: dict[int, list[bytes]] = {}  # of pages that are not synced, oldest first
        self.sizes: list[int] = []
        self.made = 0

    def write(self, offset: int, data: bytes, synced: bool) -> None:
        end = offset + len(data)
        if end > len(self.cache):
            self.resize(end)
        self.cache[offset:end] = data
        for page in range(offset // PAGE, -(-end // PAGE)):
            self.versions.setdefault(page, []).append(self._page(page))
        if synced:  # O_DSYNC: these pages, and what it takes to read them; no others
            for page in range(offset // PAGE, -(-end // PAGE)):
                self._put(self.disk, page, self.versions.pop(page)[-1])
            self.sizes = [size for size in self.sizes if size > len(self.disk)]

    def resize(self, size: int) -> None:
        self.cache = self.cache[:size].ljust(size, b"\0")
        self.sizes.append(size)

    def sync(self) -> None:
        self.disk = bytearray(self.cache)
        self.versions.clear()
        self.sizes.clear()

    def after_a_cut(self, chance: random.Random, written: float) -> bytes:
        """What may be left of it, if about so much of what was not synced has been written."""
        left = bytearray(self.disk)
        size = len(self.cache)
        if chance.random() >= written:
            size = chance.choice([len(self.disk), *self.sizes])
        for page, versions in self.versions.items():
            old = bytes(self.disk[page * PAGE : (page + 1) * PAGE]).ljust(PAGE, b"\0")
            some = [old, *versions]
            kept = versions[-1] if chance.random() < written else chance.choice(some)
            if chance.random() < (1 - written) / 10:
                other = chance.choice(some)
                kept = b"".join(
                    chance.choice((kept, other))[at : at + SECTOR] for at in range(0, PAGE, SECTOR)
                )
            self._put(left, page, kept)
        return bytes(left[:size].ljust(size, b"\0"))

    def _page(self, page: int) -> bytes:
        return bytes(self.cache[page * PAGE : (page + 1) * PAGE]).ljust(PAGE, b"\0")

    def _put(self, onto: bytearray, page: int, content: bytes) -> None:
        end = min((page + 1) * PAGE, len(self.cache))
        if len(onto) < end:
            onto.extend(bytes(end - len(onto)))
        onto[page * PAGE : end] = content[: end - page * PAGE]


class Disk:
    """Plays notes. `acknowledged` is what the process had said of its progress."""

    def __init__(self) -> None:
        self.names: dict[str, File] = {}
        self.renames: list[tuple[str, str, File | None]] = []  # (gone, come, file), in order
        self.certain = 0  # so many of them are on the disk
        self.acknowledged = 0

    def play(self, note: Note) -> None:
        """One thing more has happened."""
        op, path, synced, offset, data = note
        if path == ACKNOWLEDGED:
            self.acknowledged += op == "w"
        elif op == "c":
            self._name("", path, File())
        elif op == "r":
            self._name(path, data.decode(), self.names[path])
        elif op == "u":
            self._name(path, "", None)
        elif path not in self.names:  # a folder
            assert op == "s", (op, path)
            self.certain = len(self.renames)
        elif op == "w":
            self.names[path].write(offset, data, synced)
        elif op == "t":
            self.names[path].resize(offset)
        else:
            self.names[path].sync()
            self.certain = max(self.certain, self.names[path].made)

    def _name(self, gone: str, come: str, file: File | None) -> None:
        self.names.pop(gone, None)
        if file is not None:
            self.names[come] = file
        self.renames.append((gone, come, file))
        if file is not None:
            file.made = len(self.renames)

    def cut(self, folder: Path, chance: random.Random) -> None:
        """Make `folder` as the machine may find it."""
        left: dict[str, File] = {}
        written = chance.choice((0.0, 0.5, 0.9, 0.99))
        for gone, come, file in self.renames[: chance.randint(self.certain, len(self.renames))]:
            left.pop(gone, None)
            if file is not None:
                left[come] = file
        for path, file in left.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(file.after_a_cut(chance, written))
