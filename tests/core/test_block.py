"""Blocks: tasks side by side, found by id."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.core.block import HOLE, Block, Blocks
from mesh.task import State, key

QUEUED, RUNNING, DONE = State.QUEUED, State.RUNNING, State.DONE
SESSION, OTHER = "aaaaaaaa", "bbbbbbbb"


def block(
    first: int, size: int, session: str = SESSION, names: list[str | None] | None = None
) -> Block:
    return Block(session, first, size, b"f", {}, None, 0, names, 0)


def test_a_new_block_is_all_queued():
    made = block(3, 4)

    assert list(made.states) == [QUEUED] * 4
    assert made.left == 4
    assert made.key == key(SESSION, 3)
    assert made.priority == 0


def test_its_priority_is_an_option():
    made = Block(SESSION, 0, 1, b"f", {"priority": -7}, None, 0, None, 0)

    assert made.priority == -7


@given(st.lists(st.sampled_from([QUEUED, RUNNING, DONE, HOLE])), st.data())
def test_queued_runs_are_the_maximal_ones(states: list[int], data: st.DataObject):
    made = block(0, len(states))
    made.states[:] = bytes(states)
    low = data.draw(st.integers(0, len(states)))
    high = data.draw(st.integers(low, len(states)))

    runs = list(made.queued_runs(low, high))

    queued = [i for start, end in runs for i in range(start, end)]
    assert queued == [i for i in range(low, high) if states[i] == QUEUED]
    assert all(start < end for start, end in runs)
    assert all(end < start for (_, end), (start, _) in itertools.pairwise(runs))


def test_a_task_is_found_in_its_block():
    blocks = Blocks()
    made = [block(0, 3), block(10, 2), block(5, 1), block(0, 1, OTHER)]
    for each in made:
        blocks.add(each)

    assert blocks.find(SESSION, 2) == (made[0], 2)
    assert blocks.find(SESSION, 11) == (made[1], 1)
    assert blocks.find(SESSION, 5) == (made[2], 0)
    assert blocks.find(OTHER, 0) == (made[3], 0)
    for session, counter in ((SESSION, 3), (SESSION, 9), (SESSION, 12), (OTHER, 1), ("?", 0)):
        assert blocks.find(session, counter) is None
    assert len(blocks) == len(list(blocks)) == 4


def test_a_task_before_the_first_block_is_not_found():
    blocks = Blocks()
    blocks.add(block(10, 2))

    assert blocks.find(SESSION, 9) is None


@given(
    st.lists(st.tuples(st.integers(1, 4), st.integers(0, 3)), max_size=8),
    st.integers(0, 40),
    st.integers(0, 40),
)
def test_what_overlaps_a_span_is_found_whole(layout: list[tuple[int, int]], first: int, count: int):
    blocks, at = Blocks(), 0
    tasks: set[int] = set()
    for size, gap in layout:
        blocks.add(block(at, size))
        tasks.update(range(at, at + size))
        at += size + gap

    found = [
        each.first + i
        for each, low, high in blocks.overlapping(SESSION, first, count)
        for i in range(low, high)
    ]

    assert found == sorted(tasks & set(range(first, first + count)))


def test_tasks_are_gone_through_in_the_order_of_their_ids():
    blocks = Blocks()
    made = [block(4, 2), block(0, 2), block(0, 1, "zzzzzzzz")]
    for each in made:
        blocks.add(each)

    def behind(session: str, counter: int) -> list[tuple[str, int]]:
        return [
            (each.session, each.first + i)
            for each, low in blocks.behind(session, counter)
            for i in range(low, each.size)
        ]

    everything = [(SESSION, 0), (SESSION, 1), (SESSION, 4), (SESSION, 5), ("zzzzzzzz", 0)]
    assert behind("", -1) == everything
    for at, task in enumerate(everything):
        assert behind(*task) == everything[at + 1 :]
    assert behind(SESSION, 2) == everything[2:]


def test_a_dropped_block_is_not_found():
    blocks = Blocks()
    made = [block(0, 2), block(2, 2), block(4, 2)]
    for each in made:
        blocks.add(each)

    blocks.drop(made[1])

    assert blocks.find(SESSION, 2) is None
    assert blocks.find(SESSION, 1) == (made[0], 1)
    assert blocks.find(SESSION, 4) == (made[2], 0)
    blocks.check()


def test_the_last_block_of_a_session_leaves_nothing_behind():
    blocks = Blocks()
    made = block(0, 2)
    blocks.add(made)

    blocks.drop(made)

    assert len(blocks) == 0
    assert list(blocks.overlapping(SESSION, 0, 10)) == []
    blocks.check()


def test_aliases_lead_to_open_tasks_alone():
    blocks = Blocks()
    made = block(0, 3, names=["a", None, "c"])
    made.states[2] = DONE
    made.left = 2

    blocks.add(made)

    assert blocks.names == {"a": (made, 0)}
    blocks.check()


def breaking() -> dict[str, tuple]:
    def count(blocks: Blocks, made: Block) -> None:
        made.left += 1

    def empty(blocks: Blocks, made: Block) -> None:
        made.states[:] = bytes([DONE] * made.size)
        made.left = 0

    def alias(blocks: Blocks, made: Block) -> None:
        blocks.names["b"] = (made, 0)

    def ended_alias(blocks: Blocks, made: Block) -> None:
        made.states[0] = DONE
        made.left -= 1

    return {each.__name__: each for each in (count, empty, alias, ended_alias)}


@pytest.mark.parametrize("how", breaking())
def test_check_notices_what_is_wrong(how: str):
    blocks = Blocks()
    made = block(0, 2, names=["a", None])
    blocks.add(made)
    blocks.check()

    breaking()[how](blocks, made)

    with pytest.raises(AssertionError):
        blocks.check()
