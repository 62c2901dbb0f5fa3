"""A worker's results: what it made and keeps.

The content of a result is a file, as its slot wrote it; the index in LMDB says whose it is, how
big and with which checksum. A result exists when its index entry is committed; the content is not
synced for itself, so that after a power cut an entry may stand over a file that is short or
wrong: size and checksum tell, and the result is reported lost rather than served wrong. Of what
clients have put nobody could make another: it is as certain as its entry, and so is synced before
at level `disk`.

A file is in `content` after its entry is committed, and out of it before its entry goes: whenever
the worker is killed, what is there without an entry is in `incoming` alone, where the next life
looks. So a store opens as fast with a million files as with none.

    result    task id + lease u64 + index u16 → size u64, crc32 u32
    untold    task id + lease → mesh, kind, outcome: of what is in no router's records yet
    copy      as result, for those that another store made → nothing
    meta      the store's id and schema, and how many bytes there are

A store in doubt (`Seal.doubt`) is gone through when it is opened: an index that is damaged is moved
aside, entries whose file is not theirs are dropped, and files without an entry get one. That also
does for an index of level `process` in which commits are mixed, and for one that is gone. The
store's id is also in the file `id`, for what refers to it.
"""

from __future__ import annotations

import os
import struct
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ..errors import DISK_FULL, ResultLost, StoreError
from ..protocol.checksum import crc32
from ..protocol.outcome import LOG, RESULT, Ref, parse_key, stored_key, stored_name
from ..task import show, unkey
from . import deposits
from .durability import Durability
from .oldest import oldest
from .seal import Seal
from .tables import LmdbTables, NoRoom, Tables, Transaction
from .writes import Copy, Gone, Own, Put, Told, Untold, Write

SCHEMA = 2
TABLES = ("meta", "result", "untold", "copy")

#: Of a store that was open when the machine went down, the content of files that are so much older
#: than the newest is not read again: the system writes back what is older than half a minute.
SETTLED_S = 600.0

_ENTRY = struct.Struct("<QI")
_LEASE = struct.Struct(">16sQ")
_UNTOLD = struct.Struct("<8sB")
_BYTES = struct.Struct("<Q")
_READ_BYTES = 2**20

ByType = defaultdict[type, list[Any]]


