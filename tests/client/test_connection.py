"""The connection's thread, with a router that does what a test says."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zmq

from mesh import MeshError, RouterUnreachable
from mesh.client.connection import Connection
from mesh.core.notices import NO_ROOM
from mesh.protocol import messages as m
from mesh.protocol.codec import decode, encode
from mesh.protocol.link import Envelope, Link
from mesh.transport import sockets
from mesh.transport.access import Access

WELCOME = m.Welcome("meshmesh", b"birth", 1, 1, {})


class LoneListener:
    """A router's socket; what it hears and says is up to a test."""

    def __init__(self, context: zmq.Context, address: str) -> None:
        self.listener = sockets.Listener(context, Path(address.removeprefix("ipc://")))
        self.link = Link(keeps=False)
        self.peer = b""

    def hear(self) -> m.Message:
        """The next message; beats are passed over."""
        while True:
            assert self.listener.socket.poll(10_000), "nothing comes"
            self.peer, *frames = self.listener.socket.recv_multipart()
            envelope = decode(frames)
            if type(envelope.message) is m.Hello:
                self.link.open(envelope.session)
                return envelope.message
            if self.link.accept(envelope) and type(envelope.message) is not m.Beat:
                return envelope.message

    def say(self, message: m.Message) -> None:
        assert self.listener.send(self.peer, encode(self.link.stamp(message)))


@pytest.fixture
def address(tmp_path: Path) -> str:
    return f"ipc://{tmp_path}/router.sock"


@pytest.fixture
def listen(address: str) -> Iterator[Callable[[], LoneListener]]:
    """Has a router listen from then on."""
    context = sockets.context()
    listening: list[LoneListener] = []

    def start() -> LoneListener:
        listening.append(LoneListener(context, address))
        return listening[-1]

    yield start
    for each in listening:
        each.listener.close()
    context.term()


@pytest.fixture
def connection(address: str) -> Iterator[Connection]:
    connection = Connection(Access("meshmesh", [address], 1, "", ""), 60.0, lambda line: None)
    yield connection
    connection.close()


def test_an_order_that_nobody_waits_for_any_more_is_not_given_to_the_next_router(
    listen: Callable[[], LoneListener], connection: Connection
) -> None:
    with pytest.raises(RouterUnreachable, match=r"did not answer within 0\.05 s"):
        connection.ask("stop", {}, timeout=0.05)

    router = listen()
    assert type(router.hear()) is m.Hello
    router.say(WELCOME)
    connection.welcomed.result(10)
    connection.watch_task("dddddddd", 1)

    assert type(router.hear()) is m.Watch, "and no order before it"


def test_a_client_whose_greeting_is_not_understood_is_told_so(
    listen: Callable[[], LoneListener], connection: Connection
) -> None:
    router = listen()
    router.hear()

    error = m.Error("MeshError", "not understood: Hello.about has a wrong shape")
    router.listener.send(router.peer, encode(Envelope(0, 0, 0, error)))

    with pytest.raises(MeshError, match=r"Hello\.about"):
        connection.welcomed.result(10)


def test_that_there_was_no_room_is_over_with_the_next_greeting(
    listen: Callable[[], LoneListener], connection: Connection
) -> None:
    router = listen()
    router.hear()
    router.say(WELCOME)
    router.say(m.Event(NO_ROOM, {"reason": "full"}))
    assert soon(lambda: connection.outbox.no_room == "full")

    router.say(m.Resync())
    assert type(router.hear()) is m.Hello
    router.say(WELCOME)

    assert soon(lambda: connection.outbox.no_room is None)


def soon(holds: Callable[[], bool]) -> bool:
    """Whether something comes to hold within ten seconds."""
    until = time.monotonic() + 10
    while not holds() and time.monotonic() < until:
        time.sleep(0.01)
    return holds()
