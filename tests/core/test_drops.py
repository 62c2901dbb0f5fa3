"""What workers keep and nobody needs: each is told until it has said that it is gone."""

from __future__ import annotations

from typing import Any

from fakes.router import BIRTH
from lone_router import C1, W1, W2
from test_pruning import LOST_AFTER_S, Mesh

from mesh.core import drops
from mesh.core.events import Gone
from mesh.core.ledger import RECORD
from mesh.core.restored import Restored
from mesh.core.router import RouterCore
from mesh.protocol import messages as m
from mesh.protocol.outcome import LOG_STORED, REF, body
from mesh.task import Kind, key

#: The list is looked at this often, and what has grown old is found as often.
SOON_S = 30.0


def old(count: int = 10) -> Mesh:
    """A mesh that has forgotten stored results, because they had grown too old."""
    mesh = Mesh(ttl_s=100.0)
    mesh.run(count, stored=True)
    mesh.wait(100 + SOON_S)
    return mesh


def told(mesh: Mesh) -> list[list[Any]]:
    """What its worker was told to drop since this was asked last: session and counter."""
    rows = [row[:2] for drop in mesh.dropped for row in drop.leases]
    mesh.dropped = []
    return sorted(rows)


def listed(mesh: Mesh) -> int:
    with mesh.records.tables.begin() as txn:
        return txn.count("drop")


def answer(mesh: Mesh) -> None:
    """The worker has let go of what it was told to last."""
    leases = mesh.dropped[-1].leases
    mesh.say(W1, m.Dropped(leases))
    mesh.store()


def test_a_holder_is_told_what_has_grown_too_old_until_it_says_that_it_is_gone():
    mesh = old()
    assert listed(mesh) == 10

    assert len(mesh.dropped) == 1, "one is on its way at a time"
    answer(mesh)
    assert told(mesh) == [[C1, n] for n in range(10)]

    assert listed(mesh) == 0
    mesh.wait(SOON_S)
    assert told(mesh) == []


def test_what_it_has_not_answered_it_is_told_on_the_next_connection():
    mesh = old()
    told(mesh)
    mesh.do(Gone(W1.encode()))
    mesh.hello(W1, session=2, about={"slots": 300, "window": 300})

    mesh.wait(SOON_S)

    assert told(mesh) == [[C1, n] for n in range(10)]


def test_the_next_router_knows_what_is_still_to_be_told():
    mesh = old()
    told(mesh)
    restored = mesh.records.restore()
    assert isinstance(restored, Restored) and restored.birth != BIRTH

    mesh.core = RouterCore(restored, mesh.core.settings, mesh.now)
    mesh.writes, mesh.lookups, mesh.ticket = [], [], 0
    mesh.hello(C1)
    mesh.hello(W1, about={"slots": 300, "window": 300})
    mesh.wait(2 * LOST_AFTER_S - 1)
    assert told(mesh) == [], "who is not there now may be on its way"
    mesh.wait(SOON_S)

    assert told(mesh) == [[C1, n] for n in range(10)]


def test_what_was_too_much_is_told_when_its_client_is_gone():
    mesh = Mesh(quota=500)
    mesh.run(stored=True)
    mesh.wait(140)
    assert (mesh.known, listed(mesh), told(mesh)) == (0, 10, []), "it may be fetched yet"

    mesh.do(Gone(C1.encode()))
    mesh.wait(SOON_S)

    assert told(mesh) == [[C1, n] for n in range(10)]


def test_of_many_a_page_is_told_when_the_one_before_is_gone():
    count = drops.LEASES_MAX + 44
    mesh = old(count)
    assert len(mesh.dropped) == 1 and len(mesh.dropped[0].leases) == drops.LEASES_MAX

    answer(mesh)
    assert [len(drop.leases) for drop in mesh.dropped] == [drops.LEASES_MAX, 44], "at once"
    answer(mesh)

    assert (len(told(mesh)), listed(mesh)) == (count, 0)


def test_a_stored_result_that_came_too_late_is_dropped_and_one_told_twice_is_not():
    mesh = Mesh()
    mesh.run(count=2, stored=True)
    mine = [mesh.records.look_up("outcomes", [(C1, 0, 1)])[0][2]]
    lease = RECORD.unpack_from(mine[0])[1]
    again = body(1.0, 1.0, b"", REF.pack(key(C1, 0), lease, 0, 9, 9, W1.encode()))

    mesh.say(W1, m.Done([[C1, [0], [lease], bytes([Kind.STORED]), [again]]], 300))
    mesh.store()
    assert listed(mesh) == 0, "its acknowledgement was lost"

    late = body(1.0, 1.0, b"", REF.pack(key(C1, 0), lease + 7, 0, 9, 9, W1.encode()))
    mesh.say(W1, m.Done([[C1, [0], [lease + 7], bytes([Kind.STORED]), [late]]], 300))
    mesh.store()
    assert listed(mesh) == 1
    mesh.wait(SOON_S)
    assert [drop.leases for drop in mesh.dropped] == [[[C1, 0, lease + 7]]]


def test_a_log_that_stayed_with_its_worker_goes_with_its_task():
    mesh = Mesh(ttl_s=100.0)
    mesh.submit(C1, 0)
    mesh.store()
    [lease] = mesh.core.fleet.workers[W1].held
    log = REF.pack(key(C1, 0), lease, 1, 9, 9, W1.encode())
    value = body(1.0, 1.0, log, b"v", LOG_STORED)
    mesh.say(W1, m.Done([[C1, [0], [lease], bytes([Kind.VALUE]), [value]]], 300))

    mesh.wait(100 + SOON_S)

    assert told(mesh) == [[C1, 0]]


def copied_to_w2(mesh: Mesh) -> None:
    """Another worker has a copy of what the first task has made."""
    [(_, _, record, _)] = mesh.records.look_up("outcomes", [(C1, 0, 1)])
    mesh.hello(W2, about={"slots": 0, "window": 0})
    mesh.say(W2, m.Copied([[C1, 0, RECORD.unpack_from(record)[1]], [C1, 5, 99]]))
    mesh.store()


def test_copies_are_told_of_as_well():
    mesh = Mesh(ttl_s=100.0)
    mesh.run(1, stored=True)
    copied_to_w2(mesh)

    mesh.do(Gone(W2.encode()))
    mesh.wait(100 + SOON_S)
    assert [due.counter for due in mesh.records.look_up("drops", (W2, b"", 9))] == [0]
    mesh.dropped = []
    mesh.hello(W2, session=2, about={"slots": 0, "window": 0})
    mesh.core.drops.hurry(mesh.now)
    mesh.store()

    assert told(mesh) == [[C1, 0]]
    with mesh.records.tables.begin() as txn:
        assert txn.count("copy") == 0


def test_a_copy_that_is_lost_is_told_to_nobody_and_costs_the_result_nothing():
    mesh = Mesh(ttl_s=100.0)
    mesh.run(1, stored=True)
    copied_to_w2(mesh)
    [(_, _, record, _)] = mesh.records.look_up("outcomes", [(C1, 0, 1)])

    mesh.say(W2, m.Lost([[C1, 0, RECORD.unpack_from(record)[1], W2]]))
    mesh.store()

    with mesh.records.tables.begin() as txn:
        assert (txn.count("copy"), txn.count("lost")) == (0, 0)
