"""How quick tasks are, and what follows from it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mesh.core.pace import (
    OVERHEAD_S,
    PACES_MAX,
    PACKET_TASKS_MAX,
    SLOT_S,
    SLOT_TASKS_MAX,
    WINDOW_S,
    WINDOW_TASKS_MAX,
    Pace,
    Paces,
)


def after(*runs: float) -> Pace:
    """The pace of a function after these runs, one by one."""
    pace = Pace(runs[0])
    for took_s in runs:
        pace.add(took_s, 1, took_s)
    return pace


def test_a_function_is_trusted_after_some_dozens_of_quick_runs():
    assert after(0.0).packet_tasks == 1
    assert after(*[0.0] * 10).packet_tasks == 1
    assert after(*[0.0] * 100).packet_tasks > 10


def test_one_slow_run_takes_trust_away_at_once():
    assert after(*[0.0] * 100, 0.5).packet_tasks == 1


def test_a_long_task_has_no_company():
    pace = after(1.0, 1.0, 1.0)

    assert (pace.packet_tasks, pace.slot_tasks, pace.window_tasks(4)) == (1, 1, 4)


def test_the_quicker_the_deeper():
    depths = [after(*[took_s] * 200).window_tasks(2) for took_s in (1.0, 0.1, 0.01, 0.001, 0.0)]

    assert depths == sorted(depths)
    assert depths[0] == 2 and depths[-1] == WINDOW_TASKS_MAX


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=50), st.integers(0, 512))
def test_whatever_the_runs_the_limits_hold(runs: list[float], slots: int):
    pace = after(*runs)

    assert 1 <= pace.packet_tasks <= PACKET_TASKS_MAX
    assert 1 <= pace.slot_tasks <= SLOT_TASKS_MAX
    assert slots <= pace.window_tasks(slots) <= max(slots, WINDOW_TASKS_MAX)


@given(st.floats(0.001, 10), st.integers(1, 64))
def test_what_waits_is_about_as_much_work_as_was_meant(took_s: float, slots: int):
    pace = after(*[took_s] * 300)

    assert (pace.slot_tasks - 1) * took_s <= SLOT_S
    assert (pace.window_tasks(slots) - slots) * took_s <= slots * WINDOW_S


@given(st.lists(st.floats(0, 0.1), min_size=1, max_size=40))
def test_runs_told_together_count_much_as_those_told_one_by_one(runs: list[float]):
    together = Pace(max(runs))
    together.add(sum(runs), len(runs), max(runs))

    alone = after(*runs)

    assert together.peak_s >= max(runs)
    assert min(runs) - 1e-9 <= together.mean_s - OVERHEAD_S <= max(runs) + 1e-9
    assert abs(together.mean_s - alone.mean_s) <= max(runs) - min(runs) + 1e-9


def test_of_many_functions_the_last_are_remembered():
    paces = Paces()

    for n in range(PACES_MAX + 2):
        paces.add(b"%d" % n, 0.1, 1, 0.1)

    assert paces.of(b"0") is paces.of(b"1") is None
    assert paces.of(b"2") is not None and paces.of(b"%d" % (PACES_MAX + 1)) is paces.latest


def test_each_function_has_a_pace_of_its_own():
    paces = Paces()

    paces.add(b"quick", 0.0, 1, 0.0)
    paces.add(b"slow", 5.0, 1, 5.0)
    paces.add(None, 0.0, 0, 0.0)

    assert paces.of(b"quick").mean_s < 0.001 < 4 < paces.of(b"slow").mean_s
    assert paces.of(b"other") is None
    assert paces.latest is paces.of(b"slow")
