"""Cold: what lies in a mesh's folder while no mesh runs on it, and in stores of results.

It is read as it is: nothing is written, no epoch begins, and it may lie on a read-only file system.
The records are not changed meanwhile, for whoever would own them waits (`folder.Share`). Of stores
of results the files are read, each of which is whole or is not what its ref says: a worker may
serve them at the same time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ..errors import StoreError
from ..protocol.outcome import Ref, stored_name
from . import content, folder, inspection, results
from .reading import ReadTables
from .records import TABLES, Records
from .seal import Seal


class ColdRecords:
    """The records in `home`, a router's folder, and nobody's until `close`.

    Raises:
        InUse: a router has them.
        StoreError: they are damaged, or cannot be read.
    """

    def __init__(self, home: Path) -> None:
        self._share = folder.Share(home)
        try:
            self.records = Records(_tables(home / "records.mdb"), b"", "", is_read=True)
        except BaseException:
            self._share.release()
            raise

    def close(self) -> None:
        """Let a router have them."""
        self.records.close()
        self._share.release()


def _tables(data: Path) -> ReadTables:
    """The tables of the records at `data`, looked through first if they are in doubt."""
    seal = Seal(data)
    doubt = seal.doubt()
    wrong = None
    if doubt is not None:
        wrong = "it was being changed" if seal.is_torn() else inspection.damage(data, "checking")
    if wrong is not None:
        raise StoreError(f"{data} is damaged ({doubt}): {wrong}. Restore it from a copy")
    return ReadTables(data, TABLES, inspected=doubt is not None)


class ColdStores:
    """The stores of results that are found in `places`: each a store's folder, or one with such in
    it. `of` says where each is, by its id."""

    def __init__(self, places: Iterable[Path]) -> None:
        self.of: dict[str, Path] = {}
        for root in (root for place in places for root in _roots(place)):
            try:
                self.of.setdefault((root / "id").read_text().strip(), root)
            except (OSError, ValueError):
                continue

    def find(self, ref: Ref) -> memoryview | None:
        """What is stored under a ref, mapped: by its holder, or as a copy by another."""
        holder = self.of.get(ref.holder)
        others = [root for root in self.of.values() if root != holder]
        for root in others if holder is None else [holder, *others]:
            file = root / "content" / stored_name(ref.task, ref.lease, ref.number)
            found = content.whole(file, ref.size, ref.crc)
            if found is not None:
                return found
        return None

    def told(self) -> list[dict[str, Any]]:
        """Of each store its `id`, `folder`, and how many `results` it has, of how many
        `stored_bytes`; None while a worker has it open."""
        return [{"id": id, "folder": str(root)} | _held(root) for id, root in self.of.items()]


def _roots(place: Path) -> Iterator[Path]:
    if (place / "id").is_file():
        yield place
    try:
        yield from sorted(below.parent for below in place.glob("*/id") if below.is_file())
    except OSError:  # another user's
        return


def _held(root: Path) -> dict[str, Any]:
    data = root / "index.mdb"
    try:
        share = folder.Share(root)
        try:
            if Seal(data).doubt() is not None:
                raise StoreError(f"{data} is in doubt")
            tables = ReadTables(data, results.TABLES)
            with tables.begin() as txn:
                size = int.from_bytes(txn.get("meta", b"bytes") or b"", "little")
                held = {"results": txn.count("result"), "stored_bytes": size}
            tables.close()
        finally:
            share.release()
    except (StoreError, OSError):
        return {"results": None, "stored_bytes": None}
    return held
