"""What is forgotten when: by age, by quota, and never before its client has heard of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from lone_router import C1, W1, W2, F, LoneRouter

from mesh.core.events import Committed, Found, Gone, Heard
from mesh.core.pruning import BLOCKS_MAX, FULL_S, PRUNE_BEATS, SPARE_PART, Old
from mesh.protocol import messages as m
from mesh.protocol.link import Envelope
from mesh.protocol.outcome import REF, body
from mesh.store.records import TABLES, Records
from mesh.store.rows import unpack
from mesh.store.tables import MemoryTables
from mesh.task import Kind, State, key

C2 = "dddddddd"

LOST_AFTER_S = 10.0

ALL_BLOCKS_BYTES = 10**9


class Mesh(LoneRouter):
    """A router's core with a store, a client and a worker. `quota` is that of its records."""

    def __init__(self, *, ttl_s: float = 1e9, quota: int = ALL_BLOCKS_BYTES) -> None:
        settings: dict[str, Any] = {"ttl_s": ttl_s, "quota_bytes": quota}
        super().__init__(lost_after_s=LOST_AFTER_S, **settings)
        self.records = Records(MemoryTables(TABLES), bytes(16), "mesh")
        self.next = 0
        self.dropped: list[Any] = []
        self.hello(C1)
        self.hello(W1, about={"slots": 300, "window": 300})
        self.store()

    def store(self) -> None:
        """Let the store work until it has nothing more to do."""
        while self.writes or self.lookups:
            writes, self.writes = self.writes, []
            lookups, self.lookups = self.lookups, []
            self.records.apply(writes)
            sent = self.do(Committed(self.ticket))
            for token, what, about in lookups:
                sent += self.do(Found(token, self.records.look_up(what, about)))
            self.dropped += [message for _, message in sent if type(message) is m.Drop]

    def run(self, count: int = 10, stored: bool = False, takes: bytes | None = None) -> None:
        """One block of tasks is submitted and runs; each `takes` these."""
        first = self.next
        self.submit_next(count, takes)
        held = self.core.fleet.workers[W1].held
        leases = list(held)
        kind = Kind.STORED if stored else Kind.VALUE
        bodies = [
            body(1.0, 1.0, b"", REF.pack(key(C1, first + n), lease, 0, 9, 9, W1.encode()))
            for n, lease in enumerate(leases)
        ]
        counters = list(range(first, first + count))
        ended = [C1, counters, leases, bytes([kind]) * count, bodies]
        self.say(W1, m.Done([ended], 300))
        self.store()

    def submit_next(self, count: int = 1, takes: bytes | None = None) -> None:
        """One block of tasks is submitted; each `takes` these."""
        first, self.next = self.next, self.next + count
        inputs = None if takes is None else [takes] * count
        self.say(C1, m.Function(F, "sim:f", b"code", b"V"))
        self.say(C1, m.Submit([[first, F, {}, None, 0, [b"x"] * count, None, None, inputs]]))
        self.store()

    def read(self) -> None:
        """The client takes what has come."""
        peer = self.core.peers.by_who["client", C1]
        self.say(C1, m.Beat(), ack=peer.link.sent)

    def wait(self, seconds: float, *, reading: bool = True) -> None:
        """Time passes; everybody is heard of."""
        end = self.now + seconds
        while self.now < end:
            if ("client", C1) in self.core.peers.by_who:
                self.read() if reading else self.say(C1, m.Beat())
            self.say(W1, m.Beat())
            self.tick(1.0)
            self.store()

    @property
    def known(self) -> int:
        """How many tasks the store knows the outcome of."""
        with self.records.tables.begin() as txn:
            return txn.count("outcome")

    @property
    def done(self) -> int:
        return self.core.ledger.counts[State.DONE]


def test_what_ended_long_ago_is_forgotten_with_all_that_is_its_own():
    mesh = Mesh(ttl_s=100.0)
    mesh.run()
    mesh.wait(60)
    mesh.run()
    assert (mesh.known, mesh.done) == (20, 20)

    mesh.wait(60)

    assert (mesh.known, mesh.done) == (10, 10)
    mesh.wait(60)
    assert mesh.done == 0
    with mesh.records.tables.begin() as txn:
        left = {table: txn.count(table) for table in TABLES if txn.count(table)}
    assert left.keys() == {"meta", "function", "worker", "host"}, left
    assert C1 in mesh.core.ledger.sessions, "it is still there, and goes on counting"

    mesh.do(Gone(C1.encode()))
    mesh.store()
    assert mesh.core.ledger.sessions == {}
    with mesh.records.tables.begin() as txn:
        assert {table for table in TABLES if txn.count(table)} == left.keys()


