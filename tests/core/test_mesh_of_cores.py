"""Real cores over wires that drop, repeat, delay and cut, while whatever can die or stop does so.

Each seed is one tale of a few hundred events in an order of its own (`tale.py`). Whatever happens,
every task that was acknowledged ends with one recorded outcome, its client and who watches it hear
just that one, and nothing is left in anybody's hands. A failing seed is in the test's name;
`MESH_SEEDS=1000:9000 pytest tests/core/test_mesh_of_cores.py` looks for more.
"""

from __future__ import annotations

import os
from collections import Counter

import pytest
from fakes.client import Client, Task
from fakes.deeds import ERROR, FLAKY, OK, STORED
from fakes.router import placeless
from fakes.world import World
from tale import Tale

from mesh.core import pace
from mesh.core.ledger import RECORD
from mesh.task import SUCCESS, Kind, key, show

SEEDS = range(*map(int, os.environ.get("MESH_SEEDS", "0:60").split(":")))


@pytest.fixture(autouse=True)
def trust(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers believe at once that a function is quick: what takes trust is tried as well."""
    monkeypatch.setattr(pace, "PEAK_FIRST_S", 0.0)


@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_happens_every_task_ends_once_and_its_client_hears_it(seed: int):
    tale = Tale(seed)

    tale.tell()

    world = tale.world
    for client in world.clients.values():
        for counter, task in client.tasks.items():
            ended_as_recorded(world, client, counter, task)
            ended_as_it_should(task)
            ended_after_what_it_takes(world, client.session, counter, task)
    assert len(world.outcomes) == sum(world.router.core.ledger.counts)
    each_alias_was_computed_once(world)


@pytest.mark.parametrize("seed", SEEDS[:30])
def test_what_is_lost_strands_nobody(seed: int):
    tale = Tale(seed, {"files", "router"})

    tale.tell()

    world = tale.world
    for client in world.clients.values():
        for counter, task in client.tasks.items():
            ended_as_recorded(world, client, counter, task)
            ended_as_it_should(task)
            ended_after_what_it_takes(world, client.session, counter, task)


@pytest.mark.parametrize("seed", SEEDS[:30])
def test_who_leaves_loses_nothing(seed: int):
    tale = Tale(seed, {"leaving"} if seed % 2 else {"leaving", "router", "cuts"})

    tale.tell()

    world = tale.world
    assert not world.lost
    for client in world.clients.values():
        for counter, task in client.tasks.items():
            ended_as_recorded(world, client, counter, task)
            record = world.recorded(client.session, counter)
            if record is not None and record[0] == Kind.STORED:
                _, lease, store = RECORD.unpack_from(record)
                assert (key(client.session, counter), lease) in world.stores[store.decode()]


@pytest.mark.parametrize("seed", SEEDS[:30])
def test_what_is_recorded_does_not_run_twice_because_routers_restart(seed: int):
    tale = Tale(seed, {"router"})

    tale.tell()

    runs: Counter[tuple[str, int]] = Counter()
    for worker in tale.world.workers.values():
        runs.update(worker.runs)
    for client in tale.world.clients.values():
        for counter, task in client.tasks.items():
            once = task.payload.startswith((OK, STORED)) and "time_limit" not in task.options
            if once and (client.session, counter) not in tale.unrecorded:
                assert runs[client.session, counter] <= 1, show(client.session, counter)


def ended_as_recorded(world: World, client: Client, counter: int, task: Task) -> None:
    """What the client heard is what the store has. The router tells before it records: what it
    told and had not recorded when it died is the one thing that may come out otherwise."""
    where = task.older or (client.session, counter)
    assert key(*where) in world.outcomes, show(*where)
    record, recorded_by = world.outcomes[key(*where)]
    now = world.recorded(*where)
    assert now is not None and placeless(now) == placeless(record)
    told = client.heard[where]
    is_again = key(*where) in world.lost and told[0] == record[0]
    heard = placeless(RECORD.pack(told[0], RECORD.unpack_from(record)[1], record[9:17]) + told[1])
    assert heard == placeless(record) or told[2] < recorded_by or is_again, show(*where)


def ended_as_it_should(task: Task) -> None:
    """The end of a task is one that its payload, its options and its client allow."""
    kind = Kind(task.ended[0])
    allowed = {Kind.CANCELLED, Kind.WORKER_LOST, Kind.SLOT_LOST}
    if "time_limit" in task.options or task.older is not None:  # whose limit it may be
        allowed.add(Kind.TIMED_OUT)
    if "memory" in task.options or task.older is not None:
        allowed.add(Kind.OUT_OF_MEMORY)
    if task.inputs or task.older is not None:
        allowed.add(Kind.UNMET)
    if task.alias == "fought over":
        allowed.add(Kind.REFUSED)
    if task.payload.startswith(STORED):
        allowed.add(Kind.STORED)
    elif task.payload.startswith(OK):
        allowed.add(Kind.VALUE)
    elif task.payload.startswith(ERROR):
        allowed.add(Kind.ERROR)
    elif task.payload.startswith(FLAKY):
        allowed |= {Kind.VALUE, Kind.ERROR}
    assert kind in allowed, task


def ended_after_what_it_takes(world: World, session: str, counter: int, task: Task) -> None:
    """Nothing is recorded of a task unless all that it takes has come to something; and it fails
    of that alone if some of it has failed, or was not there when the task was submitted."""
    if task.older is not None or not task.inputs:
        return
    ends = [end_of(world, *each) for each in task.inputs]
    end = end_of(world, session, counter)
    if end in SUCCESS:
        assert all(each in SUCCESS for each in ends), task
    elif end == Kind.UNMET:
        payloads = [world.tasks[each].payload for each in task.inputs if each in world.tasks]
        is_lost = any(world.meant(*each) in world.lost for each in task.inputs)
        assert not all(each in SUCCESS for each in ends) or b"ok late" in payloads or is_lost, task


def end_of(world: World, session: str, counter: int) -> int | None:
    """The recorded kind of a task, or of the older one that it is."""
    record = world.recorded(session, counter, older=True)
    return None if record is None else record[0]


def each_alias_was_computed_once(world: World) -> None:
    """Of all tasks under one alias at most one came to a result that was recorded: the others found
    or joined it; unless its result was lost."""
    computed: dict[tuple[str, bytes], list[str]] = {}
    for client in world.clients.values():
        for counter, task in client.tasks.items():
            record = world.recorded(client.session, counter)
            is_lost = key(client.session, counter) in world.lost
            if task.alias and record is not None and record[0] in SUCCESS and not is_lost:
                where = show(client.session, counter)
                computed.setdefault((task.alias, task.payload), []).append(where)
    assert [(alias, t) for alias, t in computed.items() if len(t) > 1] == []
