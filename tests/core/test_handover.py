"""What a worker that leaves has made: a router's core with a store, and workers that are names."""

from __future__ import annotations

from typing import Any

from lone_router import C1, W1, W2, W3
from test_recovery import Losing

from mesh.core.events import Gone
from mesh.core.router import RouterCore
from mesh.protocol import messages as m
from mesh.protocol.outcome import LOG_STORED, REF, body, parse, parse_ref
from mesh.protocol.stores import GOES, LEAVES, SPARE, STAYS
from mesh.task import Kind, key


def about(who: str, **more: Any) -> dict[str, Any]:
    place = {"data": f"ipc://{who}", "host": "h", "content": f"/{who}"}
    return {"slots": 300, "window": 300, **place, **more}


class Leaving(Losing):
    """A mesh of which the worker that makes everything leaves."""

    def __init__(self, *others: str, home: str = "") -> None:
        super().__init__()
        self.home = home
        for who in (W1, *others):
            self.greet(who)

    def greet(self, who: str, session: int = 2) -> list:
        more = {"window": 300 if who == W1 else 0} | ({"home": True} if who == self.home else {})
        sent = self.hello(who, session=session, about=about(who, **more))
        self.core.fleet.workers[who].about |= about(who, **more)
        self.store()
        return sent

    def offer(self, *kept: tuple[int, int]) -> None:
        self.told = []
        self.say(W1, m.Offer(LEAVES, [[C1, counter, lease] for counter, lease in kept]))
        self.store()

    def adopts(self, who: str, *kept: tuple[int, int], why: str = "", of: str = W1) -> None:
        self.say(who, m.Adopted([[C1, counter, lease, of, why] for counter, lease in kept]))
        self.store()

    def orders(self) -> list[tuple[str, int]]:
        """Who was told to adopt what: counters."""
        told = [(who, each) for who, each in self.told if type(each) is m.Adopt]
        return [
            (who, int.from_bytes(parse_ref(row[0]).task[8:], "big"))
            for who, each in told
            for row in each.refs
        ]

    def drops(self) -> list[tuple[str, int]]:
        """Who was told to let go of what: counters."""
        told = [(who, each) for who, each in self.told if type(each) is m.Drop]
        return list(dict.fromkeys((who, row[1]) for who, each in told for row in each.leases))

    def settled(self) -> list[tuple[int, int]]:
        """What becomes of what was offered: counter, fate."""
        rows = [row for _, each in self.told if type(each) is m.Settled for row in each.rows]
        return sorted((row[1], row[3]) for row in rows)

    def store_of(self, counter: int) -> str:
        kind, raw = self.record(counter)
        assert kind == Kind.STORED
        return parse_ref(parse(raw).rest).holder


def test_the_home_worker_adopts_it_and_its_record_names_that_store():
    mesh = Leaving(W2, W3, home=W3)
    maker = mesh.add()
    lease = mesh.end(maker)

    mesh.offer((maker, lease))
    assert (mesh.orders(), mesh.settled()) == ([(W3, maker)], [])
    assert mesh.store_of(maker) == W1
    mesh.adopts(W3, (maker, lease))

    assert mesh.store_of(maker) == W3
    assert mesh.settled() == [(maker, GOES)]
    [due] = mesh.records.look_up("drops", (W1, b"", 9))
    assert (due.counter, due.lease) == (maker, lease), "should the store come back"
    story = mesh.records.look_up("story", (C1, maker))
    assert [(each["from"], each["to"]) for each in story["moves"]] == [(W1, W3)]
    assert (story["runs"][-1]["worker"], story["result"]["store"]) == (W1, W3)


def test_a_store_that_is_to_have_it_again_is_not_told_to_let_go_of_it():
    mesh = Leaving(W2)
    maker = mesh.add()
    lease = mesh.end(maker)
    mesh.offer((maker, lease))
    mesh.adopts(W2, (maker, lease))
    mesh.do(Gone(W1.encode()))  # before it was told
    mesh.greet(W1, 3)
    assert len(mesh.records.look_up("drops", (W1, b"", 9))) == 1

    mesh.told = []
    mesh.say(W2, m.Offer(LEAVES, [[C1, maker, lease]]))
    mesh.store()
    assert mesh.orders() == [(W1, maker)]
    mesh.wait(60)
    assert not mesh.drops()
    mesh.adopts(W1, (maker, lease), of=W2)
    mesh.wait(60)
    assert mesh.store_of(maker) == W1
    assert not mesh.drops()
    listed = [len(mesh.records.look_up("drops", (who, b"", 9))) for who in (W1, W2)]
    assert listed == [0, 1], "the other one is to, when it is back"


