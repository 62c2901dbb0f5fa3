"""Ordered tables of bytes, with transactions: the contract under every store, and its two makers.

A `Tables` is a set of named tables, each a sorted map of bytes to bytes. `begin(write=True)` is
all-or-nothing and seen by nobody before it ends; one thread writes, any thread reads. `LmdbTables`
keeps them in an LMDB environment, `MemoryTables` in dicts, for tests; the contract suite runs
over both. Neither knows what the bytes mean.
"""

from __future__ import annotations

import sys
import tempfile
from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

import lmdb

from ..errors import DISK_FULL, StoreError
from . import extent
from .durability import Durability
from .seal import Seal

#: Address space reserved for the map, not disk: a 64 GiB map over an empty store is an 8 KiB file,
#: which grows by what is written. It is what a store may grow to: nothing of ours comes near it
#: (a million tasks with their results take below 1 GiB), and mapping more costs nothing but
#: address space, of which a process has 128 TiB.
MAP_BYTES = 64 * 2**30

#: Where address space is limited (RLIMIT_AS, small cgroups) we make do with this.
MAP_BYTES_SMALL = 2**30

#: LMDB looks through its free pages for so much in a row, and hardly ever finds it.
PROBE_BYTES = 8 * 2**20

#: Keys beyond this are refused by LMDB (511 by default).
KEY_BYTES_MAX = 500


#: Where this much cannot be had, a write that failed has failed for want of room.
ROOM_BYTES = 1024 * 1024


class NoRoom(StoreError):
    """Nothing more can be written now: the disk is full, or a quota or the map is used up."""


class Transaction(Protocol):
    """What can be done inside one transaction."""

    def get(self, table: str, key: bytes) -> bytes | None:
        """The value under `key`, or None."""

    def put(self, table: str, key: bytes, value: bytes) -> None:
        """Set `key`, whether or not it is there."""

    def put_many(self, table: str, items: list[tuple[bytes, bytes]]) -> None:
        """Set many keys: fastest when they ascend."""

    def delete(self, table: str, key: bytes) -> None:
        """Remove `key`; nothing happens if it is not there."""

    def scan(
        self, table: str, first: bytes = b"", stop: bytes | None = None
    ) -> Iterator[tuple[bytes, bytes]]:
        """The items with first <= key < stop, ascending."""

    def before(self, table: str, key: bytes) -> tuple[bytes, bytes] | None:
        """The item with the largest key <= `key`, or None."""

    def count(self, table: str) -> int:
        """How many keys `table` has."""

    def used_bytes(self) -> int:
        """How much room all tables take, about: what is free to be used again does not count."""


class Tables(Protocol):
    """A set of tables."""

    def begin(self, *, write: bool = False) -> AbstractContextManager[Transaction]:
        """A transaction, as a context manager: committed at its end, undone by an exception."""

    def rehearse(self) -> AbstractContextManager[Transaction]:
        """A transaction that may write and is undone at its end: it needs no room on the disk."""

    @property
    def room_bytes(self) -> int:
        """What all tables can take at most, however large the disk is."""

    def rest(self) -> None:
        """Nothing is written for a while: have what was on the disk."""

    def close(self) -> None:
        """Let go of all resources."""