def test_a_client_that_submits_while_the_store_is_asked_whether_it_has_gone_is_not_forgotten():
    """Else what it sends again would run again."""
    mesh = Mesh(ttl_s=100.0)
    mesh.run()
    mesh.wait(120)
    assert mesh.known == 0
    mesh.do(Gone(C1.encode()))
    [asked] = [each for each in mesh.lookups if each[1] == "empty"]
    mesh.lookups.remove(asked)
    empty = mesh.records.look_up("empty", asked[2])
    assert empty == [C1]

    mesh.hello(C1, session=2)
    mesh.run()
    mesh.do(Gone(C1.encode()))
    mesh.do(Found(asked[0], empty))

    assert C1 in mesh.core.ledger.sessions


def test_by_age_it_goes_whether_or_not_anybody_has_heard():
    mesh = Mesh(ttl_s=100.0)
    mesh.run()
    mesh.do(Gone(C1.encode()))

    mesh.wait(120)

    assert (mesh.known, mesh.core.ledger.sessions) == (0, {})


def test_age_is_uptime_and_outlives_the_router():
    mesh = Mesh(ttl_s=100.0)
    mesh.run()
    mesh.wait(70)

    restored = mesh.records.restore()

    assert 50 < restored.age_s <= 70


def test_beyond_the_quota_the_oldest_go_as_soon_as_they_are_settled():
    mesh = Mesh(quota=4000)
    for _ in range(20):
        mesh.run()
    mesh.wait(LOST_AFTER_S)
    assert mesh.known == 200, "they are too young"

    mesh.wait(2 * LOST_AFTER_S + 4 * PRUNE_BEATS)

    with mesh.records.tables.begin() as txn:
        assert txn.used_bytes() <= 4000 or mesh.known == 0
    assert mesh.core.stall.why is None


def test_what_its_client_has_not_heard_is_not_forgotten_for_the_quota():
    mesh = Mesh(quota=4000)
    for _ in range(20):
        mesh.run()

    mesh.wait(8 * LOST_AFTER_S, reading=False)
    assert mesh.known == 200
    assert "more than the quota" in (mesh.core.stall.why or ""), "so new tasks must wait"
    before = mesh.core.ledger.counts[State.QUEUED]
    row = [mesh.next, F, {}, None, 0, [b"x"], None, None, None]
    mesh.say(C1, m.Submit([row]))
    assert mesh.core.ledger.counts[State.QUEUED] == before

    mesh.wait(2 * LOST_AFTER_S)
    assert mesh.known < 200 and mesh.core.stall.why is None
    assert mesh.core.ledger.counts[State.RUNNING] == 1, "and now it is taken"


class Edge(LoneRouter):
    """A router whose store says of itself how much it takes, and which blocks have ended."""

    def __init__(self) -> None:
        super().__init__(lost_after_s=LOST_AFTER_S, quota_bytes=1000)

    @property
    def forgets(self) -> bool:
        """Whether it has had anything forgotten."""
        return any(what == "prune" for what, *_ in self.writes)

    def wait(self, seconds: float, takes: int, *ended: Old) -> list[bool]:
        """Time passes, and so much is taken: after each second, whether new tasks wait."""
        waits = []
        for _ in range(int(seconds)):
            self.tick(1.0)
            while self.lookups:
                lookups, self.lookups = self.lookups, []
                for token, what, _ in lookups:
                    assert what == "prunable"
                    self.do(Found(token, (list(ended), takes)))
            waits.append(self.core.stall.why is not None)
        return waits


def test_how_much_is_taken_is_known_with_each_commit():
    edge = Edge()
    edge.wait(64, 900)

    edge.do(Committed(edge.ticket, 1001))

    assert edge.wait(2, 1001)[-1], "the store is asked at once what may go"


def test_far_beyond_its_quota_new_tasks_wait_while_it_is_found_what_may_go():
    edge = Edge()
    edge.wait(64, 900)

    edge.do(Committed(edge.ticket, 1050))
    assert edge.core.stall.why is None
    edge.do(Committed(edge.ticket, 1101))
    assert edge.core.stall.why is not None


