"""The ready queue: priority, then fairness between sessions, then age."""

from __future__ import annotations

import itertools
import tracemalloc
from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from mesh.core.block import Block
from mesh.core.queue import Queue
from mesh.task import State

QUEUED, RUNNING = int(State.QUEUED), int(State.RUNNING)


def block(session: str, size: int, priority: int = 0, first: int = 0) -> Block:
    options = {"priority": priority} if priority else {}
    return Block(session, first, size, b"f", options, None, 0, None, 0)


def taken(ready: Queue, most: int = 1) -> Iterator[str]:
    """Who is taken, as a dispatcher takes: each at once begins to run."""
    while (found := ready.take(most)) is not None:
        made, low, high = found
        assert 0 < high - low <= most
        made.states[low:high] = bytes([RUNNING]) * (high - low)
        yield made.session[0] * (high - low)


def queue(*blocks: Block) -> Queue:
    ready = Queue()
    for each in blocks:
        ready.push(each, 0, each.size)
    return ready


def test_nothing_is_ready_at_first():
    assert Queue().take(1) is None
    assert Queue().tasks == 0


def test_the_oldest_of_a_session_goes_first():
    first, second = block("a", 2), block("a", 1, first=2)
    ready = queue(first, second)

    assert [ready.take(1) for _ in range(2)] == [(first, 0, 1), (first, 1, 2)]
    assert ready.take(1) == (second, 0, 1)


def test_sessions_take_turns():
    assert list(taken(queue(block("a", 4), block("b", 2), block("c", 1)))) == list("abcabaa")


def test_a_million_tasks_of_one_do_not_keep_another_waiting():
    many, few = block("a", 1_000_000), block("b", 3)

    first = [who for who, _ in zip(taken(queue(many, few)), range(6))]

    assert first == list("ababab")


def test_a_turn_is_as_long_as_the_taker_has_room():
    assert list(taken(queue(block("a", 5), block("b", 3)), most=2)) == ["aa", "bb", "aa", "b", "a"]


def test_larger_priorities_go_first_and_negative_ones_last():
    ready = queue(block("a", 2), block("b", 1, -5), block("c", 1, 3), block("d", 2, 3))

    assert list(taken(ready)) == list("cddaab")


def test_a_later_larger_priority_overtakes():
    ready = queue(block("a", 3))
    ready.take(1)

    ready.push(block("b", 1, 1), 0, 1)

    assert next(taken(ready)) == "b"


def test_what_comes_back_goes_before_its_session_but_not_before_others():
    mine, back = block("a", 2), block("a", 1, first=9)
    ready = queue(mine, block("b", 1))

    ready.push(back, 0, 1, first=True)

    assert ready.take(1) == (back, 0, 1)
    assert next(taken(ready)) == "b"
    assert ready.take(5) == (mine, 0, 2)


def test_what_has_ended_meanwhile_is_left_out():
    made = block("a", 5)
    ready = queue(made)

    made.states[0] = made.states[3] = State.CANCELLED

    assert ready.take(5) == (made, 1, 3)
    assert ready.take(5) == (made, 4, 5)
    assert ready.take(5) is None
    assert ready.tasks == 0


def test_what_is_promised_twice_is_given_once():
    made = block("a", 3)
    ready = queue(made, made)

    assert list(taken(ready, most=2)) == ["aa", "a"]
    assert ready.tasks == 0


@given(st.data())
def test_it_does_as_a_naive_list_does(data: st.DataObject):
    # Given sessions with a few blocks each, and a list that does the same slowly
    ready = Queue()
    model: dict[tuple[int, str], list[tuple[Block, int, int]]] = {}  # with the number of a push
    pushes = itertools.count()
    turns: dict[int, list[str]] = {}
    blocks: list[Block] = []

    def push(made: Block, low: int, high: int, first: bool) -> None:
        ready.push(made, low, high, first=first)
        lane = model.setdefault((made.priority, made.session), [])
        nth = next(pushes)
        tasks = [(made, i, nth) for i in range(low, high)]
        lane[:] = tasks + lane if first else lane + tasks
        turn = turns.setdefault(made.priority, [])
        if made.session not in turn:
            turn.append(made.session)

    def naive(most: int) -> tuple[Block, int, int] | None:
        for priority in sorted(turns, reverse=True):
            while turns[priority]:
                session = turns[priority].pop(0)
                lane = model[priority, session]
                while lane and lane[0][0].states[lane[0][1]] != QUEUED:
                    lane.pop(0)
                if not lane:
                    continue
                made, low, nth = lane.pop(0)
                high = low + 1
                while (
                    high - low < most
                    and lane
                    and lane[0] == (made, high, nth)
                    and made.states[high] == QUEUED
                ):
                    lane.pop(0)
                    high += 1
                if lane:
                    turns[priority].append(session)
                return made, low, high
        return None

    # When blocks come in, are taken, end and come back
    for _ in range(data.draw(st.integers(1, 30))):
        what = data.draw(st.sampled_from(["push", "take", "take", "end", "back"]))
        if what == "push":
            session = data.draw(st.sampled_from("abc"))
            size, priority = data.draw(st.integers(1, 4)), data.draw(st.integers(-1, 1))
            blocks.append(block(session, size, priority, first=10 * len(blocks)))
            push(blocks[-1], 0, size, False)
        elif what == "take":
            # Then both give the same
            most = data.draw(st.integers(1, 5))
            expected, got = naive(most), ready.take(most)
            assert got == expected
            if got is not None:
                made, low, high = got
                made.states[low:high] = bytes([RUNNING]) * (high - low)
        elif blocks:
            made = data.draw(st.sampled_from(blocks))
            i = data.draw(st.integers(0, made.size - 1))
            if what == "end" and made.states[i] != State.DONE:
                made.states[i] = State.DONE
            elif what == "back" and made.states[i] == RUNNING:
                made.states[i] = QUEUED
                push(made, i, i + 1, True)

        promised = sum(made.states[i] == QUEUED for lane in model.values() for made, i, _ in lane)
        assert ready.tasks >= promised


def test_what_becomes_ready_in_a_block_that_waits_joins_it():
    """As of two layers of a graph: their tasks become ready in turns, and travel in long runs."""
    one, two = block("a", 6), block("a", 6, first=6)
    ready = Queue()
    for low in (0, 2, 4):
        ready.push(one, low, low + 2)
        ready.push(two, low, low + 2)
    assert ready.tasks == 12
    assert [ready.take(9), ready.take(9)] == [(one, 0, 6), (two, 0, 6)]
    assert ready.take(1) is None and not ready.has_any()


def test_what_comes_back_goes_before_other_blocks():
    one, two = block("a", 2), block("a", 3, first=2)
    ready = queue(one)
    ready.push(two, 0, 2)
    assert ready.take(2) == (one, 0, 2)
    ready.push(two, 2, 3, first=True)
    ready.push(one, 1, 2, first=True)
    assert [ready.take(9) for _ in range(3)] == [(one, 1, 2), (two, 2, 3), (two, 0, 2)]


def test_a_block_that_waits_takes_little_memory():
    """A client that submits one by one, of two functions in turns, makes a block of each task."""
    blocks = [block("a", 1, first=each) for each in range(1000)]
    ready = Queue()
    tracemalloc.start()
    for each in blocks:
        ready.push(each, 0, 1)
    taken_bytes, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert taken_bytes < 150 * len(blocks)
