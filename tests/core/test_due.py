"""What waits for its time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mesh.core.block import Block, Tries
from mesh.core.due import PAUSE_S_MAX, Due, pause_s
from mesh.task import State, key

tasks = st.integers(0, 2**40).map(lambda counter: key("cccccccc", counter))


def waiting(count: int) -> Block:
    block = Block("cccccccc", 0, count, b"f" * 16, {}, None, 0, None, 0)
    for i in range(count):
        block.states[i] = State.WAITING
        block.tries[i] = Tries(errors=1)
    return block


@given(st.floats(0, 1e6), st.integers(1, 10_000), tasks)
def test_a_pause_doubles_within_its_bounds(base_s: float, errors: int, task: bytes):
    whole = min(base_s * 2.0 ** min(errors - 1, 40), PAUSE_S_MAX)
    assert whole / 2 <= pause_s(base_s, errors, task) <= whole


def test_what_failed_together_does_not_come_back_together():
    pauses = {pause_s(8, 3, key("cccccccc", counter)) for counter in range(1000)}
    assert len(pauses) > 990 and max(pauses) - min(pauses) > 15


def test_tasks_come_when_they_are_due_and_in_that_order():
    due, block = Due(), waiting(5)
    for i in range(5):
        due.add(block, i, 10, now=100 - i)
    times = sorted(tries.due for tries in block.tries.values())

    assert due.next == times[0]
    assert list(due.pop(times[0] - 0.001)) == []
    first = [i for _, i in due.pop(times[2])]
    assert [block.tries[i].due for i in first] == times[:3]
    assert due.next == times[3]


def test_what_went_on_without_waiting_is_left_out():
    due, block = Due(), waiting(2)
    due.add(block, 0, 10, now=0)
    due.add(block, 1, 10, now=0)
    block.states[0] = State.CANCELLED
    due.add(block, 1, 10, now=50)  # it ran meanwhile, failed, and waits again

    assert list(due.pop(20)) == []
    assert list(due.pop(70)) == [(block, 1)]
    assert due.next == float("inf")


def test_without_a_pause_it_is_due_at_once():
    due, block = Due(), waiting(1)
    due.add(block, 0, 0, now=7)
    assert list(due.pop(7)) == [(block, 0)]