class LmdbTables:
    """Tables in the LMDB environment at `path`.

    At level `disk` LMDB syncs the pages of a commit, then writes the meta page that makes it count
    through a descriptor that syncs. It never overwrites a page that the last commit needs, and
    nothing is written through the map. At level `process` it syncs nothing.

    Args:
        path: the data file; `path`-lock beside it is LMDB's own.
        names: all tables.
        durability: what a commit survives when it returns.
        seal: is opened before the first change, and closed when the store is at rest; without one
            the store is for this boot alone.
        inspected: the file may end early, see `extent`: whether that harms is being found out.

    Raises:
        StoreError: the file is no LMDB environment of this version, cut short, or not writable.
    """

    def __init__(
        self,
        path: Path,
        names: Iterable[str],
        *,
        durability: Durability,
        seal: Seal | None = None,
        inspected: bool = False,
    ) -> None:
        names = list(names)
        self._path = path
        self._length = 0  # of the file, at least
        if not has_room(path.parent):  # LMDB would map its lock file and die of SIGBUS
            raise NoRoom(f"no room in {path.parent}: free some, or use another folder")
        self._durability = durability
        self._seal = seal
        try:
            self._env = _open(path, len(names), durability)
        except lmdb.Error as error:
            raise StoreError(
                f"{path} cannot be opened as a store: {error}. "
                f"Move it away to start anew, or use another folder"
            ) from error
        try:
            refuse_cut_short(self._env, path, inspected=inspected)
            # Who was killed while it read keeps pages from reuse. Only somebody who looked into the
            # store with a tool can be that: its owner is one process, and its readers end with it.
            self._env.reader_check()
            self._tables = {name: self._env.open_db(name.encode()) for name in names}
        except lmdb.Error as error:
            self._env.close()
            raise StoreError(f"{path} is damaged: {error}. Move it away to start anew") from error
        except StoreError:
            self._env.close()
            raise

    @contextmanager
    def begin(self, *, write: bool = False) -> Iterator[Transaction]:
        """See `Tables.begin`.

        Raises:
            NoRoom: the disk or the map is full.
            StoreError: a page is damaged, or a key is too long.
        """
        if write and self._seal is not None and not self._seal.is_open:
            self._open_seal(self._seal)
        try:
            with self._env.begin(write=write) as transaction:
                yield LmdbTransaction(transaction, self._tables)
            if write:
                self._lengthen()
        except lmdb.Error as error:
            raise self._meaning_of(error) from error

    def _lengthen(self) -> None:
        """The file is as long as it says: see `extent`."""
        size = extent.needed(self._env)
        if size > self._length:
            with suppress(OSError):  # then it is inspected before it is opened again
                extent.lengthen(self._path, size)
            self._length = size

    @contextmanager
    def rehearse(self) -> Iterator[Transaction]:
        """See `Tables.rehearse`. LMDB keeps what a transaction changes in memory until its end.

        Raises:
            NoRoom: the map is full.
            StoreError: a page is damaged, or a key is too long.
        """
        transaction = self._env.begin(write=True)
        try:
            yield LmdbTransaction(transaction, self._tables)
        except lmdb.Error as error:
            raise self._meaning_of(error) from error
        finally:
            transaction.abort()

    def _meaning_of(self, error: lmdb.Error) -> StoreError:
        # EIO is what LMDB makes of a disk that took a part of its pages: the disk is asked.
        if isinstance(error, lmdb.MapFullError) or not has_room(self._path.parent):
            return NoRoom(f"no room in {self._path.parent}: {error}")
        return StoreError(f"{self._path} cannot be used: {error}")

    @property
    def room_bytes(self) -> int:
        """See `Tables.room_bytes`."""
        return int(self._env.info()["map_size"])

    def _open_seal(self, seal: Seal) -> None:
        try:
            seal.open(self._durability)
        except OSError as error:
            if error.errno in DISK_FULL:
                raise NoRoom(f"no room in {self._path.parent}: {error.strerror}") from error
            raise StoreError(f"{self._path} cannot be used: {error.strerror}") from error

    def rest(self) -> None:
        """See `Tables.rest`. The seal is closed until the next change."""
        if self._seal is None or not self._seal.is_open:
            return
        try:
            if self._durability == "process":
                self._env.sync(True)
            self._seal.close()
        except (OSError, lmdb.Error):
            pass  # a full disk: it stays open, as of one that was killed

    def probe(self) -> None:
        """Look for so much room that the whole list of free pages is read, and change nothing.

        Raises:
            lmdb.Error: it is damaged.
        """
        transaction = self._env.begin(write=True)
        try:
            transaction.put(b"probe", bytes(PROBE_BYTES))
        finally:
            transaction.abort()

    def close(self) -> None:
        """See `Tables.close`."""
        self.rest()
        self._env.close()


def has_room(folder: Path) -> bool:
    """Whether ROOM_BYTES can be written in `folder`: free space as `statvfs` tells it knows of no
    quota."""
    try:
        with tempfile.TemporaryFile(dir=folder, buffering=0) as probe:
            return probe.write(bytes(ROOM_BYTES)) == ROOM_BYTES
    except OSError as reason:
        return reason.errno not in DISK_FULL


def _open(path: Path, tables: int, durability: Durability) -> lmdb.Environment:
    for size in (MAP_BYTES, MAP_BYTES_SMALL):
        try:
            return lmdb.open(
                str(path),
                subdir=False,
                map_size=size,
                max_dbs=tables,
                mode=0o600,
                sync=durability == "disk",
                max_readers=64,
            )
        except lmdb.MemoryError:
            if size == MAP_BYTES_SMALL:
                raise
    raise AssertionError("unreachable")


def refuse_cut_short(env: lmdb.Environment, path: Path, *, inspected: bool) -> None:
    """A file that ends before its last page would kill this process with SIGBUS later, unless what
    is not there is free (`extent`); but within a page LMDB never ends."""
    needed, size = extent.needed(env), path.stat().st_size
    if size < needed and (not inspected or size % env.stat()["psize"]):
        raise StoreError(
            f"{path} is cut short: {size} bytes of {needed}. "
            f"Restore it from a copy, or move it away to start anew"
        )