class Results:
    """The results in `root`.

    Args:
        root: a folder that is prepared and owned.
        new_id: the id of the store if it is new: eight characters.
        durability: what an entry of the index survives when `keep` returns.
        seal: of the index, unless the store is for this boot alone.
        inspected: the index has been; see `LmdbTables`.

    Attributes:
        id: of the store.
        held: how many results and logs are there, and of how many bytes.
        missed: what the index had, and was not there or not whole when it was gone through: task
            and lease.

    Raises:
        StoreError: the store cannot be opened, another version wrote it, or the disk is full.
    """

    def __init__(
        self,
        root: Path,
        new_id: str,
        durability: Durability,
        seal: Seal | None = None,
        *,
        inspected: bool = False,
    ) -> None:
        self.content = root / "content"
        self.incoming = root / "incoming"
        self._is_synced = durability == "disk"
        self.missed: list[tuple[bytes, int]] = []
        self.held = (0, 0)
        for made in (self.content, self.incoming):
            made.mkdir(mode=0o700, exist_ok=True)
        self._tables: Tables = LmdbTables(
            root / "index.mdb", TABLES, durability=durability, seal=seal, inspected=inspected
        )
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
            self._measure(txn)
        try:
            self._sort_incoming()
        except BaseException:
            self._tables.close()
            raise

    def _sort_incoming(self) -> None:
        """What the last life was about: content of which there is an entry goes to its place, and
        what a slot was writing or was to read goes; and what clients have left that are gone."""
        places = list(deposits.folders(self.incoming))
        waiting = [left for left in self.incoming.iterdir() if left not in places]
        with self._or_no_room(), self._tables.begin() as txn:
            for left in waiting + [left for place in places for left in place.iterdir()]:
                key = _key_of(left)
                if key is not None and txn.get("result", key) is not None:
                    self._move_in(str(left), key)
                elif left in waiting:
                    left.unlink()
        deposits.sweep(self.incoming)

    def apply(self, writes: list[Write]) -> None:
        """Take in what waits in `incoming`, and let go of what is not needed. Committed on return.
        A copy that is not what its ref says is removed instead.

        Raises:
            NoRoom: the disk is full; to be tried again.
        """
        of: ByType = defaultdict(list)
        for each in writes:
            of[type(each)].append(each)
        with self._or_no_room():  # what makes room comes first: the rest may be waiting for it
            self._unlink(of[Gone])
            try:
                self._take_in(of)
            except (NoRoom, OSError):
                self._record(defaultdict(list, {Gone: of[Gone]}), {}, {})
                raise

    @contextmanager
    def _or_no_room(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno not in DISK_FULL:
                raise
            raise NoRoom(f"no room in {self.content}: {error.strerror}") from error

    def _take_in(self, of: ByType) -> None:
        """Record writes, and then move files to their places."""
        rows: dict[bytes, Ref] = {}
        files: dict[bytes, str] = {}
        for ref in (each.ref for each in of[Put]):  # if it is here: who wants to know asks `find`
            file = deposits.path_of(self.incoming, ref.task, ref.lease, ref.number)
            if _size(file) == ref.size:
                rows[ref.key], files[ref.key] = ref, file
        if self._is_synced:
            _sync_all([*files.values(), *self._put_here(of[Own])])
        copies = {ref.key: ref for ref in self._whole(of[Copy])}
        rows |= copies
        rows |= {ref.key: ref for ref in of[Ref]}
        self._record(of, rows, copies)
        for key in rows:
            self._move_in(files.get(key) or f"{self.incoming}/{key.hex()}", key)

    def _record(self, of: ByType, rows: dict[bytes, Ref], copies: Iterable[bytes]) -> None:
        """One commit: there are `rows`, some of which are `copies`, and all else that `of` says."""
        if not rows and not any(of[each] for each in (Gone, Own, Untold, Told)):
            return
        gone = _keys_of(of[Gone])
        owned = [each.ref.key for each in of[Own]]
        with self._tables.begin(write=True) as txn:
            grown = -sum(_stored(txn, key) for key in gone)
            for key in gone:
                txn.delete("result", key)
                txn.delete("copy", key)
            for each in of[Gone]:
                txn.delete("untold", _LEASE.pack(*each))
            grown += sum(ref.size - _stored(txn, key) for key, ref in rows.items())
            entries = [(key, _ENTRY.pack(ref.size, ref.crc)) for key, ref in rows.items()]
            txn.put_many("result", entries)
            txn.put_many("copy", [(key, b"") for key in copies])
            for key in owned:
                txn.delete("copy", key)
            txn.put_many("untold", list(map(_untold, of[Untold])))
            for each in of[Told]:
                txn.delete("untold", _LEASE.pack(*each))
            size = self.held[1] + grown
            txn.put("meta", b"bytes", _BYTES.pack(size))
            held = txn.count("result"), size
        self.held = held  # not before it is committed: what finds no room is tried again

    def _unlink(self, gone: list[Gone]) -> None:
        for key in _keys_of(gone):
            with suppress(FileNotFoundError):
                os.unlink(self._path(key))

    def _put_here(self, owned: list[Own]) -> list[str]:
        """Of copies that are none any more those of which nobody could make another: the files of
        what clients have put."""
        puts = [each.ref.key for each in owned if each.ref.lease == unkey(each.ref.task)[1]]
        places = [(self._path(key), f"{self.incoming}/{key.hex()}") for key in puts]
        return [file for each in places for file in each if os.path.exists(file)]

    def _whole(self, copies: list[Copy]) -> list[Ref]:
        """Those that are what their refs say; the others are removed. What is not in `incoming` any
        more was moved when this was tried before."""
        whole = []
        for ref, summed, crc in copies:
            file = self.incoming / ref.key.hex()
            if not file.exists() or _checksum(file, summed, crc) == ref.crc:
                whole.append(ref)
            else:
                file.unlink()
        return whole

    def listed(self, behind: bytes, most: int) -> tuple[list[tuple[bytes, int]], bytes | None]:
        """What is here and no copy, from behind a place on: task and lease of each, and the place
        behind which the next ones are, None if there are no more."""
        found: dict[tuple[bytes, int], None] = {}
        place = behind
        with self._tables.begin() as txn:
            for name, _ in txn.scan("result", behind + b"\0" if behind else b""):
                if len(found) == most:
                    return list(found), place
                place = name
                task, lease, _ = parse_key(name)
                if txn.get("copy", name) is None:
                    found[task, lease] = None
        return list(found), None

    def look_up(self, what: str, about: Any) -> Any:
        """Answer a question of the worker's, in the thread that owns the index."""
        assert what == "oldest", what
        with self._tables.begin() as txn:
            return oldest(txn, *about)

    def _move_in(self, source: str, key: bytes) -> None:
        """The file of a result goes to its place, unless it is there: without room for it this is
        tried again."""
        file = self._path(key)
        try:
            os.rename(source, file)
        except FileNotFoundError:  # it may be the first there
            with suppress(FileExistsError):
                os.mkdir(os.path.dirname(file), mode=0o700)
            with suppress(FileNotFoundError):
                os.rename(source, file)

    def untold(self, mesh: str) -> list[Untold]:
        """What an earlier life has stored, and not brought to the router of `mesh`."""
        found: list[Untold] = []
        with self._tables.begin() as txn:
            for name, raw in txn.scan("untold"):
                task, lease = _LEASE.unpack(name)
                whose, kind = _UNTOLD.unpack_from(raw)
                if whose.decode() == mesh:
                    found.append(Untold(task, lease, mesh, kind, raw[_UNTOLD.size :]))
        return found

    def _measure(self, txn: Transaction) -> None:
        """See how much there is: an index that does not say so is read once."""
        said = txn.get("meta", b"bytes")
        if said is None:
            size = sum(_ENTRY.unpack(raw)[0] for _, raw in txn.scan("result"))
            txn.put("meta", b"bytes", _BYTES.pack(size))
        else:
            size = _BYTES.unpack(said)[0]
        self.held = (txn.count("result"), size)

    def find(self, task: bytes, lease: int, number: int) -> tuple[str, int, int]:
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
        file = self._path(key)
        actual = _size(file)
        if actual != size:
            there = f"has {actual} bytes of {size}" if actual >= 0 else "is gone"
            raise ResultLost(
                f"the result of {show(*unkey(task))} is lost: {file} {there}. Submit the task again"
            )
        return file, size, crc

    def discard(self, ref: Ref) -> bool:
        """The file of a result is not what it should be: it is none any more. Whether another store
        on this host has the same file under a name of its own."""
        file = self._path(ref.key)
        try:
            is_shared = os.stat(file).st_nlink > 1
            os.unlink(file)
        except FileNotFoundError:
            return False
        return is_shared

    def go_through(self) -> tuple[int, int, int]:
        """Compare an index that may have lost something with the files: how many results are whole,
        how many were not and are out of it, and how many files were in no entry and are now.

        Whether such a file is what it was knows who has its ref: size and checksum are there too.
        """
        with self._tables.begin() as txn:
            rows = {key: _ENTRY.unpack(raw) for key, raw in txn.scan("result")}
        files = dict(self._files())
        newest = max((file.stat().st_mtime for file in files.values()), default=0.0)
        lost = [
            key
            for key, (size, crc) in rows.items()
            if key not in files or not _is_whole(files[key], size, crc, newest - SETTLED_S)
        ]
        found = sorted(files.keys() - rows.keys())
        with self._tables.begin(write=True) as txn:
            for key in lost:
                task, lease, number = parse_key(key)
                if number == RESULT and txn.get("copy", key) is None:
                    self.missed.append((task, lease))
                txn.delete("result", key)
                txn.delete("copy", key)
            for key in found:
                txn.put("result", key, _ENTRY.pack(_size(files[key]), _checksum(files[key])))
            txn.delete("meta", b"bytes")
            self._measure(txn)
        return len(rows) - len(lost), len(lost), len(found)

    def is_unindexed(self) -> bool:
        """Whether there are files of results, and nothing in the index."""
        with self._tables.begin() as txn:
            return not txn.count("result") and any(True for _ in self._files())

    def _files(self) -> Iterator[tuple[bytes, Path]]:
        """The files of results, with their keys."""
        for file in self.content.glob("??/*"):
            key = _key_of(file)
            if key is not None and self._path(key) == str(file):
                yield key, file

    def _path(self, key: bytes) -> str:
        """Where the file of a result belongs: as a string, for a `Path` takes as long as the rest
        of what is done to it."""
        return f"{self.content}/{stored_name(*parse_key(key))}"

    def close(self) -> None:
        """Let go of all resources."""
        self._tables.close()


def _key_of(file: Path) -> bytes | None:
    """The key that a file of a result is named after, or None: it is none."""
    try:
        key = bytes.fromhex(file.name)
        parse_key(key)
    except ValueError:
        return None
    return key


def _keys_of(gone: list[Gone]) -> list[bytes]:
    """What these leases may have stored."""
    once = dict.fromkeys(gone)  # who did not hear of it says it again
    return [stored_key(task, lease, number) for task, lease in once for number in (RESULT, LOG)]


def _untold(each: Untold) -> tuple[bytes, bytes]:
    """The row of what is to be told."""
    name = _LEASE.pack(each.task, each.lease)
    return name, _UNTOLD.pack(each.mesh.encode(), each.kind) + each.body


def _stored(txn: Transaction, key: bytes) -> int:
    """How many bytes an entry stands for; 0 without one."""
    raw = txn.get("result", key)
    return 0 if raw is None else int(_ENTRY.unpack(raw)[0])


def _size(file: Path | str) -> int:
    """How many bytes a file has; -1 if it is not there."""
    try:
        return os.stat(file).st_size
    except FileNotFoundError:
        return -1


def _is_whole(file: Path, size: int, crc: int, settled: float) -> bool:
    """Whether a file is what its entry says; one that was changed before `settled` is, if it is as
    long."""
    if _size(file) != size:
        return False
    return file.stat().st_mtime < settled or _checksum(file) == crc


def _sync_all(files: list[str]) -> None:
    """What is in these, and that they are there, survives a power cut from now on."""
    for path in (*files, *dict.fromkeys(map(os.path.dirname, files))):
        _sync(path)


def _sync(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _checksum(file: Path, summed: int = 0, crc: int = 0) -> int:
    """Of a file whose first `summed` bytes have the checksum `crc`."""
    with open(file, "rb") as content:
        content.seek(summed)
        while part := content.read(_READ_BYTES):
            crc = crc32(part, crc)
    return crc


def inspect(data: Path) -> None:
    """Read all of the index at `data`.

    Raises:
        Exception: of any kind: something cannot be read. That of another version can.
    """
    tables = LmdbTables(data, TABLES, durability="disk", inspected=True)
    with tables.begin() as txn:
        schema = txn.get("meta", b"schema")
        if schema is None and any(map(txn.count, TABLES)):
            raise StoreError("there are rows and no schema")
        if schema == bytes([SCHEMA]):
            rows = [_ENTRY.unpack(raw) for _, raw in txn.scan("result")]
            if len(rows) != txn.count("result"):
                raise StoreError(f"the index has {len(rows)} rows of {txn.count('result')}")
    tables.probe()
    tables.close()
