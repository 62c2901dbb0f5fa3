"""Groups by their names, groups made of others, and the roll of their members."""

from __future__ import annotations

import shutil
import struct
from pathlib import Path
from typing import Any

import pytest

from mesh.protocol.outcome import body, failure_body
from mesh.store import roll
from mesh.store.records import TABLES, Records
from mesh.store.tables import LmdbTables, MemoryTables
from mesh.task import Kind, key, parse

FIXTURES = Path(__file__).parent / "fixtures"
A, B = "k3f9x2m2", "k3zzzzzz"
F = b"f" * 16
HEAD = struct.Struct("<BQ8s")


@pytest.fixture
def records() -> Records:
    records = Records(MemoryTables(TABLES), b"entropy 16 bytes", "meshmesh")
    records.apply([("function", F, "sim:simulate", b"code", b"Vpickle")])
    return records


def block(
    session: str, first: int, size: int, group: int | None = None, **more: Any
) -> tuple[Any, ...]:
    names, holes = more.get("names"), more.get("holes", b"")
    header = [size, F, {"retries": 2}, group, 0, names, 0, holes, 5.0]
    payloads = [more.get("payload", b"%d") % (first + i) for i in range(size)]
    marks = None if names is None else [b"mark%d" % (first + i) for i in range(size)]
    return "block", session, first, header, more.get("foreign", {}), payloads, marks


def ended(session: str, counter: int, kind: Kind, what: bytes, lease: int = 7) -> tuple[Any, ...]:
    record = HEAD.pack(kind, lease, b"wwwwwwww") + what
    return "outcomes", [(key(session, counter), record)]


def meaning(records: Records, text: str) -> Any:
    return records.look_up("texts", [(text, parse(text))])[0]


def calls(records: Records, *spans: tuple[str, int, int], whole: bool = False) -> list[Any]:
    return records.look_up("roll", (list(spans), whole))


def test_a_name_stands_for_its_group_and_of_several_for_the_newest(records: Records):
    records.apply([("group", key(A, 0), 4, "sweep"), ("group", key(B, 9), 2, "sweep/ö")])
    assert meaning(records, "sweep") == ["group", A, 0, 4]
    assert meaning(records, "sweep/ö") == ["group", B, 9, 2]
    assert meaning(records, "swee") is None

    records.apply([("group", key(B, 20), 1, "sweep")])
    records.apply([("group", key(A, 90), 3, "sweep"), ("group", key(B, 30), 2, "sweep")])
    records.apply([("group", key(B, 20), 1, "sweep")])  # told once more
    assert meaning(records, "sweep") == ["group", B, 30, 2]
    assert meaning(records, f"{A}.0") == ["group", A, 0, 4]


def test_an_id_of_a_task_wins_over_the_name_of_a_group(records: Records):
    records.apply([("group", key(A, 0), 1, "T=1"), block(A, 1, 1, 0, names=["T=1"])])

    assert meaning(records, "T=1") == ["task", A, 1, 1]


def test_a_name_goes_with_its_group(records: Records):
    records.apply([("group", key(A, 0), 1, "sweep"), block(A, 1, 1, 0)])
    records.apply([ended(A, 1, Kind.VALUE, b""), ("close", key(A, 1), 1.0)])
    [old], _ = records.look_up("prunable", (b"", 1))

    records.apply([("prune", [(old.place, old.block, 0.0)])])

    assert meaning(records, "sweep") is None


def test_a_group_in_place_of_another_has_its_name_and_members(records: Records):
    records.apply([("group", key(A, 0), 5, "sweep")])
    rows = [[0, A, 1, 2], [3, A, 4, 1]]

    records.apply([("group", key(B, 0), 5, "sweep", rows[:1], key(A, 0))])
    records.apply([("group", key(B, 0), 5, "sweep", rows, key(A, 0))])  # and asked again

    assert meaning(records, "sweep") == ["group", B, 0, 5]
    assert records.look_up("group", key(B, 0)) == {"size": 5, "name": "sweep", "foreign": rows}
    assert records.look_up("group", key(A, 0))["name"] == "sweep"


def test_the_names_of_an_older_store_are_found(tmp_path: Path):
    shutil.copy(FIXTURES / "schema2.mdb", tmp_path)
    store = Records(LmdbTables(tmp_path / "schema2.mdb", TABLES, durability="process"), b"", "")

    assert meaning(store, "a sweep") == ["group", A, 0, 4]
    store.close()


def test_the_roll_tells_what_became_of_each(records: Records):
    failure = failure_body("WorkerLost", "it is lost", "n1")
    records.apply(
        [
            block(B, 5, 1, names=["b"]),
            block(A, 1, 4, 0, names=["T=1", None, "b", None], holes=b"\2", foreign={2: (B, 5)}),
            ("worker", "wwwwwwww", {"host": "n7"}),
            ended(A, 1, Kind.VALUE, body(3.0, 0.5, b"printed", b"value")),
            ("run", key(A, 2), 3, ["wwwwwwww", 1.0, 2.0, Kind.SLOT_LOST], failure),
            ended(A, 2, Kind.SLOT_LOST, failure),
            ended(B, 5, Kind.CANCELLED, failure_body("CancelledError", "no"), lease=0),
        ]
    )

    first, second, third, fourth, fifth = calls(records, (A, 1, 5))

    assert (first["id"], first["name"], first["function"]) == (f"{A}.1", "T=1", "sim:simulate")
    assert (first["state"], first["host"], first["attempts"]) == ("done", "n7", 1)
    assert (first["begun_at"], first["took_s"], first["error"]) == (3.0, 0.5, None)
    assert (second["state"], second["attempts"], second["error"]) == ("failed", 2, "WorkerLost")
    assert (third["id"], third["name"], third["state"]) == (f"{B}.5", "b", "cancelled")
    assert third["attempts"] == 0
    assert (fourth["state"], fourth["function"]) == (None, "sim:simulate")
    assert (fifth["state"], fifth["function"]) == (None, None)
    assert "arguments" not in first


def test_a_whole_row_has_all_that_its_call_was_and_gave(records: Records):
    records.apply([block(A, 1, 2, 0, names=["T=1", None])])
    records.apply([("inputs", key(A, 1), [b"", key(B, 3)])])
    records.apply([ended(A, 1, Kind.VALUE, body(3.0, 0.5, b"printed", b"value"))])

    first, second, none = calls(records, (A, 1, 3), whole=True)

    assert (first["digest"], first["options"]) == (F, {"retries": 2})
    assert (first["arguments"], first["inputs"], first["mark"]) == (b"1", b"", b"mark1")
    assert (first["kind"], first["rest"]) == (Kind.VALUE, b"value")
    assert (second["arguments"], second["inputs"], second["mark"]) == (b"2", key(B, 3), None)
    assert (none["digest"], none["arguments"], none["kind"]) == (None, None, None)


def test_a_roll_ends_when_a_message_is_full(records: Records, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(roll, "ROLL_BYTES", 10_000)
    records.apply([block(A, 1, 200, payload=b"%1000d")])

    assert [row["id"] for row in calls(records, (A, 1, 100), (A, 101, 100), whole=True)] == [
        f"{A}.{i}" for i in range(1, 9)
    ]
    assert len(calls(records, (A, 1, 200))) == 10_000 // roll.ROW_BYTES + 1
