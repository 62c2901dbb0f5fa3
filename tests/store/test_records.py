"""The router's records: written, looked up, restored."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.core.block import HOLE
from mesh.core.ledger import RECORD
from mesh.core.restored import Restored
from mesh.errors import StoreError
from mesh.protocol import outcome
from mesh.store import records as module
from mesh.store.records import TABLES, Records
from mesh.store.tables import KEY_BYTES_MAX, LmdbTables, MemoryTables, Tables
from mesh.task import Kind, State, key, parse

FIXTURES = Path(__file__).parent / "fixtures"
SESSION = "k3f9x2m2"
OTHER = "k3zzzzzz"
F, G = b"f" * 16, b"g" * 16

Open = Callable[[], Records]


@pytest.fixture(params=["lmdb", "memory"])
def reopen(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    """Opens the same records, each time as a new life of the router."""
    opened: list[Tables] = []

    def tables() -> Tables:
        if request.param == "memory":
            return opened[0] if opened else MemoryTables(TABLES)
        while opened:
            opened.pop().close()
        return LmdbTables(tmp_path / "records.mdb", TABLES, durability="process")

    def make() -> Records:
        made = tables()
        opened[:] = [made]
        return Records(made, b"entropy 16 bytes", "meshmesh")

    request.addfinalizer(lambda: [each.close() for each in opened])
    return make


def function(digest: bytes = F, name: str = "sim:simulate") -> tuple[Any, ...]:
    return "function", digest, name, b"code" + digest[:4], b"V" + digest


def block(
    session: str,
    first: int,
    size: int,
    *,
    names: list[str | None] | None = None,
    group: int | None = None,
    index: int = 0,
    holes: tuple[int, ...] = (),
    foreign: dict[int, tuple[str, int]] | None = None,
    sequence: int = 0,
    options: dict[str, Any] | None = None,
) -> tuple[Any, ...]:
    """The write of a block; its payloads are its counters as text."""
    header = [size, F, options or {}, group, index, names, sequence, bytes(holes)]
    payloads = [b"%d" % (first + i) for i in range(size)] if len(holes) < size else None
    marks = None if names is None else [b"mark%04d" % (first + i) for i in range(size)]
    return "block", session, first, header, foreign or {}, payloads, marks


def ended(session: str, *ends: tuple[int, Kind]) -> tuple[Any, ...]:
    return "outcomes", [(key(session, counter), record(kind)) for counter, kind in ends]


def record(kind: Kind) -> bytes:
    return bytes([kind]) + bytes(16) + b"body of " + kind.name.encode()


def states(restored: Restored) -> dict[tuple[str, int], list[int]]:
    return {(each.session, each.first): list(each.states) for each in restored.blocks}


# -- a life and the next ---------------------------------------------------------------------


def test_a_new_store_has_an_identity_that_it_keeps(reopen: Open):
    first = reopen().restore()

    second = reopen().restore()

    assert (first.mesh, first.birth) == ("meshmesh", b"entropy 16 bytes")
    assert (second.mesh, second.birth) == (first.mesh, first.birth)
    assert (first.epoch, second.epoch) == (1, 2)


def test_the_next_epoch_is_recorded_before_it_is_used(reopen: Open):
    reopen().restore()
    reopen().restore()

    assert reopen().restore().epoch == 3


def test_an_empty_store_restores_to_nothing(reopen: Open):
    restored = reopen().restore()

    assert restored.blocks == []
    assert restored.ended == [0] * (len(State) + 1)
    assert restored.sessions == restored.functions == restored.roster == {}


def test_open_blocks_come_back_with_what_ended(reopen: Open):
    store = reopen()
    store.apply([function(), block(SESSION, 5, 4, sequence=3, options={"priority": 7})])
    store.apply([ended(SESSION, (5, Kind.VALUE), (7, Kind.ERROR))])

    [back] = reopen().restore().blocks

    assert (back.session, back.first, back.size, back.sequence) == (SESSION, 5, 4, 3)
    assert list(back.states) == [State.DONE, State.QUEUED, State.FAILED, State.QUEUED]
    assert (back.left, back.priority, back.function) == (2, 7, F)


def test_what_ran_when_the_router_died_is_queued(reopen: Open):
    reopen().apply([function(), block(SESSION, 0, 2)])

    assert states(reopen().restore()) == {(SESSION, 0): [State.QUEUED] * 2}


def test_a_closed_block_does_not_come_back(reopen: Open):
    store = reopen()
    store.apply([function(), block(SESSION, 0, 1), block(SESSION, 1, 1)])
    store.apply([ended(SESSION, (0, Kind.VALUE)), ("close", key(SESSION, 0), 0.0)])

    assert list(states(reopen().restore())) == [(SESSION, 1)]


def test_a_block_whose_tasks_all_ended_does_not_come_back_even_if_never_closed(reopen: Open):
    reopen().apply([function(), block(SESSION, 0, 1), ended(SESSION, (0, Kind.VALUE))])

    assert reopen().restore().blocks == []


def test_holes_stay_holes(reopen: Open):
    names = ["a", "b", "c"]
    reopen().apply([function(), block(SESSION, 0, 3, names=names, holes=(1,))])

    [back] = reopen().restore().blocks

    assert list(back.states) == [State.QUEUED, HOLE, State.QUEUED]
    assert (back.left, back.names) == (2, names)


def test_a_block_of_nothing_but_holes_is_recorded_and_not_open(reopen: Open):
    store = reopen()
    store.apply([function(), block(SESSION, 0, 2, names=["a", "b"], holes=(0, 1))])

    restored = reopen().restore()

    assert restored.blocks == []
    assert restored.sessions == {SESSION: 1}


def test_vain_tries_are_remembered(reopen: Open):
    reopen().apply([function(), block(SESSION, 0, 3), ("tries", key(SESSION, 1), (1, 2, 3))])

    [back] = reopen().restore().blocks

    assert list(back.tries) == [1]
    tries = back.tries[1]
    assert (tries.errors, tries.slot_losses, tries.worker_losses) == (1, 2, 3)


def test_counts_functions_sessions_and_workers_come_back(reopen: Open):
    store = reopen()
    store.apply([function(), function(G, "sim:plot"), block(SESSION, 0, 3), block(OTHER, 0, 1)])
    store.apply([("worker", "wwwwwwww", {"slots": 2}), ("worker", "vvvvvvvv", {"slots": 1})])
    store.apply([("worker", "vvvvvvvv", None), ("counts", [4, 3, 2, 1, 5])])

    restored = reopen().restore()

    assert restored.ended == [0, 0, 0, 4, 3, 2, 1, 5]
    assert restored.functions == {F: ("sim:simulate", b"codeffff"), G: ("sim:plot", b"codegggg")}
    assert restored.sessions == {SESSION: 2, OTHER: 0}
    assert restored.roster == {"wwwwwwww": {"slots": 2}}


def test_the_highest_counter_of_a_session_never_falls(reopen: Open):
    store = reopen()

    store.apply([function(), block(SESSION, 100, 5), block(SESSION, 0, 5)])

    assert reopen().restore().sessions == {SESSION: 104}


def test_writes_are_all_or_nothing(reopen: Open):
    store = reopen()

    with pytest.raises(KeyError):
        store.apply([function(), block(SESSION, 0, 1), ("no such write",)])

    assert reopen().restore().blocks == []


def test_payloads_and_functions_are_read_for_dispatch(reopen: Open):
    store = reopen()
    store.apply([function(), block(SESSION, 3, 3)])

    assert store.payloads(key(SESSION, 3)) == [b"3", b"4", b"5"]
    assert store.function(F) == b"V" + F


def test_what_is_missing_for_dispatch_is_named(reopen: Open):
    store = reopen()

    with pytest.raises(StoreError, match=rf"arguments of block {SESSION}\.3 are missing"):
        store.payloads(key(SESSION, 3))
    with pytest.raises(StoreError, match=f"function {F.hex()} is missing"):
        store.function(F)


def test_an_open_block_without_a_header_is_said_to_be_damaged(reopen: Open):
    store = reopen()
    with store.tables.begin(write=True) as txn:
        txn.put("open", key(SESSION, 3), b"")

    with pytest.raises(StoreError, match=rf"block {SESSION}\.3 is open and has no header"):
        store.restore()


# -- looking up ------------------------------------------------------------------------------


def test_outcomes_are_found_by_span(reopen: Open):
    store = reopen()
    store.apply([function(), block(SESSION, 0, 4), ended(SESSION, (1, Kind.VALUE))])

    assert store.look_up("outcomes", [(SESSION, 0, 3), (OTHER, 9, 1)]) == [
        (SESSION, 0, None, None),
        (SESSION, 1, record(Kind.VALUE), None),
        (SESSION, 2, None, None),
        (OTHER, 9, None, None),
    ]


def test_what_finds_no_room_is_known_but_not_what_may_not_be_told_yet(reopen: Open):
    store = reopen()
    store.apply([function(), block(SESSION, 0, 3), ended(SESSION, (0, Kind.CANCELLED))])
    stuck = [
        ended(SESSION, (1, Kind.VALUE), (2, Kind.CANCELLED)),
        block(SESSION, 3, 2, names=["a", "b"], foreign={1: (SESSION, 1)}),
    ]
    tasks, alias = ("outcomes", [(SESSION, 0, 5)]), ("submitted", (["a"], [key(SESSION, 3)], []))

    outcomes, (known, recorded, _) = store.look_up_amid(stuck, [tasks, alias])

    assert outcomes == [
        (SESSION, 0, record(Kind.CANCELLED), None),
        (SESSION, 1, record(Kind.VALUE), None),
        *((SESSION, counter, None, None) for counter in (2, 3, 4)),
    ]
    assert list(known) == ["a"] and recorded == {key(SESSION, 3)}
    assert store.look_up(*alias) == ({}, set(), {}), "nothing was recorded"

    store.apply(stuck)
    assert store.look_up(*tasks)[2:] == [
        (SESSION, 2, record(Kind.CANCELLED), None),
        (SESSION, 3, None, None),
        (SESSION, 4, None, (SESSION, 1, record(Kind.VALUE))),
    ]


def test_a_member_that_is_an_older_task_leads_to_it(reopen: Open):
    store = reopen()
    store.apply([function(), block(OTHER, 0, 2, names=["a", "b"])])
    older = {0: (OTHER, 0), 1: (OTHER, 1)}
    store.apply([block(SESSION, 5, 3, names=["a", "b", "c"], holes=(0, 1), foreign=older)])
    store.apply([ended(OTHER, (1, Kind.VALUE))])

    assert store.look_up("outcomes", [(SESSION, 5, 3)]) == [
        (SESSION, 5, None, (OTHER, 0, None)),
        (SESSION, 6, None, (OTHER, 1, record(Kind.VALUE))),
        (SESSION, 7, None, None),
    ]


def who_has(store: Records, aliases: list[str]) -> dict[str, Any]:
    return store.look_up("submitted", (aliases, [], []))[0]


def test_blocks_that_are_there_are_known_from_those_that_are_not(reopen: Open):
    store = reopen()
    store.apply([function(), block(SESSION, 0, 2), block(SESSION, 4, 2, names=["a", "b"])])
    store.apply([ended(SESSION, (0, Kind.VALUE), (1, Kind.VALUE)), ("close", key(SESSION, 0), 0.0)])

    asked = [key(SESSION, first) for first in (0, 1, 2, 4, 6)]

    assert store.look_up("submitted", ([], asked, []))[:2] == (
        {},
        {key(SESSION, 0), key(SESSION, 4)},
    )


def test_an_alias_leads_to_its_task_and_call(reopen: Open):
    store = reopen()
    names = ["T=1", None, "T=3"]
    store.apply([function(), block(SESSION, 4, 3, names=names), ended(SESSION, (6, Kind.VALUE))])

    found = who_has(store, ["T=1", "T=2", "T=3"])

    assert found == {
        "T=1": ([SESSION, 4, "sim:simulate", b"codeffff", b"mark0004"], None),
        "T=3": ([SESSION, 6, "sim:simulate", b"codeffff", b"mark0006"], record(Kind.VALUE)),
    }


def test_who_has_lost_its_result_has_its_alias_no_more(reopen: Open):
    store = reopen()
    store.apply([function(), block(SESSION, 0, 2, names=["a", "b"])])
    stored = {
        0: RECORD.pack(Kind.STORED, 7, b"wwwwwwww"),
        1: RECORD.pack(Kind.STORED, 8, b"wwwwwwww"),
    }
    store.apply([("outcomes", [(key(SESSION, i), raw + b"a ref") for i, raw in stored.items()])])

    store.apply(
        [("lost", key(SESSION, 0), 7, "wwwwwwww"), ("lost", key(SESSION, 9), 8, "wwwwwwww")]
    )
    store.apply(
        [("lost", key(SESSION, 1), 7, "wwwwwwww"), ("lost", key(SESSION, 1), 8, "vvvvvvvv")]
    )

    store = reopen()
    assert who_has(store, ["a", "b"]).keys() == {"b"}
    assert meanings(store, "a") == [["task", SESSION, 0, 1]], "what is asked for by it is told why"


def test_an_alias_means_the_last_task_that_got_it_and_holes_get_none(reopen: Open):
    store = reopen()
    store.apply([function(), block(SESSION, 0, 1, names=["a"]), block(SESSION, 1, 1, names=["a"])])
    store.apply([block(SESSION, 2, 2, names=["a", "b"], holes=(0,))])

    found = who_has(store, ["a", "b"])

    assert [found[name][0][1] for name in ("a", "b")] == [1, 3]


@pytest.mark.parametrize(
    "alias",
    ["x" * 256, "é" * 256, "T=2.3/λ", "caf\udce9.dat", "\0", "a" * KEY_BYTES_MAX + "b"],
    ids=["long", "long in bytes", "greek", "surrogate", "zero", "longer than a key"],
)
def test_any_alias_is_found(reopen: Open, alias: str):
    store = reopen()
    store.apply([function(), block(SESSION, 0, 2, names=[alias, alias + "!"])])

    found = who_has(store, [alias, alias + "!", alias + "?"])

    assert {name: entry[0][1] for name, entry in found.items()} == {alias: 0, alias + "!": 1}
    assert reopen().restore().blocks[0].names == [alias, alias + "!"]


def test_a_group_knows_its_size_name_and_older_members(reopen: Open):
    store = reopen()
    store.apply([function(), ("group", key(SESSION, 0), 300, "a sweep")])
    older = {3: (OTHER, 7), 255: (OTHER, 8)}
    store.apply([block(SESSION, 1, 256, group=0, index=0, foreign=older)])
    store.apply([block(SESSION, 257, 44, group=0, index=256, foreign={43: (OTHER, 9)})])

    found = store.look_up("group", key(SESSION, 0))

    assert found == {
        "size": 300,
        "name": "a sweep",
        "foreign": [[3, OTHER, 7, 1], [255, OTHER, 8, 1], [299, OTHER, 9, 1]],
    }


def test_older_members_that_follow_each_other_are_told_as_one(reopen: Open):
    store = reopen()
    store.apply([("group", key(SESSION, 0), 600, None), function()])
    for first in (1, 257):
        older = {i: (OTHER, 10 + first + i) for i in range(256)}
        store.apply([block(SESSION, first, 256, group=0, foreign=older)])
    apart = {0: (OTHER, 523), 1: (OTHER, 525), 2: (SESSION, 526), 4: (SESSION, 528)}
    store.apply([block(SESSION, 513, 5, group=0, foreign=apart)])

    assert store.look_up("group", key(SESSION, 0))["foreign"] == [
        [0, OTHER, 11, 513],
        [513, OTHER, 525, 1],
        [514, SESSION, 526, 1],
        [516, SESSION, 528, 1],
    ]


def test_the_older_members_of_one_group_are_not_those_of_the_next(reopen: Open):
    store = reopen()
    store.apply([("group", key(SESSION, 0), 1, None), ("group", key(SESSION, 2), 1, None)])
    store.apply([function(), block(SESSION, 1, 1, group=0, foreign={0: (OTHER, 1)})])
    store.apply([block(SESSION, 3, 1, group=2, foreign={0: (OTHER, 2)})])

    assert store.look_up("group", key(SESSION, 0))["foreign"] == [[0, OTHER, 1, 1]]
    assert store.look_up("group", key(SESSION, 2))["foreign"] == [[0, OTHER, 2, 1]]
    assert store.look_up("group", key(SESSION, 1)) is None


def meanings(store: Records, *texts: str) -> list[Any]:
    return store.look_up("texts", [(text, parse(text)) for text in texts])


def test_a_text_means_a_task_a_group_or_an_alias(reopen: Open):
    store = reopen()
    store.apply([function(), ("group", key(SESSION, 0), 4, None)])
    store.apply([block(SESSION, 1, 4, group=0, names=["T=1", None, None, None])])

    assert meanings(store, f"{SESSION}.0", f"{SESSION}.4", "T=1") == [
        ["group", SESSION, 0, 4],
        ["task", SESSION, 4, 1],
        ["task", SESSION, 1, 1],
    ]


@pytest.mark.parametrize(
    "text",
    [
        f"{SESSION}.9",
        f"{OTHER}.0",
        "T=9",
        "",
        ".",
        ".1",
        "k3f",
        "k3f.",
        "k3f.x",
        "k3f.²",
        "zz.0",
        "k3f.0.0",
        "k3f." + "9" * 30,
        "k3f." + "9" * 5000,
        "k" * 600 + ".1",
        "é.1",
    ],
    ids=lambda text: text[:12],
)
def test_a_text_that_means_nothing_has_no_meaning(reopen: Open, text: str):
    store = reopen()
    store.apply([function(), block(SESSION, 0, 4)])

    assert meanings(store, text) == [None]


def test_a_prefix_means_something_as_long_as_it_is_of_one_id_alone(reopen: Open):
    store = reopen()
    store.apply([function(), block(SESSION, 0, 4)])
    assert meanings(store, "k3.2", "k.2", "k3f9x2m2.2") == [["task", SESSION, 2, 1]] * 3

    store.apply([block(OTHER, 0, 3)])

    assert meanings(store, "k3.2", "k3.3", "k3f.2", "k3z.2") == [
        ["several", f"{SESSION}.2", f"{OTHER}.2"],
        ["task", SESSION, 3, 1],
        ["task", SESSION, 2, 1],
        ["task", OTHER, 2, 1],
    ]


def test_of_many_ids_with_a_prefix_one_more_is_told_than_will_be_shown(reopen: Open):
    store = reopen()
    store.apply([function(), *(block(f"k3f9x2m{c}", 0, 1) for c in "23456789")])

    assert meanings(store, "k.0") == [["several", *(f"k3f9x2m{c}.0" for c in "234567")]]
    assert meanings(store, "k.1") == [None]


def test_last_is_what_was_submitted_last(reopen: Open):
    store = reopen()
    assert meanings(store, "last") == [None]

    store.apply([function(), block(SESSION, 0, 3)])
    assert meanings(store, "last") == [["task", SESSION, 2, 1]]

    store.apply([("group", key(OTHER, 0), 300, None), block(OTHER, 1, 256, group=0)])
    store.apply([block(OTHER, 257, 44, group=0, index=256)])
    assert meanings(store, "last") == [["group", OTHER, 0, 300]]

    store.apply([block(SESSION, 3, 1)])
    assert meanings(reopen(), "last") == [["task", SESSION, 3, 1]]


def test_a_task_that_is_an_older_one_means_that_one(reopen: Open):
    store = reopen()
    store.apply([function(), block(OTHER, 9, 1)])
    store.apply([block(SESSION, 0, 2, names=["a", None], holes=(0,), foreign={0: (OTHER, 9)})])

    assert meanings(store, f"{SESSION}.0", f"{SESSION}.1") == [
        ["task", OTHER, 9, 1],
        ["task", SESSION, 1, 1],
    ]


def test_an_alias_comes_before_a_prefix_and_an_id(reopen: Open):
    store = reopen()
    store.apply([function(), block(SESSION, 0, 3, names=["k3f.2", f"{SESSION}.2", None])])

    assert meanings(store, "k3f.2", f"{SESSION}.2") == [
        ["task", SESSION, 0, 1],
        ["task", SESSION, 1, 1],
    ]


def test_ended_tasks_are_listed_by_state_up_to_a_limit(reopen: Open):
    store = reopen()
    store.apply([function(), block(SESSION, 0, 4, names=["a", None, "c", None])])
    ends = [(0, Kind.VALUE), (1, Kind.ERROR), (2, Kind.STORED), (3, Kind.CANCELLED)]
    store.apply([ended(SESSION, *ends)])

    def listed(
        *wanted: State, limit: int = 10, first: bytes = b""
    ) -> list[tuple[str, str, str | None]]:
        rows = store.look_up("ended", (list(wanted), limit, first))
        assert all(row["function"] == "sim:simulate" for row in rows)
        return [(row["id"], row["state"], row["name"]) for row in rows]

    assert listed(State.DONE) == [(f"{SESSION}.0", "done", "a"), (f"{SESSION}.2", "done", "c")]
    assert listed(State.FAILED, State.CANCELLED, limit=1) == [(f"{SESSION}.1", "failed", None)]
    assert listed(State.DONE, first=key(SESSION, 1)) == [(f"{SESSION}.2", "done", "c")]
    assert listed(State.EXPIRED) == []


# -- any writes ------------------------------------------------------------------------------

ENDS = st.sampled_from([Kind.VALUE, Kind.STORED, Kind.ERROR, Kind.CANCELLED, Kind.WORKER_LOST])


@st.composite
def lives(draw: st.DrawFn) -> list[list[tuple[Any, ...]]]:
    """Transactions as a router writes them: blocks, ends in any order, blocks closed."""
    turns: list[list[tuple[Any, ...]]] = [[function()]]
    first = {SESSION: 0, OTHER: 0}
    waiting: dict[tuple[str, int], list[int]] = {}
    for sequence in range(draw(st.integers(0, 12))):
        turn: list[tuple[Any, ...]] = []
        if draw(st.booleans()):
            session = draw(st.sampled_from([SESSION, OTHER]))
            size = draw(st.integers(1, 5))
            holes = tuple(draw(st.sets(st.integers(0, size - 1))))
            turn.append(block(session, first[session], size, holes=holes, sequence=sequence))
            tasks = [i for i in range(size) if i not in holes]
            if tasks:
                waiting[session, first[session]] = tasks
            first[session] += size + draw(st.integers(0, 2))
        elif waiting:
            session, start = draw(st.sampled_from(sorted(waiting)))
            tasks = waiting[session, start]
            i = tasks.pop(draw(st.integers(0, len(tasks) - 1)))
            if draw(st.booleans()):
                turn.append(("tries", key(session, start + i), (1, 0, 2)))
            turn.append(ended(session, (start + i, draw(ENDS))))
            if not tasks:
                turn.append(("close", key(session, start), 0.0))
                del waiting[session, start]
        turns.append(turn)
    return turns


@given(lives())
def test_any_life_restores_to_what_a_plain_model_says(turns: list[list[tuple[Any, ...]]]):
    tables = MemoryTables(TABLES)
    restored_equals_model(Records(tables, bytes(16), "m"), turns)


def test_any_life_restores_from_lmdb_as_well(tmp_path: Path):
    @given(lives())
    def check(turns: list[list[tuple[Any, ...]]]) -> None:
        with tables.begin(write=True) as txn:
            for table in TABLES:
                for row, _ in list(txn.scan(table)):
                    txn.delete(table, row)
        restored_equals_model(Records(tables, bytes(16), "m"), turns)

    tables = LmdbTables(tmp_path / "records.mdb", TABLES, durability="process")
    check()
    tables.close()


def restored_equals_model(store: Records, turns: list[list[tuple[Any, ...]]]) -> None:
    model: dict[tuple[str, int], list[int]] = {}
    highest: dict[str, int] = {}
    outcomes: dict[tuple[str, int], bytes] = {}
    for turn in turns:
        store.apply(turn)
        for what, *about in turn:
            if what == "block":
                session, first, header = about[:3]
                model[session, first] = [
                    HOLE if i in header[7] else int(State.QUEUED) for i in range(header[0])
                ]
                highest[session] = first + header[0] - 1
            elif what == "outcomes":
                for task, raw in about[0]:
                    session, counter = task[:8].decode(), int.from_bytes(task[8:], "big")
                    outcomes[session, counter] = raw
                    [start] = [
                        f for s, f in model if s == session and f <= counter < f + len(model[s, f])
                    ]
                    model[session, start][counter - start] = {
                        Kind.VALUE: State.DONE,
                        Kind.STORED: State.DONE,
                        Kind.ERROR: State.FAILED,
                        Kind.CANCELLED: State.CANCELLED,
                        Kind.WORKER_LOST: State.FAILED,
                    }[Kind(raw[0])]

    restored = store.restore()

    still_open = {where: has for where, has in model.items() if State.QUEUED in has}
    assert states(restored) == still_open
    assert restored.sessions == highest
    for session, last in highest.items():
        assert store.look_up("outcomes", [(session, 0, last + 2)]) == [
            (session, counter, outcomes.get((session, counter)), None)
            for counter in range(last + 2)
        ]


# -- other versions --------------------------------------------------------------------------


def test_a_store_of_a_newer_schema_is_refused_and_left_alone(
    reopen: Open, monkeypatch: pytest.MonkeyPatch
):
    store = reopen()
    with store.tables.begin(write=True) as txn:
        txn.put("meta", b"schema", msgpack.packb(module.SCHEMA + 1))

    with pytest.raises(StoreError, match="has schema 6, this Mesh reads schema 5: use the Mesh"):
        reopen()

    monkeypatch.setattr(module, "SCHEMA", 6)
    assert reopen().restore().epoch == 1


def test_a_store_of_schema_1_is_refused(tmp_path: Path):
    shutil.copy(FIXTURES / "schema1.mdb", tmp_path)
    tables = LmdbTables(tmp_path / "schema1.mdb", TABLES, durability="process")

    with pytest.raises(StoreError, match="has schema 1, this Mesh reads schema 5: use the Mesh"):
        Records(tables, b"", "")
    tables.close()


def test_a_store_that_schema_2_wrote_is_still_read(tmp_path: Path):
    shutil.copy(FIXTURES / "schema2.mdb", tmp_path)
    store = Records(LmdbTables(tmp_path / "schema2.mdb", TABLES, durability="process"), b"", "")

    restored = store.restore()

    assert (restored.mesh, restored.birth, restored.epoch) == ("meshmesh", b"b" * 16, 2)
    assert restored.ended == [0, 0, 0, 1, 1, 0, 0, 0]
    assert restored.sessions == {"aaaabbbb": 0, SESSION: 4}
    assert restored.functions == {F: ("sim:simulate", b"codecode")}
    assert restored.roster == {"wwwwwwww": {"host": "node7", "slots": 2}}
    [back] = restored.blocks
    assert list(back.states) == [HOLE, State.QUEUED, State.FAILED, State.QUEUED]
    assert (back.options, back.names) == ({"retries": 2}, ["T=2.3", None, "T=2.5", None])
    assert back.tries[1].worker_losses == 3
    assert store.payloads(back.key) == [b"0", b"1", b"2", b"3"]
    assert store.function(F) == b"Vpickle"
    assert who_has(store, ["T=2.3"])["T=2.3"][0][:2] == ["aaaabbbb", 0]
    assert store.look_up("group", key(SESSION, 0)) == {
        "size": 4,
        "name": "a sweep",
        "foreign": [[0, "aaaabbbb", 0, 1]],
    }
    assert meanings(store, "last") == [["group", SESSION, 0, 4]]
    [(_, _, record, _)] = store.look_up("outcomes", [("aaaabbbb", 0, 1)])
    ref = outcome.parse_ref(outcome.parse(record[17:]).rest)
    assert ref == outcome.Ref(key("aaaabbbb", 0), 7, 0, 100_000, 1, b"wwwwwwww")
    store.close()
