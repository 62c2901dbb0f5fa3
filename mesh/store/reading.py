"""Reading: the tables of a data file that nobody changes, for who only looks.

Nothing is written: no lock file, no table, no seal; so it also does on a read-only file system, and
for a file of an older layout: a table that is not there is empty. That nobody changes the file
meanwhile is up to the caller: LMDB is told to lock nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import lmdb

from ..errors import StoreError
from .tables import MAP_BYTES, MAP_BYTES_SMALL, LmdbTransaction, Transaction, refuse_cut_short


class ReadTables:
    """Tables in the LMDB environment at `path`, to be read alone: see `Tables`.

    Args:
        path: the data file.
        names: all tables.
        inspected: the file may end early, see `extent`: that does no harm, or is being found out.

    Raises:
        StoreError: the file is no LMDB environment of this version, cut short, or not readable.
    """

    def __init__(self, path: Path, names: Iterable[str], *, inspected: bool = False) -> None:
        names = list(names)
        self._path = path
        try:
            self._env = _open(path, len(names))
        except lmdb.Error as error:
            raise StoreError(f"{path} cannot be read as a store: {error}") from error
        self._tables = {}
        try:
            refuse_cut_short(self._env, path, inspected=inspected)
            for name in names:
                try:
                    self._tables[name] = self._env.open_db(name.encode(), create=False)
                except lmdb.NotFoundError:
                    continue
        except lmdb.Error as error:
            self._env.close()
            raise StoreError(f"{path} is damaged: {error}") from error
        except StoreError:
            self._env.close()
            raise

    @contextmanager
    def begin(self, *, write: bool = False) -> Iterator[Transaction]:
        """See `Tables.begin`; it only reads.

        Raises:
            StoreError: a page is damaged.
        """
        assert not write, "these tables are only read"
        try:
            with self._env.begin() as transaction:
                yield _Partial(transaction, self._tables)
        except lmdb.Error as error:
            raise StoreError(f"{self._path} cannot be read: {error}") from error

    def rehearse(self) -> AbstractContextManager[Transaction]:
        """See `Tables.rehearse`: not here, for that would write."""
        raise StoreError(f"{self._path} is only read")

    @property
    def room_bytes(self) -> int:
        """See `Tables.room_bytes`."""
        return 0

    def rest(self) -> None:
        """See `Tables.rest`: there is nothing to have on the disk."""

    def close(self) -> None:
        """See `Tables.close`."""
        self._env.close()


class _Partial(LmdbTransaction):
    """One for which a table that is not there is empty."""

    def get(self, table: str, key: bytes) -> bytes | None:
        return super().get(table, key) if table in self._tables else None

    def scan(
        self, table: str, first: bytes = b"", stop: bytes | None = None
    ) -> Iterator[tuple[bytes, bytes]]:
        return super().scan(table, first, stop) if table in self._tables else iter(())

    def before(self, table: str, key: bytes) -> tuple[bytes, bytes] | None:
        return super().before(table, key) if table in self._tables else None

    def count(self, table: str) -> int:
        return super().count(table) if table in self._tables else 0


def _open(path: Path, tables: int) -> lmdb.Environment:
    for size in (MAP_BYTES, MAP_BYTES_SMALL):
        try:
            return lmdb.open(
                str(path),
                subdir=False,
                readonly=True,
                lock=False,
                create=False,
                map_size=size,
                max_dbs=tables,
            )
        except lmdb.MemoryError:
            if size == MAP_BYTES_SMALL:
                raise
    raise AssertionError("unreachable")