def test_if_it_does_not_take_it_it_is_told_then():
    mesh = Leaving(W2)
    maker = mesh.add()
    lease = mesh.end(maker)
    mesh.offer((maker, lease))
    mesh.adopts(W2, (maker, lease))
    mesh.do(Gone(W1.encode()))
    mesh.greet(W1, 3)
    mesh.say(W2, m.Offer(LEAVES, [[C1, maker, lease]]))
    mesh.store()

    mesh.told = []
    mesh.adopts(W1, (maker, lease), of=W2, why="no room")
    mesh.wait(60)
    assert mesh.drops() == [(W1, maker)]


def test_it_is_not_settled_before_the_move_is_on_disk():
    mesh = Leaving(W2)
    maker = mesh.add()
    lease = mesh.end(maker)
    mesh.offer((maker, lease))

    mesh.say(W2, m.Adopted([[C1, maker, lease, W1, ""]]))
    assert mesh.settled() == []
    mesh.store()

    assert mesh.settled() == [(maker, GOES)]


def test_if_it_is_the_home_worker_the_peer_that_has_least_does():
    mesh = Leaving(W2, W3, home=W1)
    mesh.say(W2, m.Report(about(W2, stored_bytes=10)))
    maker = mesh.add()
    lease = mesh.end(maker)
    mesh.offer((maker, lease))
    assert mesh.orders() == [(W3, maker)]


def test_what_was_fetched_stays_unless_an_open_task_takes_it():
    mesh = Leaving(W2)
    counters = [mesh.add() for _ in range(3)]
    leases = [mesh.end(each) for each in counters]
    mesh.say(C1, m.Fetched([[C1, each, 0, 9] for each in counters[:2]]))
    mesh.say(W2, m.Fetched([[C1, counters[2], 0, 9]]))
    mesh.store()
    taker = mesh.add(counters[1])
    assert mesh.lease_of(taker)

    mesh.offer(*zip(counters, leases, strict=True))

    assert mesh.orders() == [(W2, counters[1]), (W2, counters[2])], "what is needed comes first"
    mesh.adopts(W2, *list(zip(counters, leases, strict=True))[1:])
    assert mesh.settled() == [(0, SPARE), (1, GOES), (2, GOES)]
    stores, _ = mesh.core.holders.told([key(C1, counters[1])], mesh.core.fleet.workers[W1])
    assert stores.keys() == {W2}


def test_with_nobody_else_it_stays():
    mesh = Leaving()
    maker = mesh.add()
    lease = mesh.end(maker)
    mesh.offer((maker, lease), (99, 7))
    assert mesh.settled() == [(maker, STAYS), (99, SPARE)]


def test_who_cannot_adopt_it_is_followed_by_the_next_one():
    mesh = Leaving(W2, W3, home=W2)
    maker = mesh.add()
    lease = mesh.end(maker)
    mesh.offer((maker, lease))

    mesh.adopts(W2, (maker, lease), why="no room")
    assert mesh.orders() == [(W2, maker), (W3, maker)]
    mesh.adopts(W3, (maker, lease), why="no room")

    assert mesh.settled() == [(maker, STAYS)] and mesh.store_of(maker) == W1


def test_who_dies_before_it_has_adopted_it_is_followed_too():
    mesh = Leaving(W2, W3, home=W2)
    maker = mesh.add()
    lease = mesh.end(maker)
    mesh.offer((maker, lease))

    mesh.core.fleet.lose(mesh.core.fleet.workers[W2], "was lost", mesh.now)
    mesh.wait(2)

    assert mesh.orders() == [(W2, maker), (W3, maker)]


