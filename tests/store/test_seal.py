"""Stores that may be damaged: when one is looked at before it is used, and what comes of it."""

from __future__ import annotations

import os
import queue
import random
import signal
import subprocess
import sys
import uuid
import zlib
from collections.abc import Callable
from pathlib import Path

import keeper
import lmdb
import pytest

from mesh.errors import ResultLost, StoreError
from mesh.processes import spool, writer
from mesh.protocol.outcome import stored_key
from mesh.store import inspection, results, seal
from mesh.store.durability import LEVELS, Durability
from mesh.store.opening import open_results
from mesh.store.records import Records, open_records
from mesh.store.results import Results
from mesh.store.seal import Seal
from mesh.transport.wake import Wake

SEED, STEPS = 1, 6

Damage = Callable[[bytes], bytes]

#: What may become of a data file; none of these can be used.
DAMAGES: dict[str, Damage] = {
    "a byte less": lambda raw: raw[:-1],
    "a page less": lambda raw: raw[:-4096],
    "half": lambda raw: raw[: len(raw) // 2],
    "two pages": lambda raw: raw[:8192],
    "a few bytes": lambda raw: raw[:100],
    "nothing": lambda raw: b"",
    "garbage": lambda raw: random.Random(1).randbytes(len(raw)),
    "zeros": lambda raw: bytes(len(raw)),
    "text": lambda raw: b"name,value\n" * 5000,
    "heads of garbage": lambda raw: b"\xff" * 8192 + raw[8192:],
    "garbage behind its heads": lambda raw: raw[:8192] + b"\xa5" * (len(raw) - 8192),
    "zeros behind its heads": lambda raw: raw[:8192] + bytes(len(raw) - 8192),
    "a page of garbage in every place": lambda raw: raw[:8192] + raw[8192:12288] * 20,
}
each_damage = pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)


