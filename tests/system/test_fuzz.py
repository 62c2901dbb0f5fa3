"""Whatever strangers and key holders say over TCP costs nobody else anything.

Three fuzzers: bytes at the ports, frames behind a valid handshake, and messages of the right shape
that mean nothing, of each role. `MESH_FUZZ=10` makes the runs ten times as long.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from shapes import messages

from mesh import Mesh
from mesh.protocol import messages as m
from mesh.protocol import transfer
from mesh.protocol.codec import encode
from mesh.protocol.link import Envelope
from mesh.transport.interfaces import parse

EXAMPLES = 40 * int(os.environ.get("MESH_FUZZ", "1"))

#: What ZMTP 3 begins with, for CURVE, and a command behind it.
GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x01CURVE" + bytes(15) + b"\0" + bytes(31)
COMMAND = b"\x04\xc8\x05HELLO\x01\x00" + bytes(192)

some = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    """One that listens, whose silent peers are soon given up."""
    times = {"heartbeat_s": 0.3, "lost_after_s": 1.0, "far_factor": 1.0}
    folder = tmp_path_factory.mktemp("fuzz") / "own"
    with Mesh(dir=folder, slots=1, listen="tcp://127.0.0.1:*", settings=times) as m:
        m.wait_for_slots(1, 20)
        yield m


@pytest.fixture
def unharmed(mesh: Mesh) -> Iterator[Mesh]:
    """That mesh: it is the same, and works, afterwards."""
    before = mesh.status()
    yield mesh
    assert mesh.submit(pow, 2, 5).result(20) == 32
    assert len(mesh.submit(bytes, 100_000).result(20)) == 100_000
    after = mesh.status()
    assert after["router"]["pid"] == before["router"]["pid"], "the router was restarted"
    own = {worker["pid"] for worker in before["workers"] if worker["pid"]}
    assert own <= {worker["pid"] for worker in after["workers"]}, "a worker was restarted"
    assert after["router"]["memory_bytes"] < before["router"]["memory_bytes"] + 100e6


def ports(mesh: Mesh) -> list[int]:
    """Those of the router and of the worker."""
    found = [mesh._connection.access.address]
    for store in mesh._connection.ask("status", {})["workers"]:
        place = mesh._connection.ask("locate", {"stores": [store["id"]]})[store["id"]]
        found += [each.partition("#")[0] for each in (place or [""])[0].split()[1:]]
    return [parse(each)[1] for each in found if parse(each)]  # type: ignore[index]


bytes_of_strangers = st.one_of(
    st.binary(max_size=300),
    st.builds(lambda cut, more: GREETING[:cut] + more, st.integers(0, 64), st.binary(max_size=80)),
    st.builds(lambda more: GREETING + COMMAND[:30] + more, st.binary(max_size=300)),
    st.builds(
        lambda at, byte: (GREETING + COMMAND)[:at] + byte + (GREETING + COMMAND)[at + 1 :],
        st.integers(0, 260),
        st.binary(min_size=1, max_size=1),
    ),
)


def test_bytes_at_the_ports(unharmed: Mesh) -> None:
    open_ones: list[socket.socket] = []
    at = ports(unharmed)
    assert len(at) == 2

    @some
    @given(st.lists(bytes_of_strangers, min_size=1, max_size=5), st.booleans())
    def run(pieces: list[bytes], stays: bool) -> None:
        for port in at:
            stranger = socket.create_connection(("127.0.0.1", port), 10)
            open_ones.append(stranger)
            try:
                for piece in pieces:
                    stranger.sendall(piece)
            except OSError:
                pass  # it has had enough
            if not stays:
                open_ones.pop().close()

    run()
    for each in open_ones:
        each.close()


class Holder:
    """Who has a key of `role`, and says what it likes to the router, or at the data port."""

    def __init__(self, mesh: Mesh, role: str) -> None:
        access = mesh._connection.access.cut(role)
        assert access.keys is not None
        self.keys, self.role = access.keys, role
        self.context = zmq.Context()
        self.router = self.dial(access.address, access.keys.router)
        self.session = 0

    def dial(self, address: str, server: str) -> zmq.Socket[bytes]:
        dealer = self.context.socket(zmq.DEALER)
        dealer.setsockopt(zmq.LINGER, 1000)
        dealer.setsockopt(zmq.CURVE_SERVERKEY, server.encode())
        dealer.setsockopt(zmq.CURVE_PUBLICKEY, self.keys.own.public.encode())
        dealer.setsockopt(zmq.CURVE_SECRETKEY, self.keys.own.secret.encode())
        dealer.connect(address)
        return dealer

    def hello(self) -> None:
        self.session += 1
        role = "worker" if self.role == "worker" else "client"
        about = {"slots": 0, "window": 0} if role == "worker" else {}
        hello = m.Hello(role, "fuzzfuzz", b"one", m.VERSION_MIN, m.VERSION_MAX, about, [])
        self.router.send_multipart(encode(Envelope(self.session, 0, 0, hello)))

    def hear(self) -> None:
        while self.router.poll(0):
            self.router.recv_multipart()

    def close(self) -> None:
        self.context.destroy(1000)


@pytest.fixture(params=["client", "worker", "admin"])
def holder(request: Any, unharmed: Mesh) -> Iterator[Holder]:
    made = Holder(unharmed, request.param)
    yield made
    made.close()


def test_messages_that_mean_nothing(holder: Holder) -> None:
    @some
    @given(st.lists(messages, max_size=10))
    def run(said: list[m.Message]) -> None:
        holder.hello()
        number = 0
        for message in said:
            number += message.SEQUENCED
            holder.router.send_multipart(encode(Envelope(holder.session, number, 0, message)))
        holder.hear()

    run()


def test_frames_behind_a_handshake(holder: Holder) -> None:
    frames = st.lists(st.binary(max_size=200), min_size=1, max_size=8)
    bent = st.builds(
        lambda message, at, byte: [
            encode(Envelope(1, 1, 0, message))[0][:at] + byte,
            *encode(Envelope(1, 1, 0, message))[1:],
        ],
        messages,
        st.integers(0, 60),
        st.binary(max_size=3),
    )

    @some
    @given(st.one_of(frames, bent))
    def run(said: list[bytes]) -> None:
        holder.hello()
        holder.router.send_multipart(said)
        holder.hear()

    run()


def test_requests_at_the_data_port(unharmed: Mesh, tmp_path: Path) -> None:
    holder = Holder(unharmed, "client")
    [worker] = unharmed._connection.ask("status", {})["workers"][:1]
    place = unharmed._connection.ask("locate", {"stores": [worker["id"]]})[worker["id"]]
    address, _, key = place[0].split()[1].partition("#")
    dealer = holder.dial(address, key)
    request = transfer.pack_get(transfer.Get(1, b"t" * 16, 1, 0, 0, 1000))

    @some
    @given(
        st.one_of(
            st.lists(st.binary(max_size=100), min_size=1, max_size=4),
            st.builds(
                lambda at, b: [request[:at] + b + request[at:]], st.integers(0, 50), st.binary()
            ),
        )
    )
    def run(said: list[bytes]) -> None:
        dealer.send_multipart(said)
        while dealer.poll(0):
            dealer.recv_multipart()

    run()
    holder.close()
