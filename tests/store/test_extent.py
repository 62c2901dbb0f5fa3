"""A data file that is shorter than it says, though nobody has touched it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import keeper
import pytest

from mesh.errors import StoreError
from mesh.store import extent
from mesh.store.durability import Durability
from mesh.store.opening import open_results
from mesh.store.records import open_records
from mesh.store.tables import LmdbTables

LARGE = bytes(64 * 1024)


def end_early(tables: LmdbTables) -> None:
    """Changes after which LMDB leaves free pages unwritten behind all others: not the first of
    them, for its other pages come behind."""
    for size in range(1, 4):
        with tables.begin(write=True) as txn:
            txn.put("meta", b"large", LARGE * size)
            txn.delete("meta", b"large")


@pytest.fixture
def unlengthened(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """As if every process were killed right after its commits; until it is called."""
    with monkeypatch.context() as patch:
        patch.setattr(extent, "lengthen", lambda data, size: None)
        yield patch.undo


def test_a_file_is_as_long_as_it_says_after_each_commit(tmp_path: Path):
    path = tmp_path / "s.mdb"
    tables = LmdbTables(path, ["meta"], durability="process")
    end_early(tables)
    assert not extent.is_short(path)
    blocks = path.stat().st_blocks
    tables.close()
    assert blocks * 512 < path.stat().st_size, "what is new takes no room"


def test_else_it_would_not_be(tmp_path: Path, unlengthened: Callable[[], None]):
    path = tmp_path / "s.mdb"
    tables = LmdbTables(path, ["meta"], durability="process")
    end_early(tables)
    tables.close()
    assert extent.is_short(path)


@pytest.mark.parametrize("durability", ["disk", "process"])
def test_records_whose_owner_was_killed_before_are_inspected_and_used(
    tmp_path: Path, durability: Durability, unlengthened: Callable[[], None]
):
    data = tmp_path / "records.mdb"
    records = open_records(tmp_path, keeper.ENTROPY, keeper.MESH, durability)
    end_early(records.tables)
    os.replace(data, tmp_path / "left.mdb")  # its owner writes no more into this one
    records.close()
    os.replace(tmp_path / "left.mdb", data)
    assert extent.is_short(data)
    unlengthened()

    records = open_records(tmp_path, keeper.ENTROPY, "another", durability)
    assert records.restore().mesh == keeper.MESH, "they are the same"
    end_early(records.tables)
    assert not extent.is_short(data)
    records.close()


@pytest.mark.parametrize("temporary", [False, True])
def test_so_are_results(tmp_path: Path, temporary: bool, unlengthened: Callable[[], None]):
    said: list[str] = []
    results, lock = open_results(tmp_path, "wwwwwwww", "disk", said.append, temporary=temporary)
    data, left = tmp_path / "index.mdb", tmp_path / "left.mdb"
    end_early(results._tables)  # type: ignore[arg-type]
    data.replace(left)
    results.close()
    lock.release()
    left.replace(data)
    assert extent.is_short(data)
    unlengthened()

    results, lock = open_results(tmp_path, "aaaaaaaa", "disk", said.append, temporary=temporary)
    assert results.id == "wwwwwwww", "they are the same"
    assert len(said) == (0 if temporary else 2), "inspected, and gone through"
    assert not any("damaged" in line for line in said)
    results.close()
    lock.release()


def test_what_was_cut_short_is_found_out(tmp_path: Path):
    records = open_records(tmp_path, keeper.ENTROPY, keeper.MESH, "disk")
    for turn, _ in zip(keeper.writes(1), range(20)):
        records.apply(turn)
    data = tmp_path / "records.mdb"
    whole = data.read_bytes()
    os.replace(data, tmp_path / "left.mdb")
    records.close()
    data.write_bytes(whole[: len(whole) // 2 // 4096 * 4096])
    with pytest.raises(StoreError, match="it ends before its last page"):
        open_records(tmp_path, keeper.ENTROPY, keeper.MESH, "disk")
