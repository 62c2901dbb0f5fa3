"""A worker's results: kept, found, and missed when they are gone."""

from __future__ import annotations

import errno
import os
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from mesh.errors import ResultLost, StoreError
from mesh.processes import spool
from mesh.protocol.outcome import Ref
from mesh.store import deposits, results
from mesh.store.opening import open_results
from mesh.store.results import Results
from mesh.store.tables import LmdbTables, NoRoom
from mesh.store.writes import Copy, Gone, Own, Put, Told, Untold
from mesh.task import Kind, key

Open = Callable[[], Results]

TASK = key("k3f9x2m7", 17)


@pytest.fixture
def reopen(tmp_path: Path, request: pytest.FixtureRequest) -> Open:
    """Opens the results in a folder, each time as a new life of the worker."""
    opened: list[Results] = []

    def make() -> Results:
        while opened:
            opened.pop().close()
        opened.append(Results(tmp_path, "k3f9x2m2", "process"))
        return opened[-1]

    request.addfinalizer(lambda: [each.close() for each in opened])
    return make


def wait(store: Results, lease: int, content: bytes, number: int = 0, task: bytes = TASK) -> Ref:
    """Content as a slot leaves it, and what the outcome says of it."""
    spool.write(spool.path(store.incoming, task, lease, number), [content])
    return Ref(task, lease, number, len(content), zlib.crc32(content), store.id.encode())


def test_what_is_kept_is_found(reopen: Open):
    store = reopen()

    store.apply([wait(store, 7, b"a result"), wait(store, 7, b"its log", 1), wait(store, 8, b"")])

    file, size, crc = store.find(TASK, 7, 0)
    assert (Path(file).read_bytes(), size, crc) == (b"a result", 8, zlib.crc32(b"a result"))
    assert Path(store.find(TASK, 7, 1)[0]).read_bytes() == b"its log"
    assert store.find(TASK, 8, 0)[1] == 0
    assert list(store.incoming.iterdir()) == []


def test_a_lease_of_another_mesh_is_another(reopen: Open):
    store, other = reopen(), key("another7", 17)

    store.apply([wait(store, 7, b"a result")])
    store.apply([wait(store, 7, b"another", task=other)])

    assert Path(store.find(TASK, 7, 0)[0]).read_bytes() == b"a result"
    assert Path(store.find(other, 7, 0)[0]).read_bytes() == b"another"


def test_it_outlives_its_worker(reopen: Open):
    store = reopen()
    store.apply([wait(store, 2**63 - 1, b"x" * 100_000)])

    again = reopen()

    assert Path(again.find(TASK, 2**63 - 1, 0)[0]).read_bytes() == b"x" * 100_000


def test_a_store_keeps_its_id(reopen: Open, tmp_path: Path):
    assert reopen().id == "k3f9x2m2"

    reopen().close()

    assert Results(tmp_path, "another2", "process").id == "k3f9x2m2"


def test_a_result_nobody_made_is_lost(reopen: Open):
    with pytest.raises(
        ResultLost, match=r"store k3f9x2m2 does not hold result ff-0 of k3f9x2m7\.17"
    ):
        reopen().find(TASK, 255, 0)


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda file: file.unlink(), "is gone"),
        (lambda file: file.write_bytes(b"a res"), "has 5 bytes of 8"),
        (lambda file: file.write_bytes(b""), "has 0 bytes of 8"),
        (lambda file: file.write_bytes(b"a result and more"), "has 17 bytes of 8"),
    ],
    ids=["gone", "short", "empty", "long"],
)
def test_a_result_whose_file_is_not_whole_is_lost(
    reopen: Open, harm: Callable[[Path], object], said: str
):
    store = reopen()
    store.apply([wait(store, 7, b"a result")])
    harm(Path(store.find(TASK, 7, 0)[0]))

    with pytest.raises(ResultLost, match=f"{said}. Submit the task again"):
        reopen().find(TASK, 7, 0)


def test_what_was_written_and_never_indexed_is_cleared_away(reopen: Open):
    store = reopen()
    wait(store, 7, b"half a res")
    (store.incoming / "slot-123.out").write_bytes(b"printed")

    again = reopen()

    assert list(again.incoming.iterdir()) == []
    with pytest.raises(ResultLost):
        again.find(TASK, 7, 0)


