"""Outcomes that come faster than the disk takes them hold up what would bring more."""

from __future__ import annotations

from lone_router import C1, W1, LoneRouter

from mesh.core.events import Committed
from mesh.core.router import UNRECORDED_BYTES_MAX
from mesh.protocol import messages as m
from mesh.task import Kind

BODY = bytes(64 * 1024)


def test_nothing_is_given_out_while_too_much_is_not_on_disk():
    lone = LoneRouter()
    lone.hello(C1)
    lone.hello(W1, about={"slots": 16, "window": 16})
    lone.submit(C1, 0, 256)
    lone.submit(C1, 256, 256)
    worker = lone.core.fleet.workers[W1]

    done = 0
    while worker.held:
        count = len(worker.held)
        counters = [block.first + i for block, i, _ in worker.held.values()]
        ended = [C1, counters, list(worker.held), bytes([Kind.VALUE]) * count, [BODY] * count]
        lone.say(W1, m.Done([ended], 16))
        done += count

    assert 0 < done * len(BODY) - UNRECORDED_BYTES_MAX <= 16 * len(BODY), "and one window"
    lone.do(Committed(lone.ticket))
    assert len(worker.held) == 16, "and on it goes"
