"""What is fetched is counted, and who counts does not grow with it."""

from __future__ import annotations

from mesh.core import fetches
from mesh.core.keeping import Keeping
from mesh.core.ledger import Ledger
from mesh.core.peers import Peer, Peers
from mesh.protocol import messages as m
from mesh.protocol.transfer import DIRECT, LOCAL, RELAYED

PEER = Peer(b"1", "client", "cccccccc", b"1", 0.0)


def test_fetches_are_counted_by_way_and_by_task():
    counted = fetches.Fetches(Ledger(Peers(), [], {}, {}))

    counted.take(PEER, m.Fetched([["k3f9x2m7", 1, LOCAL, 10], ["k3f9x2m7", 1, RELAYED, 5]]), 0.0)
    counted.take(PEER, m.Fetched([["k3f9x2m7", 2, LOCAL, 7], ["k3f9x2m7", 3, 99, 7]]), 0.0)

    assert counted.told() == {
        "local": {"count": 2, "size_bytes": 17},
        "direct": {"count": 0, "size_bytes": 0},
        "relayed": {"count": 1, "size_bytes": 5},
    }
    assert counted.of("k3f9x2m7", 1) == {"local": 1, "direct": 0, "relayed": 1}
    assert not any(counted.of("k3f9x2m7", 3).values())


def test_of_tasks_the_last_ones_are_remembered():
    counted = fetches.Fetches(Ledger(Peers(), [], {}, {}))
    rows = [["k3f9x2m7", i, LOCAL, 1] for i in range(fetches.TASKS_MAX + 5)]

    counted.take(PEER, m.Fetched(rows), 0.0)

    assert counted.told()["local"]["count"] == fetches.TASKS_MAX + 5
    assert not counted.of("k3f9x2m7", 4)["local"] and counted.of("k3f9x2m7", 5)["local"]


def test_a_worker_tells_what_it_keeps_when_that_has_changed():
    keeping = Keeping()
    keeping.stored(0, 0)
    assert not keeping.is_changed
    keeping.stored(2, 30)
    keeping.served(DIRECT, 512, is_last=False)
    keeping.served(DIRECT, 100, is_last=True)
    keeping.fetched(RELAYED, 9)

    told = keeping.told()

    assert keeping.is_changed
    assert (told["results"], told["stored_bytes"]) == (2, 30)
    assert told["served"]["direct"] == {"count": 1, "size_bytes": 612}
    assert told["fetched"]["relayed"] == {"count": 1, "size_bytes": 9}
