"""Which slot gets what: CPUs, GPUs by index, and processes that must not keep what others get."""

from __future__ import annotations

from typing import Any

import pytest

from mesh.core.backlog import Piece
from mesh.core.events import SlotAnswered, SlotExited
from mesh.core.gathering import Gathering
from mesh.core.slots import Slots
from mesh.options import options_of, sparse
from mesh.task import Kind

SESSION, F = "cccccccc", b"f" * 16


class Host:
    """The slots of a worker with GPUs."""

    def __init__(self, count: int, *devices: str) -> None:
        self.slots = Slots(count, "here", Gathering())
        self.slots.feeding.devices = list(devices)
        self.now = 0.0
        self.settle()

    def settle(self) -> list[tuple[int, int]]:
        """One turn: who was given which lease. Slots that are to be replaced are, at once."""
        self.slots.start(self.now)
        given: list[tuple[int, int]] = []
        for _ in range(4):
            self.slots.feeding.fill(self.now)
            self.slots.feeding.level()
            orders, self.slots.orders = self.slots.orders, type(self.slots.orders)()
            given += [
                (number, piece.lease + i)
                for number, piece, a, b in orders.tasks
                for i in range(a, b)
            ]
            for number in orders.starts:
                self.slots.is_ready(number, 1000 + number)
            for number in orders.retire:
                self.slots.exited(SlotExited(number, "ended", []), self.now)
                self.slots.start(self.now)
            self.slots.check()
        return given

    def take(self, lease: int, count: int = 1, **options: Any) -> list[tuple[int, int]]:
        about = sparse(options_of(options))
        self.slots.take(Piece([SESSION, lease, lease, F, about, [b""] * count]))
        return self.settle()

    def end(self, lease: int) -> list[tuple[int, int]]:
        [slot] = [slot for slot in self.slots if lease in slot.line]
        self.slots.answered(
            SlotAnswered(slot.number, [(lease, Kind.VALUE, b"", 10.0, False)]), self.now
        )
        return self.settle()

    def answer(self, number: int, count: int) -> list[tuple[int, int]]:
        """A slot has run so many, quickly."""
        leases = list(self.slots[number].line)[:count]
        rows = [(lease, Kind.VALUE, b"", 0.0, False) for lease in leases]
        self.slots.answered(SlotAnswered(number, rows), self.now)
        return self.settle()

    def gpus(self, lease: int) -> tuple[str, ...] | None:
        """What a task has that runs."""
        [slot] = [slot for slot in self.slots if lease in slot.line]
        return slot.crew.devices


def test_a_task_of_several_cpus_keeps_as_many_slots_empty():
    host = Host(4)
    assert len(host.take(1, cpus=3)) == 1
    assert len(host.take(10, 3)) == 1, "one is left"

    assert len(host.end(1)) == 2


def test_what_stands_side_by_side_is_run_by_one_slot():
    host = Host(2)
    host.slots.paces.add(F, 0.0, 1000, 0.0)

    given = host.take(1, 1000)
    by_slot = {number: [lease for each, lease in given if each == number] for number, _ in given}
    runs = [range(leases[0], leases[-1] + 1) for leases in by_slot.values()]

    assert sorted(by_slot) == [0, 1]
    assert [list(run) for run in runs] == list(by_slot.values())

    half = len(host.slots[0].line) // 2
    assert not host.answer(0, half - 1), "it is not half empty"
    assert len(host.answer(0, 1)) >= half


@pytest.mark.parametrize(("slots", "count"), [(2, 5), (2, 9), (4, 5), (8, 9), (64, 65), (64, 100)])
@pytest.mark.parametrize("took_s", [0.0, 0.0015, 10.0])
def test_little_is_shared(slots: int, count: int, took_s: float):
    host = Host(slots)
    host.slots.paces.add(F, took_s * 1000, 1000, took_s)

    host.take(1, count)

    assert all(slot.line for slot in host.slots), "none idles beside work"
    lengths = [len(slot.line) for slot in host.slots]
    assert max(lengths) - min(lengths) <= 1


def test_what_asks_for_something_goes_before_what_does_not():
    host = Host(2)
    host.take(1, 5)
    assert host.take(10, cpus=2) == []

    assert host.end(1) == []
    assert [lease for _, lease in host.end(2)] == [10]
    assert sorted(lease for _, lease in host.end(10)) == [3, 4]


def test_gpus_at_one_time_are_distinct():
    host = Host(3, "0", "1", "3")

    host.take(1, 3, resources={"gpu": 1})

    assert sorted(host.gpus(lease) or () for lease in (1, 2, 3)) == [("0",), ("1",), ("3",)]


def test_a_task_without_has_none():
    host = Host(2, "0")
    host.take(1, 2)

    assert (host.gpus(1), host.gpus(2)) == ((), ())


def test_where_there_are_none_slots_are_nobodys():
    host = Host(1)
    host.take(1)

    assert host.gpus(1) is None


def test_the_process_that_has_them_gets_the_next_one_for_them():
    host = Host(2, "0", "1")
    [(first, _)] = host.take(1, resources={"gpu": 1})
    pid = host.slots[first]
    host.end(1)

    assert host.take(2, resources={"gpu": 1}) == [(first, 2)]
    assert host.slots[first] is pid and host.gpus(2) == ("0",)


@pytest.mark.parametrize("before", [{}, {"resources": {"gpu": 2}}])
def test_a_process_that_had_others_is_replaced_first(before: dict[str, Any]):
    host = Host(1, "0", "1")
    host.take(1, **before)
    old = host.slots[0]
    host.end(1)

    assert host.take(2, resources={"gpu": 1}) == [(0, 2)]
    assert host.slots[0] is not old and host.gpus(2) == ("0",)


def test_nobody_idles_on_what_another_gets():
    host = Host(2, "0", "1")
    host.take(1, 2, resources={"gpu": 1})
    host.end(1)
    host.end(2)

    host.take(3, resources={"gpu": 2})

    assert host.gpus(3) == ("0", "1")
    assert not any(slot.crew.devices for slot in host.slots if 3 not in slot.line)


def test_a_slot_that_had_gpus_is_replaced_for_what_asks_for_none():
    host = Host(1, "0")
    host.take(1, resources={"gpu": 1})
    host.end(1)

    assert host.take(2) == [(0, 2)]
    assert host.gpus(2) == ()