def test_at_the_edge_of_the_quota_new_tasks_do_not_come_and_go():
    edge = Edge()
    edge.wait(60, 900)
    assert edge.wait(12, 1001)[-1]

    little = int(1000 * (1 - SPARE_PART)) + 1
    assert all(edge.wait(FULL_S - 4, little)), "too little is free"
    assert not edge.wait(8, little)[-1], "but it stays so"

    assert edge.wait(12, 1001)[-1]
    assert not edge.wait(12, little - 1)[-1], "now there is enough"


def test_full_once_it_is_forgotten_until_a_part_is_free():
    edge, little = Edge(), int(1000 * (1 - SPARE_PART)) + 1
    heard = Old(b"place", 1.0, key(C1, 0), C1, 9.0, [0] * 5)
    edge.wait(60, 900)
    edge.wait(12, little, heard)
    assert not edge.forgets

    edge.wait(12, 1001)
    edge.wait(12, little, heard)

    assert edge.forgets


@pytest.mark.parametrize(
    "leave",
    [
        lambda mesh: mesh.do(Gone(C1.encode())),
        lambda mesh: mesh.say(C1, m.Bye(), ack=mesh.core.peers.by_who["client", C1].link.sent),
        lambda mesh: mesh.hello(W2, id=C1),  # another speaks on its connection
    ],
    ids=["is gone", "says so", "is another"],
)
def test_a_client_that_had_heard_all_and_left_holds_nothing_up(leave: Callable[[Mesh], Any]):
    mesh = Mesh(quota=4000)
    for _ in range(20):
        mesh.run()
    mesh.read()
    mesh.wait(0.5)
    leave(mesh)

    mesh.wait(4 * LOST_AFTER_S)

    assert mesh.known < 200


def test_one_that_left_before_it_had_heard_keeps_its_results():
    mesh = Mesh(quota=4000)
    for _ in range(20):
        mesh.run()
    mesh.do(Gone(C1.encode()))

    mesh.wait(4 * LOST_AFTER_S)

    assert mesh.known == 200


def away_while_it_ran() -> Mesh:
    """A block of tasks, more than the quota, has run while its client was away for long."""
    mesh = Mesh(quota=400)
    mesh.submit(C1, 0, 10)
    mesh.store()
    mesh.wait(3)
    mesh.do(Gone(C1.encode()))
    mesh.say(W1, done(mesh))
    mesh.store()
    mesh.wait(3 * LOST_AFTER_S)
    return mesh


def done(mesh: Mesh) -> m.Done:
    """The worker has finished all that it holds, which is of one client."""
    held = mesh.core.fleet.workers[W1].held
    session = next(iter(held.values()))[0].session
    counters = [block.first + i for block, i, _ in held.values()]
    kinds, bodies = bytes([Kind.VALUE]) * len(held), [b"v"] * len(held)
    return m.Done([[session, counters, list(held), kinds, bodies]], 300)


def test_one_that_comes_back_has_not_heard_before_it_could_ask():
    mesh = away_while_it_ran()

    mesh.hello(C1, session=2)
    mesh.tick(1.0)
    mesh.read()
    mesh.wait(3)
    assert mesh.known == 10
    mesh.do(Gone(C1.encode()))
    mesh.wait(4 * LOST_AFTER_S)
    assert mesh.known == 10, "it left before it was told"

    mesh.hello(C1, session=3)
    mesh.say(C1, m.Watch([[C1, 0, 10]]))
    mesh.store()
    mesh.wait(4 * LOST_AFTER_S)
    assert mesh.known == 0


def test_what_ends_in_the_turn_in_which_its_client_goes_is_not_heard_of():
    mesh = Mesh(quota=400)
    mesh.submit(C1, 0, 10)
    mesh.store()
    mesh.wait(3)
    session, number = mesh.numbers[W1]
    mesh.now += 0.3

    mesh.core.handle(Heard(W1.encode(), Envelope(session, number + 1, 0, done(mesh))), mesh.now)
    mesh.do(Gone(C1.encode()))
    mesh.numbers[W1][1] += 1
    mesh.wait(4 * LOST_AFTER_S)

    assert mesh.known == 10


