"""What is recorded of a task's runs."""

from __future__ import annotations

from typing import Any

import pytest

from mesh.core.ledger import RECORD
from mesh.errors import Failure
from mesh.protocol.outcome import REF, body, failure_body, pack_failure
from mesh.store.records import TABLES, Records
from mesh.store.rows import pack
from mesh.store.story import MESSAGE_CHARS_MAX, RUNS_MAX
from mesh.store.tables import MemoryTables
from mesh.task import Kind, key

SESSION, STORE = "k3f9x2m7", "wwwwwwww"
TASK = key(SESSION, 0)


@pytest.fixture
def records() -> Records:
    made = Records(MemoryTables(TABLES), bytes(16), "mesh")
    header = [1, b"f" * 16, {"retries": 2}, None, 0, ["T=2"], 0, b"", 1000.0]
    made.apply(
        [
            ("function", b"f" * 16, "sim:f", b"code", b"V"),
            ("worker", STORE, {"host": "node7", "content": "/var/tmp/w"}),
            ("block", SESSION, 0, header, {}, [b"0"], [b"mark"]),
        ]
    )
    return made


def story(records: Records) -> dict:
    return records.look_up("story", (SESSION, 0))


def raised(message: str) -> bytes:
    return body(
        1001.0, 0.5, b"", pack_failure(Failure("builtins.ValueError", message, "T", "h", 1))
    )


def test_a_task_that_has_not_run(records: Records):
    told = story(records)

    assert told["runs"] == [] and told["state"] is None
    assert (told["id"], told["name"], told["function"]) == (f"{SESSION}.0", "T=2", "sim:f")
    assert (told["options"], told["submitted_at"]) == ({"retries": 2}, 1000.0)


def test_runs_come_in_their_order_and_the_last_is_the_outcome(records: Records):
    gone = failure_body("WorkerLost", "it was silent")
    records.apply(
        [
            ("run", TASK, 1 << 40 | 9, [STORE, 1000.5, 1001.5, int(Kind.ERROR)], raised("no")),
            ("run", TASK, 2 << 40 | 1, [STORE, 1002.0, 1003.0, int(Kind.WORKER_LOST)], gone),
            (
                "outcomes",
                [(TASK, RECORD.pack(0, 2 << 40 | 2, STORE.encode()) + body(5, 2, b"", b""))],
            ),
            ("worker", STORE, None),
        ]
    )

    first, second, last = story(records)["runs"]

    assert (first["how"], first["error"], first["message"]) == (
        "error",
        "builtins.ValueError",
        "no",
    )
    assert (first["begun_at"], first["took_s"], first["ended_at"]) == (1001.0, 0.5, 1001.5)
    assert (second["how"], second["message"], second["begun_at"]) == (
        "worker_lost",
        "it was silent",
        None,
    )
    assert (last["how"], last["took_s"], last["error"]) == ("value", 2.0, None)
    assert {run["host"] for run in (first, second, last)} == {"node7"}, "known although it is gone"
    assert story(records)["state"] == "done"


def test_the_run_that_reached_its_cap_is_told_once(records: Records):
    dead = failure_body("WorkerLost", "it died")
    records.apply(
        [
            ("run", TASK, 7, [STORE, 1000.5, 1001.5, int(Kind.SLOT_LOST)], dead),
            ("outcomes", [(TASK, RECORD.pack(Kind.SLOT_LOST, 7, STORE.encode()) + dead)]),
        ]
    )

    (run,) = story(records)["runs"]
    assert (run["given_at"], run["how"], run["message"]) == (1000.5, "slot_lost", "it died")


def test_much_is_not_kept_and_what_cannot_be_read_is_said(records: Records):
    about = [STORE, 1.0, 2.0, int(Kind.ERROR)]
    runs = [("run", TASK, lease, about, raised("m" * 5000)) for lease in range(1, RUNS_MAX + 50)]
    records.apply([*runs, ("run", TASK, 10**6, about, b"no body")])

    told = story(records)["runs"]

    assert len(told) == RUNS_MAX and told[-1]["lease"] == 10**6
    assert len(told[0]["message"]) == MESSAGE_CHARS_MAX
    assert told[-1]["message"].startswith("not readable: an outcome of 7 bytes")


def test_nobody_has_no_story(records: Records):
    assert records.look_up("story", (SESSION, 1)) is None
    assert records.look_up("story", ("aaaaaaaa", 0)) is None


@pytest.mark.parametrize("place", [["node7", "/var/tmp/w"], "node7"])
def test_where_a_result_was_left_is_told_also_when_its_worker_is_gone(records: Records, place: Any):
    ref = REF.pack(TASK, 1, 0, 9, 9, STORE.encode())
    stored = RECORD.pack(Kind.STORED, 1, STORE.encode()) + body(5, 2, b"", ref)
    records.apply([("outcomes", [(TASK, stored)]), ("worker", STORE, None)])
    with records.tables.begin(write=True) as txn:
        txn.put("host", STORE.encode(), pack(place))

    result = story(records)["result"]

    assert (result["store"], result["host"]) == (STORE, "node7")
    assert result["folder"] == ("/var/tmp/w" if isinstance(place, list) else None)