def test_who_is_away_when_it_is_offered_adopts_it_when_it_is_back():
    mesh = Leaving(W2)
    maker = mesh.add()
    lease = mesh.end(maker)
    mesh.do(Gone(W2.encode()))
    mesh.offer((maker, lease))
    assert (mesh.orders(), mesh.settled()) == ([], [])

    mesh.greet(W2, 3)

    assert mesh.orders() == [(W2, maker)]


def test_it_is_asked_for_again_on_the_next_connection_of_either():
    mesh = Leaving(W2)
    maker = mesh.add()
    lease = mesh.end(maker)
    mesh.offer((maker, lease))
    mesh.told = []
    mesh.do(Gone(W2.encode()))
    mesh.greet(W2, 3)
    assert mesh.orders() == [(W2, maker)]

    mesh.do(Gone(W1.encode()))
    mesh.greet(W1, 3)
    mesh.adopts(W2, (maker, lease))
    assert mesh.settled() == [], "it has not offered it on this one"
    mesh.offer((maker, lease))

    assert (mesh.settled(), mesh.store_of(maker)) == ([(maker, GOES)], W2)


def test_a_router_that_restarts_takes_what_was_adopted_by_the_order_of_the_last():
    mesh = Leaving(W2)
    maker = mesh.add()
    lease = mesh.end(maker)
    mesh.offer((maker, lease))
    mesh.core = RouterCore(mesh.records.restore(), mesh.core.settings, mesh.now)
    mesh.writes, mesh.lookups, mesh.ticket = [], [], 0
    mesh.greet(W2, 3)

    mesh.adopts(W2, (maker, lease))

    assert mesh.store_of(maker) == W2


def test_who_adopted_what_is_recorded_elsewhere_lets_go_of_it():
    mesh = Leaving(W2, W3)
    maker = mesh.add()
    lease = mesh.end(maker)
    mesh.offer((maker, lease))
    mesh.adopts(W3, (maker, lease))
    mesh.adopts(W2, (maker, lease))

    assert mesh.store_of(maker) == W3
    assert [due.counter for due in mesh.records.look_up("drops", (W2, b"", 9))] == [maker]
    assert mesh.records.look_up("drops", (W3, b"", 9)) == []


def test_a_log_goes_along_also_that_of_a_task_that_failed():
    mesh = Leaving(W2)
    maker, failed = mesh.add(), mesh.add()
    for counter, kind in ((maker, Kind.STORED), (failed, Kind.FINAL)):
        lease = mesh.lease_of(counter)
        value, log = (REF.pack(key(C1, counter), lease, n, 9, 9, W1.encode()) for n in (0, 1))
        rest = value if kind == Kind.STORED else b"a failure"
        raw = body(1.0, 1.0, log, rest, LOG_STORED)
        mesh.say(W1, m.Done([[C1, [counter], [lease], bytes([kind]), [raw]]], 300))
        mesh.store()
        mesh.offer((counter, lease))
        assert [counter for _, counter in mesh.orders()] == [counter] * (1 + (kind == Kind.STORED))
        mesh.adopts(W2, (counter, lease))
        found = parse(mesh.record(counter)[1])
        assert parse_ref(found.log).holder == W2
        assert found.rest == rest.replace(W1.encode(), W2.encode())


def test_what_is_made_again_meanwhile_is_not_taken_for_the_old_one():
    mesh = Leaving(W2)
    maker = mesh.add()
    old = mesh.end(maker)
    taker = mesh.add(maker)
    mesh.offer((maker, old))
    mesh.is_astray(taker, maker, old)
    new = mesh.end(maker)

    mesh.adopts(W2, (maker, old))

    assert parse_ref(parse(mesh.record(maker)[1]).rest)[1] == new and mesh.store_of(maker) == W1
    assert [due.lease for due in mesh.records.look_up("drops", (W2, b"", 9))] == [old]


def test_of_a_mesh_that_ends_nobody_adopts_anything():
    mesh = Leaving(W2)
    maker = mesh.add()
    lease = mesh.end(maker)
    mesh.core.stop(10.0, mesh.now)
    mesh.offer((maker, lease))
    assert (mesh.orders(), mesh.settled()) == ([], [(maker, STAYS)])
