"""Tables that are only read."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from mesh.errors import StoreError
from mesh.store.reading import ReadTables
from mesh.store.records import TABLES, Records
from mesh.store.tables import LmdbTables

FIXTURES = Path(__file__).parent / "fixtures"


def test_a_table_that_is_not_there_is_empty_and_nothing_is_made(tmp_path: Path):
    made = LmdbTables(tmp_path / "a.mdb", ["one"], durability="process")
    with made.begin(write=True) as txn:
        txn.put("one", b"k", b"v")
    made.close()
    (tmp_path / "a.mdb-lock").unlink()

    tables = ReadTables(tmp_path / "a.mdb", ["one", "two"])

    with tables.begin() as txn:
        assert (txn.get("one", b"k"), list(txn.scan("one"))) == (b"v", [(b"k", b"v")])
        assert (txn.count("one"), txn.before("one", b"z")) == (1, (b"k", b"v"))
        assert (txn.get("two", b"k"), list(txn.scan("two"))) == (None, [])
        assert (txn.count("two"), txn.before("two", b"z")) == (0, None)
    with pytest.raises(StoreError, match="only read"):
        tables.rehearse()
    tables.close()
    assert [path.name for path in tmp_path.iterdir()] == ["a.mdb"]


def test_records_of_an_older_schema_are_read_as_they_are(tmp_path: Path):
    data = tmp_path / "schema2.mdb"
    shutil.copy(FIXTURES / "schema2.mdb", data)
    before = data.read_bytes()

    records = Records(ReadTables(data, TABLES), b"", "", is_read=True)

    assert (records.read().mesh, records.read().epoch) == ("meshmesh", 1)
    assert records.look_up("ended", ([3, 4, 5, 6], 10, b""))
    records.close()
    assert data.read_bytes() == before


@pytest.mark.parametrize("content", [b"", b"no store at all" * 1000])
def test_what_is_no_store_is_refused(tmp_path: Path, content: bytes):
    (tmp_path / "a.mdb").write_bytes(content)
    with pytest.raises(StoreError):
        Records(ReadTables(tmp_path / "a.mdb", TABLES), b"", "", is_read=True)
