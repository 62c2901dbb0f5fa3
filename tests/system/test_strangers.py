"""Strangers by the thousand, who have no key and come all the same: they cost nobody else anything,
not even the last descriptor."""

from __future__ import annotations

import os
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
import sample_tasks as tasks

from mesh import Mesh
from mesh.transport import descriptors
from mesh.transport.interfaces import parse

#: What ZMTP 3 begins with, for CURVE.
GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x01CURVE" + bytes(15) + b"\0" + bytes(31)

#: Beyond what a monitor of libzmq keeps until it is looked at.
MANY = 3000

#: So many come before router and worker have had a turn: who has few descriptors can be rushed.
AT_ONCE = 20

#: A stranger who is not let in does not wait for it.
STRANGER_S = 0.2

TLS = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500)
#: A command and a frame that would be half a gigabyte.
HUGE = [GREETING + flags + struct.pack(">Q", 1 << 29) + b"x" for flags in (b"\x06", b"\x02")]
SAID = [b"", b"GET / HTTP/1.1\r\n\r\n", TLS, GREETING[:20], GREETING, os.urandom(200), *HUGE]


@pytest.fixture
def listening(tmp_path: Path) -> Iterator[Mesh]:
    with Mesh(dir=tmp_path / "own", slots=1, listen="tcp://127.0.0.1:*") as m:
        m.wait_for_slots(1, 20)
        yield m


def ports(mesh: Mesh) -> dict[str, int]:
    """Those of the router and of the worker."""
    told = mesh.status()
    found = {"router": told["router"]["address"], "worker": told["workers"][0]["data"].split()[-1]}
    return {who: parse(each.partition("#")[0])[1] for who, each in found.items()}  # type: ignore[index]


@contextmanager
def unharmed(mesh: Mesh) -> Iterator[None]:
    """It is the same, and works, meanwhile and afterwards; also for who joins."""
    before = mesh.status()
    yield
    assert mesh.submit(pow, 2, 5).result(20) == 32
    assert len(mesh.submit(bytes, 100_000).result(20)) == 100_000
    with Mesh(access=mesh.folder) as joined:
        assert joined.submit(pow, 2, 6).result(20) == 64
    after = mesh.status()
    assert after["router"]["pid"] == before["router"]["pid"], "the router was restarted"
    assert after["router"]["memory_bytes"] < before["router"]["memory_bytes"] + 200e6
    own = [worker["incarnation"] for worker in before["workers"]]
    assert [worker["incarnation"] for worker in after["workers"]] == own


@pytest.mark.parametrize("who", ["router", "worker"])
def test_thousands_who_hang_up_are_forgotten(listening: Mesh, who: str) -> None:
    port = ports(listening)[who]
    with unharmed(listening):
        for nth in range(MANY):
            with socket.create_connection(("127.0.0.1", port), 20) as stranger, suppress(OSError):
                stranger.sendall(SAID[nth % len(SAID)])


def test_thousands_who_stay_and_say_nothing_or_half_of_it_disturb_nobody(listening: Mesh) -> None:
    descriptors.reserve(MANY + 100, "this test")
    crowd = []
    try:
        with unharmed(listening):
            for port in ports(listening).values():
                for nth in range(MANY // 2):
                    crowd.append(socket.create_connection(("127.0.0.1", port), 20))
                    with suppress(OSError):
                        crowd[-1].sendall(SAID[nth % len(SAID)])
    finally:
        for each in crowd:
            each.close()


FEW = """
    import resource, sys
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
    from mesh import Mesh
    with Mesh(dir=sys.argv[1], slots=1, listen="tcp://127.0.0.1:*") as m:
        m.wait_for_slots(1, 20)
        print("up", flush=True)
        open(sys.argv[2]).read()
"""


def let_in(port: int) -> socket.socket | None:
    """A stranger's connection, unless the gate is shut."""
    try:
        return socket.create_connection(("127.0.0.1", port), STRANGER_S)
    except OSError:
        return None


def test_strangers_never_take_the_last_descriptor(script, tmp_path: Path) -> None:
    """libzmq would end the process when somebody came by ipc then. Who is in stays in; and when the
    strangers have gone the gate opens again."""
    gate = tasks.pipe_at(tmp_path / "gate")
    owner = script(FEW, tmp_path / "own", gate)
    owner.line()
    crowd: list[socket.socket] = []
    with Mesh(access=tmp_path / "own") as m:
        far = ports(m)
        try:
            with unharmed(m):
                for port in far.values():
                    while len(crowd) < 1000 and (each := let_in(port)) is not None:
                        crowd.append(each)
                        if not len(crowd) % AT_ONCE:
                            assert m.submit(pow, 2, 4).result(20) == 16
                told = m.status()
                for count, limit in (
                    told["router"]["descriptors"],
                    told["workers"][0]["descriptors"],
                ):
                    assert count < limit == 256, "some are kept"
                assert len(crowd) < 1000, "nobody was kept out"
        finally:
            for each in crowd:
                each.close()
        for port in far.values():
            while (again := let_in(port)) is None:
                m.status()  # a round trip, in which they go on
            again.close()
        log = (tmp_path / "own" / "log" / "router.log").read_text()
        assert "lets nobody else in by TCP" in log and "lets newcomers in again" in log
    tasks.let_go(gate)
    owner.finish()


class Wiretap:
    """A wire to a port of this host on which somebody listens, and says what it likes. A context.

    Attributes:
        heard: what came from who dials, piece by piece.
        line: the wire to the port that was laid last.
        port: where to dial.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self.heard: list[bytes] = []
        self.line: socket.socket | None = None
        self._ends: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]

    def __enter__(self) -> Wiretap:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        for each in (self._server, *self._ends):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for each in (self._server, *self._ends):
            each.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near = self._server.accept()[0]
                far = socket.create_connection(("127.0.0.1", self._target))
                self._ends += [near, far]
                self.line = far
                for ends in ((near, far), (far, near)):
                    self._threads.append(threading.Thread(target=self._carry, args=ends))
                    self._threads[-1].start()

    def _carry(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if target is self.line:
                    self.heard.append(data)
                target.sendall(data)
        for each in (source, target):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


def test_what_is_said_again_or_forged_on_the_wire_counts_for_nothing(
    listening: Mesh, tmp_path: Path
) -> None:
    with Wiretap(ports(listening)["router"]) as tap, unharmed(listening):
        access = listening._connection.access
        file = tmp_path / "tapped.json"
        replace(access, addresses=[f"tcp://127.0.0.1:{tap.port}"]).write(file)
        with Mesh(access=file) as far:
            assert far.submit(pow, 2, 3).result(20) == 8
            said = list(tap.heard)

            # All of it once more, by somebody else
            port = ports(listening)["router"]
            with socket.create_connection(("127.0.0.1", port), 20) as other, suppress(OSError):
                for piece in said:
                    other.sendall(piece)
                other.shutdown(socket.SHUT_WR)
                while other.recv(65536):
                    pass

            # The last of it once more, and then changed, on the wire that is open
            for forged in (said[-1], said[-1][:-1] + bytes([said[-1][-1] ^ 1])):
                before = tap.line
                before.sendall(forged)
                assert far.submit(pow, 2, 4).result(20) == 16
                assert tap.line is not before, "the router has hung up, and was dialled anew"
        assert listening.status()["tasks"]["done"] == 3, "nothing was taken twice"
