"""What tasks ask for and workers have: who is given what, who is passed, and not for ever."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lone_router import C1, W1, W2, W3, F, LoneRouter

from mesh.core import refusals
from mesh.core.events import Gone
from mesh.core.member import Member
from mesh.core.need import Need
from mesh.core.reserve import SAVE_AFTER_S
from mesh.options import options_of, sparse
from mesh.protocol import messages as m
from mesh.task import Kind

GB = 10**9


def fleet(*workers: dict[str, Any]) -> LoneRouter:
    """A router with a client, and workers: their slots, and what else they have."""
    lone = LoneRouter(lost_after_s=1e6)
    lone.hello(C1)
    for who, has in zip((W1, W2, W3), workers):
        greet(lone, who, **has)
    return lone


def greet(lone: LoneRouter, who: str, slots: int = 4, **has: Any) -> list:
    about = {"slots": slots, "window": has.pop("window", slots), "ends_s": has.pop("ends_s", None)}
    return lone.hello(who, about=about | {"resources": has})


def ask(lone: LoneRouter, first: int, count: int = 1, **options: Any) -> list:
    return lone.submit(C1, first, count, **sparse(options_of(options)))


def where(lone: LoneRouter) -> dict[str, list[int]]:
    """Who has which tasks."""
    return {
        worker.who: sorted(block.first + i for block, i, _ in worker.held.values())
        for worker in lone.core.fleet
    }


def end(lone: LoneRouter, *counters: int) -> list:
    """These tasks are done."""
    said = []
    for worker in list(lone.core.fleet):
        mine = [
            (lease, block.first + i)
            for lease, (block, i, _) in worker.held.items()
            if block.first + i in counters
        ]
        if mine:
            leases, numbers = [x for x, _ in mine], [n for _, n in mine]
            kinds = bytes([Kind.VALUE]) * len(mine)
            done = m.Done([[C1, numbers, leases, kinds, [b"v"] * len(mine)]], worker.window)
            said += lone.say(worker.who, done)
    return said


def test_a_task_goes_where_there_is_what_it_asks_for():
    lone = fleet({}, {"gpu": 1}, {"license": 1})

    ask(lone, 0, resources={"gpu": 1})
    ask(lone, 1, resources={"license": 1})

    assert where(lone) == {W1: [], W2: [0], W3: [1]}


def test_small_tasks_pass_a_big_one_that_waits():
    lone = fleet({"slots": 2, "gpu": 1})

    ask(lone, 0, 2, resources={"gpu": 1})
    ask(lone, 2, 1)
    assert where(lone) == {W1: [0, 2]}

    end(lone, 0)
    assert where(lone) == {W1: [1, 2]}


def test_a_task_of_four_cpus_takes_four_slots():
    lone = fleet({"slots": 6})

    ask(lone, 0, 1, cpus=4)
    ask(lone, 1, 9)

    assert where(lone) == {W1: [0, 1, 2]}


def test_memory_is_counted_where_it_is_known():
    lone = fleet({"mem": 8 * GB}, {})

    ask(lone, 0, 20, memory="5GB")

    assert {who: len(tasks) for who, tasks in where(lone).items()} == {W1: 1, W2: 4}


def test_what_is_asked_for_is_shared_among_those_who_have_it():
    lone = fleet({"gpu": 4}, {"gpu": 4})

    ask(lone, 0, 4, resources={"gpu": 1})

    assert {who: len(tasks) for who, tasks in where(lone).items()} == {W1: 2, W2: 2}


def test_what_needs_something_does_not_wait_behind_what_is_quick():
    lone = fleet({"slots": 1, "window": 50, "gpu": 1})
    ask(lone, 0, 100)
    ask(lone, 100, 1, resources={"gpu": 1})
    assert where(lone)[W1] == list(range(50))

    end(lone, 0)
    end(lone, 1)

    assert 100 in where(lone)[W1]


def test_priorities_hold_between_needs():
    lone = fleet({"slots": 1, "gpu": 1})
    ask(lone, 0)
    ask(lone, 1, 2, resources={"gpu": 1})
    ask(lone, 3, priority=1)
    ask(lone, 4, priority=2, resources={"gpu": 1})
    ask(lone, 5, priority=-1)

    order = []
    for _ in range(6):
        [task] = where(lone)[W1]
        order.append(task)
        end(lone, task)

    assert order == [0, 4, 3, 1, 2, 5]


def test_needs_of_one_priority_take_turns():
    lone = fleet({"slots": 1, "gpu": 1})
    ask(lone, 0, 50, resources={"gpu": 1})
    ask(lone, 50, 50)
    ask(lone, 100, 50, memory="1GB")

    kinds = []
    for _ in range(10):
        [task] = where(lone)[W1]
        kinds.append(task // 50)
        end(lone, task)

    assert sorted(kinds[1:]) == [0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_a_big_one_is_not_passed_for_ever():
    lone = fleet({"slots": 4})
    ask(lone, 0, 4)
    ask(lone, 4, 1000)
    ask(lone, 2000, 1, cpus=4)

    for _ in range(100):
        if 2000 in where(lone)[W1]:
            break
        lone.say(C1, m.Beat())
        lone.tick(1.0)
        end(lone, min(where(lone)[W1]))  # never two at once
    assert where(lone) == {W1: [2000]}

    end(lone, 2000)
    assert len(where(lone)[W1]) == 4, "it is there for others again"


def test_who_is_held_back_gives_up_what_waits_there():
    lone = fleet({"slots": 2, "window": 10})
    ask(lone, 0, 20)
    ask(lone, 100, 1, cpus=2)

    lone.tick(0.0)
    sent = lone.tick(SAVE_AFTER_S)

    assert [(who, each.count) for who, each in sent if isinstance(each, m.Recall)] == [(W1, 8)]


def test_nobody_is_held_back_for_what_nobody_waits_for_any_more():
    lone = fleet({"slots": 2})
    ask(lone, 0, 20)
    ask(lone, 100, 1, cpus=2)
    lone.tick(0.0)
    lone.tick(SAVE_AFTER_S)
    end(lone, 0)
    assert where(lone) == {W1: [1]}

    lone.say(C1, m.Cancel(1, [[C1, 100, 1]], False))
    lone.tick(0.1)

    assert where(lone) == {W1: [1, 2]}


def test_what_nobody_can_run_waits_for_a_worker_that_can():
    lone = fleet({}, {"gpu": 1})
    ask(lone, 0, 1, resources={"gpu": 2})
    ask(lone, 1, 1, cpus=5)
    ask(lone, 2, 8)
    assert where(lone) == {W1: [2, 3, 4, 5], W2: [6, 7, 8, 9]}
    assert len(lone.core.ledger.ready.unable) == 2

    greet(lone, W3, slots=5, gpu=2)

    assert where(lone)[W3] == [0] or where(lone)[W3] == [1]
    end(lone, *where(lone)[W3])
    assert where(lone)[W3] in ([0], [1])


def test_a_worker_may_come_to_have_more():
    lone = fleet({})
    ask(lone, 0, resources={"license": 1})

    lone.say(W1, m.Report({"resources": {"license": 1}}))

    assert where(lone) == {W1: [0]}


def test_what_takes_longer_than_a_worker_has_goes_to_another():
    lone = fleet({"ends_s": 600.0}, {"ends_s": 7200.0})
    ask(lone, 0, 8, time_request="01:00:00")
    assert [len(tasks) for tasks in where(lone).values()] == [0, 4]

    ask(lone, 8, 2, time_request="5m")
    assert [len(tasks) for tasks in where(lone).values()] == [2, 4]

    lone.say(W1, m.Report({"ends_s": None}))
    assert [len(tasks) for tasks in where(lone).values()] == [4, 4]


def test_who_is_past_its_end_is_given_nothing():
    lone = fleet({"slots": 1, "ends_s": 3.0})
    ask(lone, 0, 2)
    lone.tick(4.0)

    end(lone, 0)

    assert where(lone) == {W1: []}


def test_what_a_worker_has_back_is_free_however_it_came_back():
    lone = fleet({"slots": 2, "gpu": 2})
    ask(lone, 0, 3, resources={"gpu": 1})
    [first, second] = lone.core.fleet.workers[W1].held

    lone.say(W1, m.Returned([second], 2))
    assert where(lone) == {W1: [0, 1]}, "it comes again"
    lone.do(Gone(W1.encode()))
    lone.hello(W1, session=2, about={"slots": 2, "window": 2, "resources": {"gpu": 2}}, held=[])
    assert where(lone) == {W1: [0, 1]}
    assert first not in lone.core.fleet.workers[W1].capacity.by_lease


def test_what_an_earlier_router_has_given_counts():
    lone = fleet()
    ask(lone, 0, 3, resources={"gpu": 1})
    about = {"slots": 4, "window": 4, "resources": {"gpu": 2}}

    lone.hello(W1, about=about, held=[[7, C1, 1]])

    assert where(lone) == {W1: [0, 1]}


NEEDS = st.fixed_dictionaries(
    {},
    optional={
        "cpus": st.integers(1, 4),
        "resources": st.fixed_dictionaries(
            {}, optional={"gpu": st.integers(1, 3), "license": st.just(1)}
        ),
        "memory": st.sampled_from([GB, 3 * GB]),
        "priority": st.integers(-1, 1),
    },
)
WORKERS = st.fixed_dictionaries(
    {"slots": st.integers(1, 4)},
    optional={
        "gpu": st.integers(1, 3),
        "license": st.just(1),
        "mem": st.just(4 * GB),
        "window": st.integers(4, 20),
    },
)


@settings(max_examples=60)
@given(
    st.lists(WORKERS, min_size=1, max_size=3),
    st.lists(st.tuples(st.integers(1, 6), NEEDS), min_size=1, max_size=8),
    st.randoms(use_true_random=False),
)
def test_whatever_is_asked_for_what_fits_runs_and_no_more(workers, asked, random):
    lone = fleet(*workers)
    lone.say(C1, m.Function(F, "sim:f", b"code", b"V"))
    for nth, (count, options) in enumerate(asked):
        ask(lone, 100 * nth, count, **options)
        is_held_within_capacity(lone)

    able = [
        any(could(worker, options) for worker in lone.core.fleet) for _, options in asked
    ]  # fmt: skip
    for _ in range(400):
        held = [task for tasks in where(lone).values() for task in tasks]
        if not held:
            break
        end(lone, random.choice(held))
        is_held_within_capacity(lone)
        lone.say(C1, m.Beat())
        lone.tick(1.0)
        is_held_within_capacity(lone)

    left = {task // 100 for task in range(100 * len(asked)) if not has_ended(lone, task)}
    assert left == {nth for nth, can in enumerate(able) if not can}


def could(worker: Member, options: dict[str, Any]) -> bool:
    """Whether an empty worker has what is asked for."""
    has = worker.about["resources"]
    wanted = options.get("resources", {})
    memory = options.get("memory", 0)
    return (
        options.get("cpus", 1) <= worker.slots
        and all(count <= has.get(name, 0) for name, count in wanted.items())
        and memory <= has.get("mem", memory)
    )


def has_ended(lone: LoneRouter, task: int) -> bool:
    found = lone.core.ledger.blocks.find(C1, task)
    return found is None or found[0].states[found[1]] >= 3


def is_held_within_capacity(lone: LoneRouter) -> None:
    """No worker has given away more than it has; nothing that fits somewhere waits."""
    fleet = lone.core.fleet
    for worker in fleet:
        used = dict.fromkeys(["cpus", *worker.about["resources"]], 0)
        for block, _, _ in worker.held.values():
            for name, count in (block.need.amounts if block.need else {}).items():
                if name in used:
                    used[name] += count
        has = worker.about["resources"] | {"cpus": worker.slots}
        assert all(used[name] <= has[name] for name in used), (used, has)
        assert worker.load <= worker.window
    for queue in lone.core.ledger.ready.needs.values():
        waits = queue.tasks
        fits = [worker.who for worker in fleet if worker.fitting(queue.need, lone.now)]
        assert not (waits and fits), (str(queue.need), fits)


@pytest.mark.parametrize("count", [1, 3])
def test_a_million_that_nobody_can_run_cost_a_dispatch_nothing(count: int):
    lone = fleet({})
    for nth in range(count):
        ask(lone, 1000 * nth, 200, resources={"gpu": nth + 1})

    assert list(lone.core.ledger.ready.turns) == [lone.core.ledger.ready.plain]


def test_who_nearly_has_what_a_task_needs_is_named_before_the_many_who_are_alike():
    lone = fleet({"slots": 4}, {"slots": 4}, {"slots": 4, "gpu": 2})
    told = refusals.of_need(lone.core, Need({"cpus": 1, "gpu": 3}), lone.now)

    assert told["waits_for"].endswith(
        f"none of 3 has that. {W3}: has 2 of gpu=3; {W1} and 1 more: has 0 of gpu=3"
    )
    assert [each["id"] for each in told["refusals"]] == [W3, W1, W2] and not told["is_able"]
