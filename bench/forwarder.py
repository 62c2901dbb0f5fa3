"""The floor under every round trip: client → router → child → router → client, in bare pyzmq.

Three processes and the hops a brokered task can't do without; nothing is decoded, stored, queued
or supervised.
"""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import threading
from multiprocessing.synchronize import Event
from types import TracebackType

import zmq

CHILD = b"child"
START_TIMEOUT_S = 30


def end_with_parent() -> None:
    """A killed bench can't stop its children, so each of them waits for its parent's end."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def wait() -> None:
        parent.join()
        os._exit(0)

    threading.Thread(target=wait, daemon=True).start()


def _route(address: str, ready: Event) -> None:
    """Hand what clients send to the child, and what it sends to the client it names."""
    end_with_parent()
    socket = zmq.Context().socket(zmq.ROUTER)
    socket.bind(address)
    socket.recv_multipart()  # the child's hello: from here on it can be reached
    ready.set()
    while True:
        sender, *frames = socket.recv_multipart()
        socket.send_multipart(frames if sender == CHILD else [CHILD, sender, *frames])


def _answer(address: str) -> None:
    """Send everything back as it came."""
    end_with_parent()
    socket = zmq.Context().socket(zmq.DEALER)
    socket.routing_id = CHILD
    socket.connect(address)
    socket.send(b"hello")
    while True:
        socket.send_multipart(socket.recv_multipart())


class Forwarder:
    """The client's side, which owns the other two processes."""

    def __init__(self, parent: str | None = None) -> None:
        """The socket gets a folder in `parent`, else where temporary files go."""
        self._folder = tempfile.TemporaryDirectory(dir=parent, prefix="forwarder-")
        address = f"ipc://{self._folder.name}/router"
        spawn = multiprocessing.get_context("spawn")
        ready = spawn.Event()
        self._processes = [
            spawn.Process(target=_route, args=(address, ready), daemon=True),
            spawn.Process(target=_answer, args=(address,), daemon=True),
        ]
        for process in self._processes:
            process.start()
        if not ready.wait(START_TIMEOUT_S):
            self._stop()
            raise TimeoutError(f"the forwarder did not start within {START_TIMEOUT_S} s")
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.connect(address)

    def echo(self, payload: bytes) -> bytes:
        """One round trip."""
        self._socket.send(payload)
        return self._socket.recv()

    def _stop(self) -> None:
        for process in self._processes:
            process.terminate()
            process.join()
        self._folder.cleanup()

    def __enter__(self) -> Forwarder:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._context.destroy(linger=0)
        self._stop()
