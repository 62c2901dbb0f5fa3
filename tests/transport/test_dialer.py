"""Who dials and finds nobody tries again."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import zmq
from zmq.utils.monitor import recv_monitor_message

from mesh.core.events import Settings
from mesh.transport.sockets import Dialer, context


def test_a_router_that_is_back_is_found_several_times_as_soon_as_it_gives_anybody_up(
    tmp_path: Path,
):
    sockets = context()
    dialer = Dialer(sockets, f"ipc://{tmp_path}/r.sock")
    dialer.socket.monitor("inproc://retries", zmq.EVENT_CONNECT_RETRIED)  # and no more its own
    monitor = sockets.socket(zmq.PAIR)
    monitor.connect("inproc://retries")
    pauses_ms: list[int] = [0]

    while len(pauses_ms) < 2 or pauses_ms[-2] < pauses_ms[-1]:
        assert monitor.poll(20_000)
        pauses_ms.append(int(recv_monitor_message(monitor)["value"]))

    dialer.close()
    monitor.close(linger=0)
    sockets.term()
    assert all(before <= after for before, after in pairwise(pauses_ms)), "they back off"
    assert 3 * pauses_ms[-1] <= 1000 * Settings().lost_after_s
