"""What goes from a store that is over its quota: a router's core with a store, and a worker's."""

from __future__ import annotations

from typing import Any

import pytest
from lone_router import C1, W1
from test_pruning import LOST_AFTER_S
from test_recovery import C2, Losing
from test_worker import LoneWorker

from mesh.core.clearing import FULL_S
from mesh.core.events import Committed, Found, Gone, Oldest, Tick
from mesh.protocol import messages as m
from mesh.protocol.outcome import REF, body
from mesh.protocol.stores import FULL, GOES, STAYS
from mesh.task import Kind, key


class Full(Losing):
    """A mesh whose worker asks what may go."""

    def may_go(self, *counters: int) -> list[bool]:
        """Of which tasks the results may go."""
        self.told = []
        rows = [[C1, counter, self.leases[counter]] for counter in counters]
        self.say(W1, m.Offer(FULL, rows))
        self.store()
        [settled] = [each for _, each in self.told if type(each) is m.Settled]
        assert {row[3] for row in settled.rows} <= {GOES, STAYS}
        return [row[3] == GOES for row in settled.rows]

    def make(self, *takes: int, **options: Any) -> int:
        counter = self.add(*takes, **options)
        self.leases = {**getattr(self, "leases", {}), counter: self.end(counter)}
        return counter

    def put(self) -> int:
        counter, self.next = self.next, self.next + 1
        ref = REF.pack(key(C1, counter), counter, 0, 9, 9, W1.encode())
        self.say(C1, m.Put([[counter, bytes([Kind.STORED]), body(0.0, 0.0, b"", ref), 0]]))
        self.say(W1, m.Taken([[C1, counter, ""]]))
        self.store()
        self.leases = {**getattr(self, "leases", {}), counter: counter}
        return counter

    def client_leaves(self, *, heard: bool = True) -> None:
        if heard:
            self.wait(2 * LOST_AFTER_S)
        self.do(Gone(C1.encode()))
        self.store()


def test_what_its_client_has_fetched_may_go_and_is_said_to_be_evicted():
    mesh = Full()
    kept, fetched = mesh.make(), mesh.make()
    mesh.say(C1, m.Fetched([[C1, fetched, 0, 9]]))

    assert mesh.may_go(kept, fetched) == [False, True]

    about = {"task": key(C1, fetched), "lease": mesh.leases[fetched], "store": W1}
    mesh.say(C1, m.Ask(7, "lost", about))
    mesh.store()
    assert mesh.answer(7) == (None, "evicted")


def test_that_it_goes_is_on_disk_before_its_worker_is_told():
    mesh = Full()
    maker = mesh.make()
    mesh.say(C1, m.Fetched([[C1, maker, 0, 9]]))
    mesh.store()
    mesh.told = []
    mesh.say(W1, m.Offer(FULL, [[C1, maker, mesh.leases[maker]]]))
    [(token, what, about)] = mesh.lookups
    mesh.lookups = []
    mesh.do(Found(token, mesh.records.look_up(what, about)))
    assert not [each for _, each in mesh.told if type(each) is m.Settled]
    mesh.store()
    assert [each for _, each in mesh.told if type(each) is m.Settled]


def test_what_an_open_task_takes_stays_and_goes_when_that_has_ended():
    mesh = Full()
    maker = mesh.make()
    mesh.say(C1, m.Fetched([[C1, maker, 0, 9]]))
    taker = mesh.add(maker)
    assert mesh.may_go(maker) == [False]
    mesh.end(taker, Kind.VALUE)
    assert mesh.may_go(maker) == [True]


@pytest.mark.parametrize("heard", [True, False])
def test_what_nobody_has_fetched_goes_when_its_client_has_heard_of_it_and_is_gone(heard: bool):
    mesh = Full()
    maker, only_once = mesh.make(), mesh.make(rerun=False)
    assert mesh.may_go(maker, only_once) == [False, False]
    mesh.client_leaves(heard=heard)
    assert mesh.may_go(maker, only_once) == [heard, False]


def test_what_was_put_stays_while_its_client_or_what_takes_it_is_there():
    mesh = Full()
    put, taken = mesh.put(), mesh.put()
    mesh.make(taken)
    mesh.say(C1, m.Fetched([[C1, put, 0, 9]]))
    assert mesh.may_go(put, taken) == [False, False]
    mesh.client_leaves()
    assert mesh.may_go(put, taken) == [True, False]


def test_what_the_records_do_not_name_there_stays():
    mesh = Full()
    mesh.leases = {99: 7}
    assert mesh.may_go(99) == [False]


def test_what_was_evicted_is_made_again_for_a_task_that_takes_it():
    mesh = Full()
    maker = mesh.make()
    mesh.say(C1, m.Fetched([[C1, maker, 0, 9]]))
    assert mesh.may_go(maker) == [True]
    mesh.add(maker)
    assert mesh.lease_of(maker), "it runs again, without asking the store in vain"
    mesh.hello(C2)


# -- the worker's side ---------------------------------------------------------------------------


class Crowded(LoneWorker):
    """A worker whose store has a quota of 1000 bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.core.clearing.quota_bytes = 1000

    def holds(self, size: int) -> Any:
        self.core.keeping.stored(9, size)
        return self.turn(Tick())

    def said(self, turn: Any, kind: type) -> list[Any]:
        return [each.message for each in turn.sends if type(each.message) is kind]


def test_over_its_quota_it_lets_go_of_copies_first():
    lone = Crowded()
    assert lone.holds(1000).oldest_behind is None
    assert lone.holds(1001).oldest_behind is not None
    turn = lone.turn(Oldest([[C1, 1, 7, 40], [C1, 2, 8, 40]], [[C1, 3, 9, 500]]))

    assert [lease for _, lease in turn.drop] == [7, 8]
    assert lone.said(turn, m.Lost) == [m.Lost([[C1, 1, 7, "wwwwwwww"], [C1, 2, 8, "wwwwwwww"]])]
    assert lone.said(turn, m.Offer) == []


def test_then_it_asks_for_the_oldest_and_lets_go_of_what_may_go():
    lone = Crowded()
    lone.holds(1500)
    own = [[C1, n, 10 + n, 300] for n in range(3)]
    turn = lone.turn(Oldest([], own))
    assert lone.said(turn, m.Offer) == [m.Offer(FULL, [row[:3] for row in own[:2]])]
    assert lone.holds(1500).oldest_behind is None, "it has asked"

    turn = lone.hear(m.Settled([[C1, 0, 10, GOES], [C1, 1, 11, STAYS]]))
    assert [lease for _, lease in turn.drop] == [10]
    assert lone.turn(Tick()).oldest_behind is None, "it is not gone yet"
    lone.core.handle(Committed(turn.drop_ticket), lone.now)
    assert lone.holds(1200).oldest_behind == (11, key(C1, 1)), "those behind are asked for next"


def test_when_nothing_may_go_it_takes_no_tasks_says_so_once_and_looks_again():
    lone = Crowded()
    lone.holds(1500)
    turn = lone.turn(Oldest([], []))
    assert "quota" in turn.warning and lone.core.window == 0
    assert not lone.core.may_begin(lone.now)

    until = lone.now + FULL_S
    while (turn := lone.hear(m.Beat())).oldest_behind is None:
        lone.now += 1.0
    assert lone.now >= until
    assert lone.turn(Oldest([], [])).warning is None
    turn = lone.holds(900)
    assert lone.core.window > 0 and [each.window for each in lone.said(turn, m.Done)] == [1]