class LmdbTransaction:
    """See `Transaction`, of LMDB."""

    def __init__(self, transaction: Any, tables: dict[str, Any]) -> None:
        self._txn = transaction
        self._tables = tables

    def get(self, table: str, key: bytes) -> bytes | None:
        return self._txn.get(key, db=self._tables[table])

    def put(self, table: str, key: bytes, value: bytes) -> None:
        self._txn.put(key, value, db=self._tables[table])

    def put_many(self, table: str, items: list[tuple[bytes, bytes]]) -> None:
        with self._txn.cursor(db=self._tables[table]) as cursor:
            cursor.putmulti(items)

    def delete(self, table: str, key: bytes) -> None:
        self._txn.delete(key, db=self._tables[table])

    def scan(
        self, table: str, first: bytes = b"", stop: bytes | None = None
    ) -> Iterator[tuple[bytes, bytes]]:
        with self._txn.cursor(db=self._tables[table]) as cursor:
            if not (cursor.set_range(first) if first else cursor.first()):
                return
            for key, value in cursor:
                if stop is not None and key >= stop:
                    return
                yield key, value

    def before(self, table: str, key: bytes) -> tuple[bytes, bytes] | None:
        with self._txn.cursor(db=self._tables[table]) as cursor:
            if cursor.set_range(key):
                if cursor.key() == key or cursor.prev():
                    return cursor.item()
                return None
            return cursor.item() if cursor.last() else None

    def count(self, table: str) -> int:
        return int(self._txn.stat(db=self._tables[table])["entries"])

    def used_bytes(self) -> int:
        used = 0
        for table in self._tables.values():
            stat = self._txn.stat(db=table)
            pages = stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"]
            used += pages * stat["psize"]
        return used


class MemoryTables:
    """The same contract in dicts: for tests. Its transactions copy what they change."""

    def __init__(self, names: Iterable[str]) -> None:
        self._data: dict[str, dict[bytes, bytes]] = {name: {} for name in names}

    @contextmanager
    def begin(self, *, write: bool = False) -> Iterator[Transaction]:
        """See `Tables.begin`."""
        transaction = _MemoryTransaction(dict(self._data), write)
        yield transaction
        if write:
            self._data = transaction.data

    @contextmanager
    def rehearse(self) -> Iterator[Transaction]:
        """See `Tables.rehearse`."""
        yield _MemoryTransaction(dict(self._data), True)

    @property
    def room_bytes(self) -> int:
        """See `Tables.room_bytes`."""
        return sys.maxsize

    def rest(self) -> None:
        """See `Tables.rest`."""

    def close(self) -> None:
        """See `Tables.close`."""


class _MemoryTransaction:
    def __init__(self, data: dict[str, dict[bytes, bytes]], may_write: bool) -> None:
        self.data = data
        self._may_write = may_write
        self._own: set[str] = set()
        self._sorted: dict[str, list[bytes]] = {}

    def _writable(self, table: str) -> dict[bytes, bytes]:
        if not self._may_write:
            raise StoreError("this transaction only reads")
        if table not in self._own:
            self.data[table] = dict(self.data[table])
            self._own.add(table)
        return self.data[table]

    def _keys(self, table: str) -> list[bytes]:
        if table not in self._sorted:
            self._sorted[table] = sorted(self.data[table])
        return self._sorted[table]

    def get(self, table: str, key: bytes) -> bytes | None:
        return self.data[table].get(key)

    def put(self, table: str, key: bytes, value: bytes) -> None:
        if not 0 < len(key) <= KEY_BYTES_MAX:
            raise StoreError(f"a key of {len(key)} bytes")
        rows = self._writable(table)
        if key not in rows:
            insort(self._keys(table), key)
        rows[key] = bytes(value)

    def put_many(self, table: str, items: list[tuple[bytes, bytes]]) -> None:
        self._writable(table)
        for key, value in items:
            self.put(table, key, value)

    def delete(self, table: str, key: bytes) -> None:
        if self._writable(table).pop(key, None) is not None:
            self._sorted.pop(table, None)

    def scan(
        self, table: str, first: bytes = b"", stop: bytes | None = None
    ) -> Iterator[tuple[bytes, bytes]]:
        keys = self._keys(table)
        end = len(keys) if stop is None else bisect_left(keys, stop)
        for key in keys[bisect_left(keys, first) : end]:
            yield key, self.data[table][key]

    def before(self, table: str, key: bytes) -> tuple[bytes, bytes] | None:
        keys = self._keys(table)
        at = bisect_left(keys, key)
        if at < len(keys) and keys[at] == key:
            return key, self.data[table][key]
        return (keys[at - 1], self.data[table][keys[at - 1]]) if at else None

    def count(self, table: str) -> int:
        return len(self.data[table])

    def used_bytes(self) -> int:
        return sum(len(k) + len(v) for rows in self.data.values() for k, v in rows.items())
