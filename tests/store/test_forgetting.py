"""Forgetting blocks: what goes with them, and what stays."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_records import SESSION, F, block, ended, meanings

from mesh.store.records import TABLES, Records
from mesh.store.results import Results
from mesh.store.tables import LmdbTables, MemoryTables, NoRoom
from mesh.store.writes import Gone
from mesh.task import Kind, key

OTHER = "aaaabbbb"


@pytest.fixture(params=["lmdb", "memory"])
def records(request: pytest.FixtureRequest, tmp_path: Path):
    tables = MemoryTables(TABLES) if request.param == "memory" else None
    made = Records(
        tables or LmdbTables(tmp_path / "r.mdb", TABLES, durability="process"), bytes(16), "mesh"
    )
    made.apply([("function", F, "sim:f", b"code", b"V")])
    yield made
    made.close()


def end(records: Records, session: str, first: int, size: int, age_s: float = 1.0) -> None:
    done = ended(session, *((first + i, Kind.VALUE) for i in range(size)))
    records.apply([done, ("close", key(session, first), age_s)])


def prunable(records: Records) -> list:
    return records.look_up("prunable", (b"", 100))[0]


def prune(records: Records, *blocks: bytes) -> None:
    rows = [(old.place, old.block, 9.0) for old in prunable(records) if old.block in blocks]
    assert len(rows) == len(blocks)
    records.apply([("prune", rows)])


def test_blocks_come_in_the_order_of_their_ends_and_in_pages(records: Records):
    for n, age_s in enumerate((3.0, 1.0, 2.0)):
        records.apply([block(SESSION, n, 1)])
        end(records, SESSION, n, 1, age_s)

    assert [(old.ended_s, old.block) for old in prunable(records)] == [
        (1.0, key(SESSION, 1)),
        (2.0, key(SESSION, 2)),
        (3.0, key(SESSION, 0)),
    ]
    (first,), used = records.look_up("prunable", (b"", 1))
    (second,), _ = records.look_up("prunable", (first.place, 1))
    assert (first.ended_s, second.ended_s, used > 0) == (1.0, 2.0, True)
    assert (first.counts, first.tasks) == ([1, 0, 0, 0, 0], 1)


def test_an_alias_goes_with_its_task_but_not_one_that_was_given_anew(records: Records):
    records.apply([block(SESSION, 0, 2, names=["a", "b"])])
    end(records, SESSION, 0, 2)
    records.apply([block(SESSION, 2, 1, names=["b"])])

    prune(records, key(SESSION, 0))

    assert meanings(records, "a", "b") == [None, ["task", SESSION, 2, 1]]
    assert meanings(records, f"{SESSION}.0", f"{SESSION}.2") == [None, ["task", SESSION, 2, 1]]


def test_a_group_goes_with_the_last_of_its_members(records: Records):
    records.apply(
        [
            ("group", key(SESSION, 0), 4, "sweep"),
            block(SESSION, 1, 2, group=0),
            block(SESSION, 3, 2, group=0, index=2),
        ]
    )
    end(records, SESSION, 1, 2)
    end(records, SESSION, 3, 2)

    prune(records, key(SESSION, 1))
    assert records.look_up("group", key(SESSION, 0)) is not None
    prune(records, key(SESSION, 3))
    assert records.look_up("group", key(SESSION, 0)) is None


def test_who_meant_an_older_task_that_is_gone_hears_that_it_is_not_there(records: Records):
    records.apply([block(OTHER, 0, 1, names=["a"])])
    end(records, OTHER, 0, 1)
    holes = block(SESSION, 0, 1, names=["a"], holes=(0,), foreign={0: (OTHER, 0)})
    records.apply([holes, ("close", key(SESSION, 0), 3.0)])

    prune(records, key(OTHER, 0))

    [(_, _, record, older)] = records.look_up("outcomes", [(SESSION, 0, 1)])
    assert (record, older) == (None, (OTHER, 0, None))
    assert records.look_up("outcomes", [(OTHER, 0, 1)]) == [(OTHER, 0, None, None)]
    assert [old.block for old in prunable(records)] == [key(SESSION, 0)], "of holes alone: ended"


def test_a_session_goes_with_its_last_block(records: Records):
    for session in (SESSION, OTHER):
        records.apply([block(session, 0, 1), ("heard", session, 5.0)])
        end(records, session, 0, 1)
    assert [old.heard_s for old in prunable(records)] == [5.0, 5.0]

    prune(records, key(OTHER, 0))

    assert records.look_up("empty", [OTHER, SESSION]) == [OTHER]
    assert records.restore().sessions == {SESSION: 0}


def test_pruning_twice_does_nothing(records: Records):
    records.apply([block(SESSION, 0, 1)])
    end(records, SESSION, 0, 1)
    [old] = prunable(records)

    records.apply([("prune", [(old.place, old.block, 9.0)])] * 2)

    assert prunable(records) == []


def test_the_room_that_is_taken_shrinks(records: Records):
    for n in range(20):
        records.apply([block(SESSION, 256 * n, 256)])
        end(records, SESSION, 256 * n, 256)
    before = records.look_up("prunable", (b"", 1))[1]

    records.apply([("prune", [(old.place, old.block, 9.0) for old in prunable(records)])])

    assert records.look_up("prunable", (b"", 1))[1] < before / 4


def test_a_holder_lets_go_of_what_is_not_needed(tmp_path: Path):
    from test_results import wait

    store = Results(tmp_path, "wwwwwwww", durability="process")
    task = key(SESSION, 0)
    store.apply([wait(store, 7, b"old", task=task), wait(store, 8, b"young", task=task)])

    store.apply([Gone(task, 7), Gone(task, 99)])

    assert store.find(task, 8, 0)[1] == 5
    assert [file.read_bytes() for file in store.content.rglob("*") if file.is_file()] == [b"young"]
    store.close()


def test_what_is_let_go_of_goes_though_there_is_no_room_for_what_came_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from test_results import wait

    def full(store: Results, *about: list) -> None:
        raise NoRoom("no room")

    store = Results(tmp_path, "wwwwwwww", durability="process")
    task = key(SESSION, 0)
    store.apply([wait(store, 7, b"old", task=task)])
    writes = [wait(store, 8, b"young", task=task), Gone(task, 7)]
    with monkeypatch.context() as patch, pytest.raises(NoRoom):
        patch.setattr(Results, "_take_in", full)
        store.apply(writes)

    assert [file.read_bytes() for file in store.content.rglob("*") if file.is_file()] == []
    assert store.held == (0, 0)
    store.apply(writes)
    assert store.find(task, 8, 0)[1] == 5
    store.close()


def forgettable(records: Records, first: int, count: int) -> list:
    return records.look_up("forgettable", [(SESSION, first, count)])


def test_members_of_a_block_are_forgotten_with_their_aliases_and_a_group_with_its_last(
    records: Records,
):
    records.apply([("group", key(SESSION, 0), 4, "sweep")])
    records.apply([block(SESSION, 1, 2, names=["a", "b"], group=0)])
    records.apply([block(SESSION, 3, 2, names=["c", None], group=0, index=2)])
    end(records, SESSION, 1, 2)
    end(records, SESSION, 3, 2)
    assert [(each, [i for i, _ in ended]) for each, ended in forgettable(records, 2, 2)] == [
        (key(SESSION, 1), [1]),
        (key(SESSION, 3), [0]),
    ]

    records.apply([("forget", key(SESSION, 1), [1], 5.0), ("forget", key(SESSION, 3), [0], 5.0)])

    assert meanings(records, "a", "b", "c") == [["task", SESSION, 1, 1], None, None]
    assert meanings(records, f"{SESSION}.2", f"{SESSION}.0") == [None, ["group", SESSION, 0, 4]]
    assert records.payloads(key(SESSION, 1)) == [b"1", b""]
    assert records.look_up("story", (SESSION, 2)) is None

    records.apply([("forget", key(SESSION, 1), [0], 5.0), ("forget", key(SESSION, 3), [1], 5.0)])

    assert meanings(records, "a", f"{SESSION}.0", f"{SESSION}.4", "last") == [None] * 4
    assert [old.counts for old in prunable(records)] == [[0] * 5] * 2
    prune(records, key(SESSION, 1), key(SESSION, 3))
    assert prunable(records) == []


def test_a_block_that_is_forgotten_is_known_if_it_is_sent_again(records: Records):
    records.apply([block(SESSION, 0, 1)])
    end(records, SESSION, 0, 1)
    records.apply([("forget", key(SESSION, 0), [0], 5.0)])

    asked = ([], [key(SESSION, 0)], [])

    assert records.look_up("submitted", asked).recorded == {key(SESSION, 0)}
    assert forgettable(records, 0, 1) == [(key(SESSION, 0), [])]
