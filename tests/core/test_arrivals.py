"""What waits for inputs: each is ordered once, a bounded number at a time."""

from __future__ import annotations

from mesh.core.arrivals import COMING_BYTES_MAX, COMING_MAX
from mesh.core.backlog import Backlog, Piece, Values
from mesh.protocol.outcome import REF, Ref
from mesh.task import Kind, key

HERE, THERE = b"hhhhhhhh", b"tttttttt"
PLACE = ["ipc://there", "host", "/there"]


def ref(number: int, size: int = 100_000) -> Ref:
    return Ref(key("cccccccc", number), 1000 + number, 0, size, 0, THERE)


def stored(*refs: Ref) -> Values:
    return Values(bytes([Kind.STORED]) * len(refs), [REF.pack(*each) for each in refs])


def piece(lease: int, count: int, inputs: dict[int, Values]) -> Piece:
    row = ["cccccccc", lease, lease, b"f" * 16, {}, [b"x"] * count]
    return Piece(row, inputs)


def taken(backlog: Backlog) -> list[int]:
    """What may begin, all of it."""
    leases: list[int] = []
    while backlog:
        each, low, high = backlog.take(100)
        leases += range(each.lease + low, each.lease + high)
    return leases


def ordered(backlog: Backlog) -> list[int]:
    found = list(backlog.arrivals.orders())
    backlog.arrivals.check()
    return [order.ref.lease - 1000 for order in found]


def test_only_what_waits_for_something_waits():
    backlog = Backlog()
    backlog.arrivals.places["tttttttt"] = PLACE
    inputs = {
        12: stored(ref(1)),
        13: Values(bytes([Kind.VALUE]), [b"1"]),
        14: stored(ref(1), ref(2)),
    }
    backlog.add(piece(10, 6, inputs))

    assert taken(backlog) == [10, 11, 13, 15]
    assert sorted(backlog) == [12, 14]
    [first, second] = backlog.arrivals.orders()
    assert (first.ref, first.stores, first.places) == (ref(1), ["tttttttt"], {"tttttttt": PLACE})
    assert ordered(backlog) == [], "each is ordered once"
    backlog.came(ref(1).key)
    assert taken(backlog) == [12]
    backlog.came(second.ref.key)
    assert taken(backlog) == [14]
    assert not backlog.arrivals


def test_what_is_here_is_not_waited_for_until_it_goes():
    backlog = Backlog()
    backlog.add(piece(1, 1, {1: stored(ref(1))}))
    assert ordered(backlog) == [1]
    backlog.came(ref(1).key)
    backlog.add(piece(2, 1, {2: stored(ref(1))}))
    assert taken(backlog) == [1, 2]

    backlog.arrivals.gone(ref(1).task, ref(1).lease)
    backlog.add(piece(3, 1, {3: stored(ref(1))}))
    assert taken(backlog) == [] and ordered(backlog) == [1]


def test_so_many_are_on_their_way_and_the_rest_waits_in_line():
    backlog = Backlog()
    backlog.add(piece(0, 20, {n: stored(ref(n)) for n in range(20)}))
    assert ordered(backlog) == list(range(COMING_MAX))
    backlog.came(ref(3).key)
    assert ordered(backlog) == [COMING_MAX]


def test_so_many_bytes_are_on_their_way_or_one_that_is_larger():
    backlog = Backlog()
    sizes = [COMING_BYTES_MAX // 2, COMING_BYTES_MAX // 2, 1, 2 * COMING_BYTES_MAX, 1]
    backlog.add(piece(0, 5, {n: stored(ref(n, size)) for n, size in enumerate(sizes)}))
    assert ordered(backlog) == [0, 1]
    backlog.came(ref(0).key)
    assert ordered(backlog) == [2]
    backlog.came(ref(1).key)
    backlog.came(ref(2).key)
    assert ordered(backlog) == [3]
    backlog.came(ref(3).key)
    assert ordered(backlog) == [4]


def test_what_is_taken_back_is_not_ordered_for_nobody():
    backlog = Backlog()
    given = piece(0, 12, {n: stored(ref(n), ref(100)) for n in range(12)})
    backlog.add(given)
    assert backlog.take_out(given, 10)
    assert backlog.take_end(2) == [11, 9]
    assert len(ordered(backlog)) == COMING_MAX
    assert sorted(backlog.clear()) == list(range(9))
    backlog.came(ref(0).key)
    assert ordered(backlog) == [] and not backlog.arrivals

    backlog.add(piece(50, 1, {50: stored(ref(1))}))
    assert ordered(backlog) == [], "it is on its way still"
    backlog.came(ref(1).key)
    assert taken(backlog) == [50]


def test_who_takes_what_cannot_be_had_is_told():
    backlog = Backlog()
    backlog.add(piece(0, 3, {0: stored(ref(1)), 1: stored(ref(2)), 2: stored(ref(1), ref(2))}))
    assert ordered(backlog) == [1, 2]
    assert backlog.arrivals.failed(ref(1).key) == [0, 2]
    assert list(backlog) == [1]
    backlog.came(ref(2).key)
    assert taken(backlog) == [1]
    backlog.add(piece(5, 1, {5: stored(ref(1))}))
    assert ordered(backlog) == [1], "it is tried again"
