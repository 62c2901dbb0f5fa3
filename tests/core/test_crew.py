"""Slots that share a process: where tasks go, and what becomes of them when it dies."""

from __future__ import annotations

from typing import Any

from mesh.core.backlog import Piece
from mesh.core.events import SlotAnswered, SlotExited
from mesh.core.gathering import Gathering
from mesh.core.slots import Slots
from mesh.options import options_of, sparse
from mesh.task import Kind

SESSION, F = "cccccccc", b"f" * 16


class Host:
    """A worker's slots: `count` processes, each with so many `threads`."""

    def __init__(self, count: int, threads: int, tasks_max: int | None = None) -> None:
        self.gathered = Gathering()
        self.slots = Slots(count, "here", self.gathered, tasks_max, threads)
        self.orders = self.slots.orders
        self.settle()

    def settle(self) -> dict[int, int]:
        """One turn: lease → slot of what began; processes start at once."""
        self.slots.start(0.0)
        for process in self.slots.orders.starts:
            for slot in self.slots.crews[process].slots:
                self.slots.is_ready(slot.number, 1000 + process)
        self.slots.feeding.fill(0.0)
        self.orders, self.slots.orders = self.slots.orders, type(self.slots.orders)()
        self.slots.check()
        return {
            piece.lease + i: number
            for number, piece, low, high in self.orders.tasks
            for i in range(low, high)
        }

    def take(self, lease: int, count: int = 1, **options: Any) -> dict[int, int]:
        about = sparse(options_of(options))
        self.slots.take(Piece([SESSION, lease, lease, F, about, [b""] * count]))
        return self.settle()

    def end(self, lease: int) -> dict[int, int]:
        [slot] = [slot for slot in self.slots if lease in slot.line]
        row = (lease, Kind.VALUE, b"", 10.0, False)
        self.slots.answered(SlotAnswered(slot.number, [row]), 0.0)
        return self.settle()

    def die(self, process: int) -> dict[int, int]:
        self.slots.exited(SlotExited(process, "was killed by SIGSEGV", []), 0.0)
        return self.settle()

    def ended(self) -> dict[int, int]:
        """lease → kind of what has ended since this was asked last."""
        return {row[1]: row[2] for rows in self.gathered.take() for row in _flat(rows)}


def _flat(rows: Any) -> Any:
    for session, counters, leases, kinds, bodies in rows:
        yield from zip([session] * len(leases), leases, kinds, bodies, counters)


def test_tasks_are_spread_over_processes():
    host = Host(2, 3)
    begun = host.take(1, 4)
    assert sorted(slot // 3 for slot in begun.values()) == [0, 0, 1, 1]
    assert len(host.take(10, 5)) == 2, "six in all"


def test_of_those_that_ran_in_a_process_which_died_each_runs_alone_and_the_guilty_is_found():
    host = Host(1, 3)
    host.take(1, 3)

    first = host.die(0)
    assert len(first) == 1 and not host.ended()
    [guilty] = first
    second = host.die(0)
    assert host.ended() == {guilty: Kind.SLOT_LOST}
    assert len(second) == 1

    [innocent] = second
    third = host.end(innocent)
    assert len(third) == 1
    host.end(*third)
    assert set(host.ended().values()) == {Kind.VALUE}
    assert len(host.take(10, 3)) == 3, "together again"


def test_what_a_process_is_ended_for_is_nothing_to_its_neighbours():
    host = Host(1, 2)
    begun = host.take(1, 2)
    host.slots.cancel(1)
    assert host.settle() == {} and host.orders.kills == [(begun[1], 1)]
    assert host.slots.struck(begun[1], 0.0)

    assert list(host.die(0)) == [2]
    assert host.ended() == {1: Kind.CANCELLED}
    assert not host.slots.alone, "nobody is suspected"


def test_one_that_answers_its_interrupt_leaves_the_process_to_its_neighbours():
    host = Host(1, 2)
    begun = host.take(1, 2)
    host.slots.cancel(1)
    host.settle()
    host.slots.struck(begun[1], 0.0)

    assert host.end(1) == {} and not host.orders.retire
    assert host.ended() == {1: Kind.CANCELLED}
    assert host.take(3) == {3: begun[1]}
    assert host.slots.deadline(0.0) == float("inf"), "nobody is told to end any more"


def test_a_task_whose_memory_is_weighed_has_the_process_to_itself():
    host = Host(1, 3)
    host.take(1)
    assert host.take(2, memory=1000) == {}
    assert host.take(3) == {}, "those behind it wait"
    assert list(host.end(1)) == [2]
    assert list(host.end(2)) == [3]


def test_a_process_that_makes_room_is_replaced_when_all_has_ended():
    host = Host(1, 2)
    host.take(1, 2)
    host.slots.makes_room(0)
    assert host.end(1) == {} and not host.orders.retire
    host.end(2)
    assert len(host.orders.retire) == 1
    assert host.take(3) == {}
    assert list(host.die(0)) == [3]
