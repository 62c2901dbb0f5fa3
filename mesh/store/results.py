"""A worker's results: what it made and keeps.

The content of a result is a file, as its slot wrote it; the index in LMDB says whose it is, how
big and with which checksum. A result exists when its index entry is committed; the content is not
synced for itself, so that after a power cut an entry may stand over a file that is short or
wrong: size and checksum tell, and the result is reported lost rather than served wrong.

    result    task id + lease u64 + index u16 → size u64, crc32 u32
    meta      the store's id and schema
"""

from __future__ import annotations

import struct
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from ..errors import ResultLost, StoreError
from ..protocol.outcome import LOG, RESULT, Ref, stored_key, stored_name
from ..task import show, unkey
from . import folder
from .durability import Durability
from .tables import NO_ROOM, LmdbTables, NoRoom, Tables

SCHEMA = 2
TABLES = ("meta", "result")

_ENTRY = struct.Struct("<QI")


class Gone(NamedTuple):
    """What this lease of a task stored is not needed any more."""

    task: bytes
    lease: int


class Results:
    """The results in `root`.

    Args:
        root: a folder that is prepared and owned.
        new_id: the id of the store if it is new: eight characters.
        durability: what an entry of the index survives when `keep` returns.

    Raises:
        StoreError: the store cannot be opened, or another version wrote it.
    """

    def __init__(self, root: Path, new_id: str, durability: Durability) -> None:
        self.content = root / "content"
        self.incoming = root / "incoming"
        for made in (self.content, self.incoming):
            made.mkdir(mode=0o700, exist_ok=True)
        for left in self.incoming.iterdir():
            left.unlink()  # written and never indexed: nobody knows of it
        self._tables: Tables = LmdbTables(root / "index.mdb", TABLES, durability=durability)
        with self._tables.begin(write=True) as txn:
            schema = txn.get("meta", b"schema")
            if schema is None:
                txn.put("meta", b"schema", bytes([SCHEMA]))
                txn.put("meta", b"id", new_id.encode())
            elif schema != bytes([SCHEMA]):
                self._tables.close()
                raise StoreError(
                    f"{root} has schema {schema[0]}, this Mesh reads {SCHEMA}: use the Mesh "
                    f"version that wrote it, or another folder"
                )
            self.id = (txn.get("meta", b"id") or b"").decode()

    def apply(self, writes: list[Ref | Gone]) -> None:
        """Take in what waits in `incoming`, and let go of what is not needed. Committed on return.

        Raises:
            NoRoom: the disk is full; to be tried again.
        """
        try:
            self._keep([each for each in writes if isinstance(each, Ref)])
            self._forget([each for each in writes if isinstance(each, Gone)])
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            raise NoRoom(f"no room in {self.content}: {error.strerror}") from error

    def _keep(self, refs: list[Ref]) -> None:
        if not refs:
            return
        rows = []
        for ref in refs:
            key = stored_key(ref.task, ref.lease, ref.number)
            file = self.content / stored_name(ref.task, ref.lease, ref.number)
            file.parent.mkdir(mode=0o700, exist_ok=True)
            with suppress(FileNotFoundError):  # moved before, when there was no room for the index
                (self.incoming / key.hex()).rename(file)
            rows.append((key, _ENTRY.pack(ref.size, ref.crc)))
        with self._tables.begin(write=True) as txn:
            txn.put_many("result", rows)

    def _forget(self, gone: list[Gone]) -> None:
        if not gone:
            return
        all_of = [(*each, number) for each in gone for number in (RESULT, LOG)]
        with self._tables.begin(write=True) as txn:
            for each in all_of:
                txn.delete("result", stored_key(*each))
        for each in all_of:  # after their entries: nobody is promised what is gone
            (self.content / stored_name(*each)).unlink(missing_ok=True)

    def find(self, task: bytes, lease: int, number: int) -> tuple[Path, int, int]:
        """The file of a result, its size and checksum.

        Raises:
            ResultLost: this store does not have it, or not whole.
        """
        key = stored_key(task, lease, number)
        with self._tables.begin() as txn:
            raw = txn.get("result", key)
        if raw is None:
            of = show(*unkey(task))
            raise ResultLost(f"store {self.id} does not hold result {lease:x}-{number} of {of}")
        size, crc = _ENTRY.unpack(raw)
        file = self.content / stored_name(task, lease, number)
        try:
            actual = file.stat().st_size
        except FileNotFoundError:
            actual = -1
        if actual != size:
            there = f"has {actual} bytes of {size}" if actual >= 0 else "is gone"
            raise ResultLost(
                f"the result of {show(*unkey(task))} is lost: {file} {there}. Submit the task again"
            )
        return file, size, crc

    def close(self) -> None:
        """Let go of all resources."""
        self._tables.close()


def open_results(root: Path, new_id: str, durability: Durability) -> tuple[Results, folder.Lock]:
    """Prepare and own `root`, and open the results in it.

    Raises:
        StoreError: see `folder.prepare`, `folder.Lock`, `Results`.
    """
    folder.prepare(root)
    lock = folder.Lock(root)
    try:
        return Results(root, new_id, durability), lock
    except BaseException:
        lock.release()
        raise
