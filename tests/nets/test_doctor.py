"""What `mesh doctor` tells of the ways between hosts, in both directions."""

from __future__ import annotations

import json
from typing import Any

from hosts import Host, Net

PORT = 6001


def way_back(host: Host, there: Host, *options: object) -> list[Any]:
    """What a doctor on `host` finds of the way back to it, in the mesh whose router is `there`."""
    done = host.start("doctor", "--json", "--access", there.access, *options).finish()
    assert done.code == 0, done.err
    rows = map(json.loads, done.out.splitlines())
    return [(row["verdict"], row["text"]) for row in rows if row["check"] == "way back"]


def test_the_way_back_is_tried_by_a_worker_of_each_host(net: Net) -> None:
    a, b, c = map(net.host, "abc")
    router = a.router()
    b.worker(a.access)

    [(verdict, text)] = way_back(c, a)
    assert verdict == "ok" and text.startswith(f"2 hosts can reach tcp://{c.address}:")

    c.block(PORT)
    told = way_back(c, a, "--data-port", PORT)
    assert [verdict for verdict, _ in told] == ["warn", "warn"]
    assert {text.split(" on ")[1].split()[0] for _, text in told} == {"a", "b"}
    assert all(f"(tcp://{c.address}:{PORT}: no answer)" in text for _, text in told)
    assert way_back(c, a, "--data-port", PORT + 1)[0][0] == "ok"
    assert way_back(c, a, "--data-port", "off") == []

    a.start("stop", "--access", a.access).finish()
    router.finish()


def test_a_port_that_is_in_use_is_told_as_that(net: Net) -> None:
    a = net.host("a")
    router = a.router()
    a.worker(a.access, "--data-port", PORT)
    [(verdict, text)] = way_back(a, a, "--data-port", PORT)
    assert verdict == "warn" and "Address already in use" in text

    a.start("stop", "--access", a.access).finish()
    router.finish()