def test_many_results_lie_on_many_shelves(reopen: Open):
    store = reopen()

    store.apply([wait(store, lease, b"%d" % lease) for lease in range(600)])

    assert len(list(store.content.iterdir())) == 256
    assert [Path(store.find(TASK, lease, 0)[0]).read_bytes() for lease in (0, 299, 599)] == [
        b"0",
        b"299",
        b"599",
    ]


def test_a_store_of_another_schema_is_refused(
    reopen: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    reopen().close()
    monkeypatch.setattr(results, "SCHEMA", 3)

    with pytest.raises(StoreError, match=r"has schema 2, this Mesh reads 3: use the Mesh version"):
        reopen()

    monkeypatch.undo()
    assert reopen().id == "k3f9x2m2", "it is left as it was"


def test_an_index_that_cannot_be_a_file_is_refused_and_the_folder_let_go(tmp_path: Path):
    (tmp_path / "index.mdb").mkdir()

    for _ in range(2):
        with pytest.raises(StoreError, match="cannot be opened as a store"):
            open_results(tmp_path, "k3f9x2m2", "process", print)


def test_two_workers_cannot_share_a_folder(tmp_path: Path):
    store, lock = open_results(tmp_path / "worker", "k3f9x2m2", "process", print)

    with pytest.raises(StoreError, match="in use"):
        open_results(tmp_path / "worker", "another2", "process", print)

    store.close()
    lock.release()
    store, lock = open_results(tmp_path / "worker", "another2", "process", print)
    assert store.id == "k3f9x2m2"
    store.close()
    lock.release()


def test_the_index_is_lmdb_with_the_entries_it_documents(reopen: Open, tmp_path: Path):
    store = reopen()
    store.apply([wait(store, 0x0102030405060708, b"a result", 1)])
    store.close()

    tables = LmdbTables(tmp_path / "index.mdb", results.TABLES, durability="process")
    with tables.begin() as txn:
        rows = dict(txn.scan("result"))
    tables.close()

    name, entry = TASK + bytes([1, 2, 3, 4, 5, 6, 7, 8, 0, 1]), (8).to_bytes(8, "little")
    assert rows == {name: entry + zlib.crc32(b"a result").to_bytes(4, "little")}


def test_what_is_not_told_yet_is_known_to_the_next_life_of_the_same_mesh(reopen: Open):
    store = reopen()
    other = TASK[:15] + b"\x01"
    mine = Untold(TASK, 7, "meshmesh", Kind.STORED, b"outcome")
    store.apply([wait(store, 7, b"a result"), mine])
    store.apply([wait(store, 8, b"another"), Untold(TASK, 8, "meshmesh", Kind.STORED, b"told")])
    store.apply([wait(store, 9, b"gone"), Untold(other, 9, "meshmesh", Kind.STORED, b"gone")])
    store.apply([Told(TASK, 8), Gone(other, 9)])

    store = reopen()

    assert store.untold("meshmesh") == [mine]
    assert store.untold("another2") == []


def test_what_a_store_holds_is_known_through_every_change_and_in_the_next_life(reopen: Open):
    store = reopen()
    assert store.held == (0, 0)
    store.apply([wait(store, 7, bytes(100)), wait(store, 7, bytes(5), 1), wait(store, 8, b"")])
    store.apply([wait(store, 8, bytes(20))])  # the same once more
    assert store.held == (3, 125)

    again = reopen()
    assert again.held == (3, 125)
    again.apply([results.Gone(TASK, 7), results.Gone(TASK, 99)])
    assert again.held == (1, 20)

    (again.content / "00").mkdir(exist_ok=True)
    Path(again.find(TASK, 8, 0)[0]).unlink()
    again.go_through()
    assert again.held == reopen().held == (0, 0)


@pytest.mark.parametrize("rest", [b"the rest", b"another!"])
def test_of_a_copy_that_came_out_of_order_the_rest_is_read(reopen: Open, rest: bytes) -> None:
    store, first = reopen(), b"in order, "
    ref = wait(store, 7, first + rest)._replace(crc=zlib.crc32(first + b"the rest"))

    store.apply([Copy(ref, len(first), zlib.crc32(first))])

    if rest == b"the rest":
        assert Path(store.find(TASK, 7, 0)[0]).read_bytes() == first + rest
    else:
        with pytest.raises(ResultLost):
            store.find(TASK, 7, 0)
        assert list(store.incoming.iterdir()) == []


def test_gone_through_it_names_what_it_had_made_and_has_not(reopen: Open):
    store = reopen()
    store.apply([wait(store, lease, b"a result") for lease in (7, 8, 9)])
    store.apply([wait(store, 7, b"its log", 1)])
    copied = wait(store, 10, b"a copy")
    store.apply([Copy(copied, copied.size, copied.crc)])
    Path(store.find(TASK, 7, 0)[0]).unlink()
    Path(store.find(TASK, 8, 0)[0]).write_bytes(b"a result, and more")
    Path(store.find(TASK, 10, 0)[0]).unlink()

    again = reopen()
    again.go_through()

    assert again.missed == [(TASK, 7), (TASK, 8)]


def test_what_is_adopted_is_a_copy_no_more_and_is_listed_in_pages(reopen: Open):
    store = reopen()
    store.apply([wait(store, lease, b"a result") for lease in (7, 8)])
    copied = wait(store, 9, b"a copy")
    store.apply([Copy(copied, copied.size, copied.crc)])
    assert store.listed(b"", 9) == ([(TASK, 7), (TASK, 8)], None)

    store.apply([Own(copied)])

    first, behind = store.listed(b"", 2)
    assert first == [(TASK, 7), (TASK, 8)] and behind is not None
    assert store.listed(behind, 2) == ([(TASK, 9)], None)


def test_what_is_adopted_while_its_copy_finds_no_room_for_others_is_a_copy_no_more(
    reopen: Open, monkeypatch: pytest.MonkeyPatch
):
    store = reopen()
    refs = [wait(store, 7, b"one"), wait(store, 8, b"two")]
    copies = [Copy(ref, ref.size, ref.crc) for ref in refs]
    move = Results._move_in

    def full(self: Results, source: str, key: bytes) -> None:
        if key == copies[1].ref.key:
            raise OSError(errno.ENOSPC, "no room")
        move(self, source, key)

    with monkeypatch.context() as patch, pytest.raises(NoRoom):
        patch.setattr(Results, "_move_in", full)
        store.apply(copies)
    assert store.find(TASK, 7, 0)[1] == 3

    store.apply([*copies, Own(copies[0].ref)])

    assert store.listed(b"", 9) == ([(TASK, 7)], None)
    assert store.find(TASK, 8, 0)[1] == 3


def test_who_lets_go_twice_lets_go_once(reopen: Open):
    store = reopen()
    store.apply([wait(store, 7, b"a result"), wait(store, 8, b"another")])

    store.apply([Gone(TASK, 7), Gone(TASK, 7)])
    assert store.held == (1, len(b"another"))
    store.apply([Gone(TASK, 8), Gone(TASK, 7), Gone(TASK, 8)])
    assert store.held == (0, 0)


def test_what_is_let_go_of_is_recorded_though_what_came_cannot_be_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    store = Results(tmp_path, "k3f9x2m2", "disk")
    store.apply([wait(store, 7, b"a result")])
    put = Ref(TASK, 5, 0, 3, zlib.crc32(b"put"), store.id.encode())
    left = deposits.path_of(store.incoming, TASK, 5, 0)
    os.mkdir(os.path.dirname(left))
    spool.write(left, [b"put"])

    def full(descriptor: int) -> None:
        raise OSError(errno.EDQUOT, "no room")

    with monkeypatch.context() as patch, pytest.raises(NoRoom):
        patch.setattr(os, "fsync", full)
        store.apply([Put(put), Gone(TASK, 7)])
    assert store.held == (0, 0)
    store.apply([Put(put), Gone(TASK, 7)])
    assert store.held == (1, 3)
    store.close()
