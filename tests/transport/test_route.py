"""The way to a router that has several addresses."""

from __future__ import annotations

from typing import Any

from mesh.transport.access import Access
from mesh.transport.keys import Ring
from mesh.transport.poller import Poller
from mesh.transport.route import SEARCH_AGAIN_S, Route
from mesh.transport.sockets import context

#: Nobody listens there (tcpmux, discard).
DEAD = ["tcp://127.0.0.1:1", "tcp://127.0.0.1:9"]


def test_what_fails_again_before_it_is_tried_again_disturbs_nobody():
    sockets, poller = context(), Poller()
    route = Route(sockets, poller, Access("k3f9x2m7", DEAD, keys=Ring.new("k3f9x2m7").admin()), 0.0)
    now = 0.0

    def until_all_failed() -> None:
        while route.why().count("nobody listens") < len(DEAD):
            assert not list(route.look(poller.wait(10.0), now))

    now = route.deadline()  # for the second
    until_all_failed()
    now += SEARCH_AGAIN_S
    list(route.look(set(), now))  # the search begins anew, with the first
    ready: set[Any] = set()
    while len(ready) < len(DEAD):  # the second is dialled by libzmq all the time
        ready |= poller.wait(10.0)
    assert not list(route.look(ready, now))
    until_all_failed()

    route.close()
    sockets.term()