@pytest.fixture(autouse=True)
def inspections(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The data files that were inspected."""
    seen: list[Path] = []
    real = inspection.damage

    def damage(data: Path, kind: str) -> str | None:
        seen.append(data)
        return real(data, kind)

    monkeypatch.setattr(inspection, "damage", damage)
    return seen


def opened(home: Path, durability: Durability = "disk") -> Records:
    return open_records(home, keeper.ENTROPY, keeper.MESH, durability)


def used(home: Path, durability: Durability = "disk") -> Records:
    """Records with something in them."""
    records = opened(home, durability)
    for turn, _ in zip(keeper.writes(SEED), range(STEPS)):
        records.apply(turn)
    return records


def kept(root: Path, said: list[str] | None = None) -> Results:
    """The results in `root`; the lock is let go of with the test."""
    found, lock = open_results(
        root, keeper.STORE, "disk", [].append if said is None else said.append
    )
    lock.release()
    return found


def with_results(root: Path) -> None:
    store = kept(root)
    for step in range(STEPS):
        ref = keeper.ref(SEED, step)
        content = keeper.result(SEED, step)
        spool.write(spool.path(store.incoming, ref.task, step, 0), [content])
        store.apply([ref])
    store.close()


def found_in(store: Results) -> list[int]:
    """The steps whose results are there, whole."""
    there = []
    for step in range(STEPS):
        ref = keeper.ref(SEED, step)
        try:
            file, size, crc = store.find(ref.task, step, 0)
        except ResultLost:
            continue
        assert (size, crc) == (ref.size, ref.crc)
        assert Path(file).read_bytes() == keeper.result(SEED, step)
        there.append(step)
    return there


@pytest.fixture
def rebooted(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], None]:
    """`rebooted()`: from now on it is another boot."""
    file = tmp_path_factory.mktemp("proc") / "boot_id"

    def reboot() -> None:
        file.write_text(f"{uuid.uuid4()}\n")
        monkeypatch.setattr(seal, "_BOOT", file)

    return reboot


def killed(home: Path, durability: Durability = "disk") -> None:
    """A process has used the records, and was killed: the seal is open."""
    script = """if True:
        import os, signal, sys
        from pathlib import Path
        sys.path.insert(0, sys.argv[3])
        import keeper
        from mesh.store.records import open_records
        records = open_records(Path(sys.argv[1]), keeper.ENTROPY, keeper.MESH, sys.argv[2])
        records.apply(next(keeper.writes(1)))
        os.kill(os.getpid(), signal.SIGKILL)
    """
    command = [sys.executable, "-c", script, str(home), durability, str(Path(__file__).parent)]
    assert subprocess.run(command).returncode == -signal.SIGKILL


# -- when ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("durability", LEVELS)
def test_what_was_closed_is_not_looked_at_not_even_after_a_reboot(
    tmp_path: Path, durability: Durability, inspections: list[Path], rebooted: Callable[[], None]
):
    used(tmp_path, durability).close()
    rebooted()

    records = opened(tmp_path, durability)

    assert inspections == []
    assert len(records.restore().sessions) == 2
    records.close()


@pytest.mark.parametrize("durability", LEVELS)
def test_what_a_killed_process_left_is_not_looked_at_in_the_same_boot(
    tmp_path: Path, durability: Durability, inspections: list[Path]
):
    killed(tmp_path, durability)

    records = opened(tmp_path, durability)

    assert inspections == []
    assert records.restore().sessions
    records.close()


def test_what_was_open_when_the_machine_went_down_is_looked_at(
    tmp_path: Path, inspections: list[Path], rebooted: Callable[[], None]
):
    killed(tmp_path)
    rebooted()

    records = opened(tmp_path)

    assert inspections == [tmp_path / "records.mdb"]
    assert records.restore().sessions
    records.close()
    opened(tmp_path).close()
    assert len(inspections) == 1, "once"


def test_what_was_being_changed_at_level_process_when_the_machine_went_down_is_refused(
    tmp_path: Path, rebooted: Callable[[], None]
):
    killed(tmp_path, "process")
    rebooted()

    for durability in LEVELS:
        with pytest.raises(StoreError, match=r"'process', which survives no power cut\. Move"):
            opened(tmp_path, durability)


def test_at_level_process_a_store_at_rest_survives_the_machine_as_well(
    tmp_path: Path, inspections: list[Path], rebooted: Callable[[], None]
):
    records = used(tmp_path, "process")
    records.tables.rest()
    records.tables.rest()
    before = Seal(tmp_path / "records.mdb").doubt()
    rebooted()
    at_rest = Seal(tmp_path / "records.mdb").doubt()
    records.apply([("counts", [1, 2, 3, 4])])
    rebooted()

    assert (before, at_rest) == (None, None)
    assert Seal(tmp_path / "records.mdb").is_torn()
    records.close()


def test_a_writer_with_nothing_to_write_for_a_while_lets_its_store_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(writer, "REST_S", 0.01)
    records = used(tmp_path, "process")
    rested: queue.Queue[bool] = queue.Queue()

    def rest() -> None:
        records.tables.rest()
        rested.put(Seal(tmp_path / "records.mdb").doubt() is None)

    thread = writer.Writer(records.apply, records.look_up, Wake(), rest)
    for ticket in range(2):
        thread.submit(ticket, [("counts", [ticket, 0, 0, 0])], [])
        assert rested.get(timeout=20)
    thread.close()

    assert rested.empty(), "once each time"
    records.close()


def test_what_has_no_seal_or_was_touched_is_looked_at(tmp_path: Path, inspections: list[Path]):
    used(tmp_path).close()
    data, mark = tmp_path / "records.mdb", tmp_path / "records.mdb-seal"

    for spoil in (
        mark.unlink,
        lambda: mark.write_text("no seal"),
        lambda: mark.write_text("[1]"),
        lambda: os.utime(data),
    ):
        spoil()
        inspections.clear()
        opened(tmp_path).close()
        assert inspections == [data]


def test_a_new_store_is_not_looked_at(tmp_path: Path, inspections: list[Path]):
    (tmp_path / "records.mdb").touch()

    opened(tmp_path).close()
    (tmp_path / "records.mdb").unlink()
    opened(tmp_path).close()

    assert inspections == []


def test_a_temporary_store_has_no_seal_and_is_never_looked_at(
    tmp_path: Path, inspections: list[Path]
):
    for _ in range(2):
        open_records(tmp_path, bytes(16), "meshmesh", "process", temporary=True).close()
        store, lock = open_results(tmp_path / "w", "wwwwwwww", "process", print, temporary=True)
        store.close()
        lock.release()

    assert inspections == [] and list(tmp_path.rglob("*-seal")) == []


# -- what comes of it ---------------------------------------------------------------------------


@each_damage
def test_damaged_records_are_refused_and_left_as_they_were(tmp_path: Path, damage: Damage):
    home = tmp_path / "router"
    home.mkdir()
    used(home).close()
    data = home / "records.mdb"
    data.write_bytes(damage(data.read_bytes()))
    before = data.read_bytes()

    for _ in range(2):
        with pytest.raises(
            StoreError, match=r"is damaged \(.*\): .*\. Move .* to start anew: .*lost"
        ):
            opened(home)

    assert data.read_bytes() == before
    home.rename(tmp_path / "aside")
    home.mkdir()
    opened(home).close()


def test_any_page_of_records_may_be_garbage(tmp_path: Path):
    """Whatever it does to LMDB, it is done to a child; what opens can be read."""
    used(tmp_path).close()
    data = tmp_path / "records.mdb"
    whole = data.read_bytes()
    refused = 0
    for page in range(0, len(whole) // 4096, 7):
        at = page * 4096
        data.write_bytes(whole[:at] + random.Random(page).randbytes(4096) + whole[at + 4096 :])
        try:
            records = opened(tmp_path)
        except StoreError:
            refused += 1
        else:
            records.restore()
            keeper.digest(records.tables)
            records.close()
    assert refused > 5


def test_a_store_of_an_older_schema_is_looked_at_before_it_is_upgraded(tmp_path: Path):
    whole = (Path(__file__).parent / "fixtures" / "schema2.mdb").read_bytes()
    data = tmp_path / "records.mdb"
    data.write_bytes(whole)
    put_behind_its_back(data, "args", b"k3f9x2m2" + bytes(8), b"\xc1")

    with pytest.raises(StoreError, match="is damaged"):
        opened(tmp_path)

    data.write_bytes(whole)
    records = opened(tmp_path)
    assert records.restore().mesh == "meshmesh"
    records.close()


def test_a_row_that_cannot_be_unpacked_is_damage(tmp_path: Path):
    for table, name, value in [
        ("outcome", b"k3f9x2m2" + bytes(8), b"\x00"),
        ("outcome", b"short", bytes(100)),
        ("block", b"k3f9x2m2" + bytes(8), b"\xc1"),
        ("open", b"k3f9x2m2" + b"\xff" * 8, b""),
        ("function", b"f" * 16, b"\x93\xa1"),
        ("heard", b"k3f9x2m2", b"\xc1"),
        ("host", b"k3f9x2m2", b"\xc1"),
        ("meta", b"schema", b"\x02\x00"),
    ]:
        home = tmp_path / f"{table}-{len(value)}-{len(name)}"
        home.mkdir()
        used(home).close()
        put_behind_its_back(home / "records.mdb", table, name, value)

        with pytest.raises(StoreError, match="is damaged"):
            opened(home)


@pytest.mark.parametrize("number", [signal.SIGBUS, signal.SIGSEGV, signal.SIGABRT])
def test_an_inspection_that_dies_has_found_damage(
    tmp_path: Path, number: signal.Signals, monkeypatch: pytest.MonkeyPatch
):
    used(tmp_path).close()
    os.utime(tmp_path / "records.mdb")
    dying = f"import os; os.kill(os.getpid(), {int(number)}) # {{root}}"
    monkeypatch.setattr(inspection, "_CHILD", dying)

    with pytest.raises(StoreError, match=f"reading it ended a process by {number.name}"):
        opened(tmp_path)


def test_an_inspection_that_does_not_end_has_found_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    used(tmp_path).close()
    os.utime(tmp_path / "records.mdb")
    monkeypatch.setattr(inspection, "_CHILD", "import signal; signal.pause() # {root}")
    monkeypatch.setattr(inspection, "LEAST_S", 0.1)

    with pytest.raises(StoreError, match="reading it takes more than"):
        opened(tmp_path)


@each_damage
def test_a_damaged_index_is_made_again_and_all_is_served(tmp_path: Path, damage: Damage):
    with_results(tmp_path)
    data, said = tmp_path / "index.mdb", list[str]()
    data.write_bytes(damage(data.read_bytes()))

    store = kept(tmp_path, said)

    assert store.id == keeper.STORE
    assert found_in(store) == list(range(STEPS))
    assert "is damaged" in said[1] and f"{STEPS} are indexed again" in said[2]
    assert (tmp_path / "index.mdb-damaged").exists()
    store.close()


def test_an_index_that_is_gone_is_made_again_under_the_same_store_id(tmp_path: Path):
    with_results(tmp_path)
    (tmp_path / "index.mdb").unlink()

    store, lock = open_results(tmp_path, "another2", "disk", print)

    assert store.id == keeper.STORE and found_in(store) == list(range(STEPS))
    store.close()
    lock.release()


def test_files_that_are_no_results_are_not_indexed(tmp_path: Path):
    with_results(tmp_path)
    (tmp_path / "index.mdb").unlink()
    shelf = next((tmp_path / "content").iterdir())
    for name in ("README", "abcd", "00" * 26):
        (shelf / name).write_text("somebody else's")

    store = kept(tmp_path)

    assert not store.is_unindexed()
    with store._tables.begin() as txn:
        assert txn.count("result") == STEPS
    store.close()


def test_after_a_power_cut_results_whose_file_is_not_theirs_are_dropped(
    tmp_path: Path, rebooted: Callable[[], None]
):
    with_results(tmp_path)
    mark = Seal(tmp_path / "index.mdb")
    mark.open("disk")
    sized = [step for step in range(STEPS) if keeper.ref(SEED, step).size > 100]
    assert len(sized) >= 3
    store = kept(tmp_path)
    short, gone, wrong = (Path(store.find(keeper.ref(SEED, s).task, s, 0)[0]) for s in sized[:3])
    store.close()
    mark.open("disk")
    short.write_bytes(short.read_bytes()[:-1])
    gone.unlink()
    wrong.write_bytes(bytes(wrong.stat().st_size))
    rebooted()
    said: list[str] = []

    store = kept(tmp_path, said)

    assert found_in(store) == [step for step in range(STEPS) if step not in sized[:3]]
    assert f"{STEPS - 3} results are whole, 3 are lost" in said[1]
    store.close()


def test_after_a_power_cut_a_file_that_the_index_does_not_know_is_served(
    tmp_path: Path, rebooted: Callable[[], None]
):
    with_results(tmp_path)
    forgotten = keeper.ref(SEED, 3)
    entry = stored_key(forgotten.task, forgotten.lease, forgotten.number)
    with (
        lmdb.open(str(tmp_path / "index.mdb"), subdir=False, max_dbs=20) as env,
        env.begin(write=True, db=env.open_db(b"result")) as txn,
    ):
        assert txn.delete(entry)
    rebooted()

    store = kept(tmp_path)

    assert found_in(store) == list(range(STEPS))
    store.close()


def test_what_was_written_long_before_a_power_cut_is_not_read_again(
    tmp_path: Path, rebooted: Callable[[], None], monkeypatch: pytest.MonkeyPatch
):
    with_results(tmp_path)
    files = [file for file in (tmp_path / "content").rglob("*") if file.is_file()]
    for file in files[1:]:
        os.utime(file, (0, 0))
    Seal(tmp_path / "index.mdb").open("disk")
    rebooted()
    read: list[Path] = []
    monkeypatch.setattr(
        results, "_checksum", lambda file: read.append(file) or zlib.crc32(file.read_bytes())
    )

    kept(tmp_path).close()

    assert read == files[:1]


def test_a_seal_that_cannot_be_written_is_a_store_error_and_at_the_end_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    records = used(tmp_path)
    monkeypatch.setattr(seal, "write_synced", full_disk)

    records.close()
    with pytest.raises(StoreError, match="No space left"):
        opened(tmp_path).restore()


def full_disk(file: Path, text: str) -> None:
    raise OSError(28, "No space left on device")


def test_a_reader_that_was_killed_keeps_no_pages_from_reuse(tmp_path: Path):
    used(tmp_path).close()
    with reader(tmp_path) as killed, reader(tmp_path) as other:
        killed.kill()
        killed.wait()
        records = opened(tmp_path)  # the lock file is not begun anew: somebody else is there

        readers = records.tables._env.readers()

        assert str(killed.pid) not in readers and str(other.pid) in readers
        records.close()
        other.kill()


def reader(home: Path) -> subprocess.Popen[bytes]:
    """Somebody who looks into the records, for good."""
    script = """if True:
        import lmdb, os, signal, sys
        env = lmdb.open(sys.argv[1], subdir=False, max_dbs=20)
        txn = env.begin()
        print("reads", flush=True)
        signal.pause()
    """
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(home / "records.mdb")], stdout=subprocess.PIPE
    )
    assert process.stdout is not None and process.stdout.readline() == b"reads\n"
    return process


def put_behind_its_back(data: Path, table: str, name: bytes, value: bytes) -> None:
    """Change a store as somebody who is not its owner would."""
    with (
        lmdb.open(str(data), subdir=False, max_dbs=20) as env,
        env.begin(write=True, db=env.open_db(table.encode())) as txn,
    ):
        txn.put(name, value)
