"""The way to a router that has several addresses."""

from __future__ import annotations

import socket

from mesh.transport.access import Access
from mesh.transport.keys import Ring
from mesh.transport.poller import Poller
from mesh.transport.route import SEARCH_AGAIN_S, Route
from mesh.transport.sockets import context


def test_what_fails_again_after_a_search_began_anew_is_said_and_ends_nothing() -> None:
    """Its sockets are kept from one search to the next, and may tell of themselves at any time."""
    made, poller = context(), Poller()
    with socket.create_server(("127.0.0.1", 0)) as bound:
        dead = [f"tcp://127.0.0.{last}:{bound.getsockname()[1]}" for last in (2, 3)]
    access = Access("mesh1234", dead, host="elsewhere", keys=Ring.new("mesh1234").admin())
    now = 0.0
    route = Route(made, poller, access, now)
    for _ in range(3):
        for _ in dead:  # one after the other, as soon as that before it has failed
            assert not list(route.look(poller.wait(20), now))
        now += SEARCH_AGAIN_S
        assert not list(route.look(set(), now))
    assert route.why().count("nobody listens there") == 2, "also while they are tried once more"
    assert not route.is_refused
    route.close()
    made.term()