def test_a_router_that_was_killed_is_not_younger_than_what_was_heard():
    mesh = Mesh()
    mesh.run()
    mesh.read()
    mesh.wait(100)
    mesh.do(Gone(C1.encode()))
    mesh.store()

    with mesh.records.tables.begin() as txn:
        heard_s = unpack(txn.get("heard", C1.encode()))
    assert mesh.records.restore().age_s >= heard_s > 90


def test_what_may_go_is_found_behind_much_that_must_stay():
    mesh = Mesh(quota=400)
    for _ in range(20 * BLOCKS_MAX):
        mesh.run(1)
    mesh.do(Gone(C1.encode()))
    mesh.hello(C2)
    for n in range(4 * BLOCKS_MAX):
        mesh.submit(C2, n)
        mesh.store()
        mesh.say(W1, done(mesh))
        mesh.store()

    for _ in range(3 * int(LOST_AFTER_S)):
        mesh.say(C2, m.Beat(), ack=mesh.core.peers.by_who["client", C2].link.sent)
        mesh.wait(1)

    assert mesh.known == 20 * BLOCKS_MAX, "all that was heard of has gone, and nothing else"
    assert "more than the quota" in (mesh.core.stall.why or "")


def test_a_block_in_which_nothing_is_a_task_is_as_young_as_any():
    mesh = Mesh()
    mesh.submit(C1, 0)
    mesh.wait(90)
    for first, mark in ((1, b"one"), (2, b"another")):
        mesh.say(C1, m.Submit([[first, F, {}, None, 0, [b"x"], ["T=2.3"], [mark], None]]))
        mesh.store()

    [refused], _ = mesh.records.look_up("prunable", (b"", 9))

    assert (refused.block, refused.ended_s) == (key(C1, 2), 90.0)


# -- what others take ------------------------------------------------------------------------


def test_what_a_task_takes_is_not_forgotten_before_it_has_ended():
    mesh = Mesh(ttl_s=100.0)
    mesh.run()
    mesh.core.fleet.workers[W1].window = 0
    mesh.submit_next(1, key(C1, 3))

    mesh.wait(300)

    assert mesh.known == 10


@pytest.mark.parametrize("limit", [{"ttl_s": 100.0}, {"quota": 400}], ids=["age", "quota"])
def test_what_was_taken_stays_as_long_as_what_took_it_and_goes_with_it(limit: dict[str, Any]):
    mesh = Mesh(**limit)
    mesh.run()
    mesh.wait(60, reading=False)
    mesh.run(1, takes=key(C1, 3))
    mesh.run(1, takes=key(C1, 10))
    if "ttl_s" in limit:
        mesh.wait(60)
        assert (mesh.known, mesh.done) == (12, 12)

    mesh.wait(120)

    assert (mesh.known, mesh.done) == (0, 0)
    with mesh.records.tables.begin() as txn:
        left = {table for table in TABLES if txn.count(table)}
    assert left == {"meta", "function", "worker", "host"}


def test_what_must_stay_because_it_is_taken_is_looked_at_once():
    mesh = Mesh(ttl_s=100.0)
    for _ in range(3 * BLOCKS_MAX):
        mesh.run(1)
    mesh.wait(90)
    mesh.run(1, takes=b"".join(key(C1, i) for i in range(3 * BLOCKS_MAX)))
    mesh.wait(60)
    assert mesh.known == 3 * BLOCKS_MAX + 1

    [last], _ = mesh.records.look_up("prunable", (b"", 9))

    assert last.block == key(C1, 3 * BLOCKS_MAX)


def test_what_is_taken_while_the_store_is_asked_what_may_go_stays():
    mesh = Mesh(ttl_s=100.0)
    mesh.run()
    mesh.wait(99)
    while not any(what == "prunable" for _, what, _ in mesh.lookups):
        mesh.tick(1.0)
    [asked] = [each for each in mesh.lookups if each[1] == "prunable"]
    mesh.lookups.remove(asked)
    rows, used = mesh.records.look_up(*asked[1:])
    rows = [old._replace(ended_s=0.0) for old in rows]

    mesh.run(1, takes=key(C1, 3))
    mesh.do(Found(asked[0], (rows, used)))
    mesh.store()

    assert mesh.known == 11


def test_a_chain_goes_one_after_the_other():
    mesh = Mesh(ttl_s=100.0)
    mesh.run(1)
    for i in range(100):
        mesh.run(1, takes=key(C1, i))
    mesh.wait(98)
    assert mesh.known == 101

    mesh.wait(30)

    assert mesh.known == 0
