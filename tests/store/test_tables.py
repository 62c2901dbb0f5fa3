"""Ordered tables of bytes: one contract over LMDB and over memory, and what LMDB alone can meet."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path

import lmdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.errors import StoreError
from mesh.store.tables import KEY_BYTES_MAX, LmdbTables, MemoryTables, NoRoom, Tables

NAMES = ("one", "two")


@pytest.fixture(params=["lmdb", "memory"])
def tables(request: pytest.FixtureRequest, tmp_path: Path) -> Tables:
    """Empty tables of both makers."""
    made = (
        LmdbTables(tmp_path / "tables.mdb", NAMES, durability="process")
        if request.param == "lmdb"
        else MemoryTables(NAMES)
    )
    request.addfinalizer(made.close)
    return made


def fill(tables: Tables, *keys: bytes) -> None:
    with tables.begin(write=True) as txn:
        txn.put_many("one", [(key, key.upper()) for key in keys])


def keys_of(tables: Tables, table: str = "one") -> list[bytes]:
    with tables.begin() as txn:
        return [key for key, _ in txn.scan(table)]


# -- the contract ----------------------------------------------------------------------------


def test_what_is_put_is_there_and_elsewhere_is_nothing(tables: Tables):
    with tables.begin(write=True) as txn:
        txn.put("one", b"k", b"v")

    with tables.begin() as txn:
        assert txn.get("one", b"k") == b"v"
        assert txn.get("one", b"l") is None
        assert txn.get("two", b"k") is None


def test_what_is_rehearsed_is_seen_there_alone(tables: Tables):
    fill(tables, b"a")

    with tables.rehearse() as txn:
        txn.put("one", b"b", b"B")
        txn.delete("one", b"a")
        assert [key for key, _ in txn.scan("one")] == [b"b"]
        assert keys_of(tables) == [b"a"]

    assert keys_of(tables) == [b"a"]
    fill(tables, b"c")
    assert keys_of(tables) == [b"a", b"c"]


def test_a_later_put_replaces_an_earlier_one(tables: Tables):
    with tables.begin(write=True) as txn:
        txn.put("one", b"k", b"old")
        txn.put("one", b"k", b"new")
        txn.put_many("one", [(b"k", b"newer"), (b"k", b"newest")])

    with tables.begin() as txn:
        assert txn.get("one", b"k") == b"newest"
        assert txn.count("one") == 1


def test_an_empty_value_is_a_value(tables: Tables):
    with tables.begin(write=True) as txn:
        txn.put("one", b"k", b"")

    with tables.begin() as txn:
        assert txn.get("one", b"k") == b""


def test_a_transaction_sees_what_it_wrote_itself(tables: Tables):
    fill(tables, b"a", b"c")

    with tables.begin(write=True) as txn:
        txn.put("one", b"b", b"B")
        txn.delete("one", b"a")

        assert txn.get("one", b"b") == b"B"
        assert [key for key, _ in txn.scan("one")] == [b"b", b"c"]
        assert txn.before("one", b"bb") == (b"b", b"B")
        assert txn.count("one") == 2


def test_nobody_sees_a_transaction_before_its_end(tables: Tables):
    seen: list[list[bytes]] = []

    with tables.begin(write=True) as txn:
        txn.put("one", b"k", b"v")
        reader = threading.Thread(target=lambda: seen.append(keys_of(tables)))
        reader.start()
        reader.join()

    assert seen == [[]]
    assert keys_of(tables) == [b"k"]


def test_a_reader_keeps_the_view_it_began_with(tables: Tables):
    fill(tables, b"a")

    with tables.begin() as txn:
        writer = threading.Thread(target=fill, args=(tables, b"b"))
        writer.start()
        writer.join()

        assert [key for key, _ in txn.scan("one")] == [b"a"]
    assert keys_of(tables) == [b"a", b"b"]


def test_an_exception_undoes_the_whole_transaction(tables: Tables):
    fill(tables, b"a")

    with pytest.raises(ZeroDivisionError), tables.begin(write=True) as txn:
        txn.put("one", b"b", b"B")
        txn.put("two", b"c", b"C")
        txn.delete("one", b"a")
        raise ZeroDivisionError

    assert keys_of(tables) == [b"a"]
    assert keys_of(tables, "two") == []


def test_a_reading_transaction_cannot_write(tables: Tables):
    for write in (
        lambda txn: txn.put("one", b"k", b"v"),
        lambda txn: txn.put_many("one", [(b"k", b"v")]),
        lambda txn: txn.delete("one", b"k"),
    ):
        with pytest.raises(StoreError), tables.begin() as txn:
            write(txn)

    assert keys_of(tables) == []


def test_deleting_what_is_not_there_does_nothing(tables: Tables):
    fill(tables, b"a")

    with tables.begin(write=True) as txn:
        txn.delete("one", b"b")

    assert keys_of(tables) == [b"a"]


@pytest.mark.parametrize(
    ("first", "stop", "expected"),
    [
        (b"", None, b"a b ba c"),
        (b"b", None, b"b ba c"),
        (b"b", b"c", b"b ba"),
        (b"b", b"b", b""),
        (b"c", b"b", b""),
        (b"", b"a", b""),
        (b"aa", b"bz", b"b ba"),
        (b"d", None, b""),
        (b"c", b"\xff" * 20, b"c"),
    ],
)
def test_a_scan_goes_from_first_up_to_stop(
    tables: Tables, first: bytes, stop: bytes | None, expected: bytes
):
    fill(tables, b"c", b"a", b"ba", b"b")

    with tables.begin() as txn:
        got = list(txn.scan("one", first, stop))

    assert got == [(key, key.upper()) for key in expected.split()]


@pytest.mark.parametrize(
    ("key", "expected"),
    [(b"b", b"b"), (b"bb", b"b"), (b"a", None), (b"z", b"d"), (b"d", b"d"), (b"c", b"b")],
)
def test_before_is_the_last_at_or_below(tables: Tables, key: bytes, expected: bytes | None):
    fill(tables, b"b", b"d")

    with tables.begin() as txn:
        found = txn.before("one", key)

    assert found == (None if expected is None else (expected, expected.upper()))


def test_empty_tables_have_nothing(tables: Tables):
    with tables.begin() as txn:
        assert list(txn.scan("one")) == []
        assert list(txn.scan("one", b"a", b"b")) == []
        assert txn.before("one", b"z") is None
        assert txn.count("one") == 0


def test_many_are_put_in_any_order(tables: Tables):
    keys = [b"%03d" % n for n in range(500)]
    shuffled = random.Random(1).sample(keys, len(keys))

    fill(tables, *shuffled)

    assert keys_of(tables) == keys
    with tables.begin() as txn:
        assert txn.count("one") == 500


def test_big_values_come_back(tables: Tables):
    big = random.Random(1).randbytes(5_000_000)

    with tables.begin(write=True) as txn:
        txn.put("one", b"big", big)
        txn.put_many("one", [(b"bigger", big + big)])

    with tables.begin() as txn:
        assert txn.get("one", b"big") == big
        assert txn.get("one", b"bigger") == big + big


def test_keys_have_a_limit_and_a_value_under_one_that_is_too_long_is_not_put(tables: Tables):
    with tables.begin(write=True) as txn:
        txn.put("one", bytes(KEY_BYTES_MAX), b"v")

    for key in (b"", bytes(2 * KEY_BYTES_MAX)):
        with pytest.raises(StoreError), tables.begin(write=True) as txn:
            txn.put("one", key, b"v")

    assert keys_of(tables) == [bytes(KEY_BYTES_MAX)]


keys = st.binary(min_size=1, max_size=3)
moves = st.lists(
    st.one_of(
        st.tuples(st.just("put"), keys, st.binary(max_size=4)),
        st.tuples(st.just("delete"), keys),
        st.tuples(st.just("put_many"), st.lists(st.tuples(keys, st.binary(max_size=4)))),
        st.tuples(st.just("end")),
        st.tuples(st.just("fail")),
    ),
    max_size=30,
)


@given(moves, keys, keys)
def test_memory_does_as_a_plain_dict_does(moves: list[tuple], first: bytes, stop: bytes):
    agree_with_a_dict(MemoryTables(NAMES), moves, first, stop)


def test_lmdb_does_as_a_plain_dict_does(tmp_path: Path):
    @given(moves, keys, keys)
    def check(moves: list[tuple], first: bytes, stop: bytes) -> None:
        with tables.begin(write=True) as txn:
            for key, _ in list(txn.scan("one")):
                txn.delete("one", key)
        agree_with_a_dict(tables, moves, first, stop)

    tables = LmdbTables(tmp_path / "tables.mdb", NAMES, durability="process")
    check()
    tables.close()


def agree_with_a_dict(tables: Tables, moves: list[tuple], first: bytes, stop: bytes) -> None:
    rows: dict[bytes, bytes] = {}
    for ended in transactions(moves):
        wanted = dict(rows)
        try:
            with tables.begin(write=True) as txn:
                for what, *about in ended:
                    if what == "fail":
                        raise InterruptedError
                    getattr(txn, what)("one", *about)
                    if what == "put":
                        wanted[about[0]] = about[1]
                    elif what == "delete":
                        wanted.pop(about[0], None)
                    else:
                        wanted.update(about[0])
            rows = wanted
        except InterruptedError:
            pass
    with tables.begin() as txn:
        assert list(txn.scan("one")) == sorted(rows.items())
        between = [(key, value) for key, value in sorted(rows.items()) if first <= key < stop]
        assert list(txn.scan("one", first, stop)) == between
        below = max((key for key in rows if key <= first), default=None)
        assert txn.before("one", first) == (None if below is None else (below, rows[below]))
        assert txn.count("one") == len(rows)


def transactions(moves: list[tuple]) -> list[list[tuple]]:
    found: list[list[tuple]] = [[]]
    for move in moves:
        if move[0] == "end":
            found.append([])
        else:
            found[-1].append(move)
    return found


# -- what LMDB alone can meet ----------------------------------------------------------------


def stored(path: Path, rows: int = 2000) -> Path:
    """A closed store with something in it."""
    tables = LmdbTables(path, NAMES, durability="process")
    with tables.begin(write=True) as txn:
        txn.put_many("one", [(b"%06d" % n, bytes(100)) for n in range(rows)])
    tables.close()
    return path


def opened(path: Path) -> tuple[int, str]:
    """Open and read a store as a process of its own, which it may cost its life."""
    script = """
        import sys
        from pathlib import Path
        from mesh.errors import StoreError
        from mesh.store.tables import LmdbTables
        try:
            tables = LmdbTables(Path(sys.argv[1]), ("one", "two"), durability="process")
            with tables.begin() as txn:
                print(sum(1 for _ in txn.scan("one")))
        except StoreError as error:
            print(f"StoreError: {error}")
    """
    got = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(path)], capture_output=True, text=True
    )
    return got.returncode, got.stdout.strip() or got.stderr.strip()


def test_what_was_written_is_there_for_another_process(tmp_path: Path):
    path = stored(tmp_path / "s.mdb")

    assert opened(path) == (0, "2000")


def test_its_files_are_their_owners_alone(tmp_path: Path):
    stored(tmp_path / "s.mdb")

    assert {file.stat().st_mode & 0o777 for file in tmp_path.iterdir()} == {0o600}


@pytest.mark.parametrize(
    "damage",
    {
        "garbage": lambda raw: random.Random(1).randbytes(len(raw)),
        "text": lambda raw: b"name,value\n" * 5000,
        "zeros": lambda raw: bytes(len(raw)),
        "one byte less": lambda raw: raw[:-1],
        "one page less": lambda raw: raw[:-4096],
        "half": lambda raw: raw[: len(raw) // 2],
        "two pages": lambda raw: raw[:8192],
        "one page": lambda raw: raw[:4096],
        "a few bytes": lambda raw: raw[:100],
        "one byte": lambda raw: raw[:1],
        "heads of garbage": lambda raw: b"\xff" * 8192 + raw[8192:],
    }.items(),
    ids=lambda item: item[0],
)
def test_a_damaged_store_is_refused_and_harms_nobody(
    tmp_path: Path, damage: tuple[str, Callable[[bytes], bytes]]
):
    path = stored(tmp_path / "s.mdb")
    path.write_bytes(damage[1](path.read_bytes()))
    before = path.read_bytes()

    code, told = opened(path)

    assert code == 0, told
    assert told.startswith(f"StoreError: {path} ")
    assert "Move it away" in told or "move it away" in told
    assert path.read_bytes() == before, "it is left as it was found"


def test_what_lmdb_finds_wrong_later_is_a_store_error_and_undoes_the_transaction(tmp_path: Path):
    tables = LmdbTables(tmp_path / "s.mdb", NAMES, durability="process")

    wrong = ((lmdb.CorruptedError, StoreError), (lmdb.DiskError, StoreError))
    for error, kind in (*wrong, (lmdb.MapFullError, NoRoom)):
        with (
            pytest.raises(kind, match=r"cannot be used|no room in") as caught,
            tables.begin(write=True) as txn,
        ):
            txn.put("one", b"k", b"v")
            raise error("found by LMDB")
        assert type(caught.value) is kind

    assert keys_of(tables) == []
    tables.close()


def test_a_map_that_is_full_is_a_store_error_and_the_store_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("mesh.store.tables.MAP_BYTES", 200_000)
    tables = LmdbTables(tmp_path / "s.mdb", NAMES, durability="process")

    with pytest.raises(NoRoom, match="MAP_FULL"):
        fill(tables, *(b"%06d" % n for n in range(20_000)))

    fill(tables, b"a")
    assert keys_of(tables) == [b"a"]
    tables.close()


def test_an_empty_file_becomes_a_store(tmp_path: Path):
    (tmp_path / "s.mdb").touch()

    assert opened(tmp_path / "s.mdb") == (0, "0")


def test_a_store_in_a_folder_that_is_not_there_is_refused(tmp_path: Path):
    with pytest.raises(StoreError, match="cannot be opened as a store"):
        LmdbTables(tmp_path / "nowhere" / "s.mdb", NAMES, durability="process")


@pytest.mark.skipif(os.getuid() == 0, reason="root may read everything")
def test_a_store_that_may_not_be_read_is_refused(tmp_path: Path):
    path = stored(tmp_path / "s.mdb")
    path.chmod(0)

    with pytest.raises(StoreError, match="Permission denied"):
        LmdbTables(path, NAMES, durability="process")


def test_where_address_space_is_scarce_a_smaller_map_does(tmp_path: Path):
    script = """
        import resource, sys
        from pathlib import Path
        from mesh.store.tables import LmdbTables
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (8 * 2**30 if hard < 0 else hard, hard))
        tables = LmdbTables(Path(sys.argv[1]), ("one",), durability="process")
        with tables.begin(write=True) as txn:
            txn.put("one", b"k", b"v")
        print("fine")
    """
    got = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(tmp_path / "s.mdb")],
        capture_output=True,
        text=True,
    )

    assert got.stdout.strip() == "fine", got.stderr


def test_a_store_that_grew_reopens_with_the_map_it_needs(tmp_path: Path):
    stored(tmp_path / "s.mdb", 50_000)

    assert opened(tmp_path / "s.mdb") == (0, "50000")
