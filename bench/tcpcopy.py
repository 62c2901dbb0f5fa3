"""The floor under bulk transfers: results copied over one plain TCP connection of two processes.

One has them in memory, and in the end the other does: no file, no checksum, no framing.
"""

from __future__ import annotations

import multiprocessing
import os
import socket
import time
from types import TracebackType

from .forwarder import end_with_parent

#: What is given to the kernel at once: more was not faster.
SEND_BYTES = 1 << 20


def _send(listener: socket.socket, total: int) -> None:
    """Send as many bytes as are asked for, whenever they are."""
    end_with_parent()
    content = memoryview(os.urandom(1 << 20) * (total // (1 << 20) + 1))
    connection, _ = listener.accept()
    while asked := connection.recv(8):
        size, at = int.from_bytes(asked, "little"), 0
        while at < size:
            at += connection.send(content[at : min(at + SEND_BYTES, size)])


class TcpCopy:
    """The side that reads, which owns the other process. It copies `count` results of `size`."""

    def __init__(self, count: int, size: int) -> None:
        self._count, self._size = count, size
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self._sender = multiprocessing.Process(
                target=_send, args=(listener, count * size), daemon=True
            )
            self._sender.start()
            self._connection = socket.create_connection(listener.getsockname())

    def bytes_per_second(self) -> float:
        """How fast all of them come."""
        start = time.perf_counter()
        total = self._count * self._size
        self._connection.sendall(total.to_bytes(8, "little"))
        kept = []
        for _ in range(self._count):
            result = memoryview(bytearray(self._size))
            at = 0
            while at < self._size:
                at += self._connection.recv_into(result[at:])
            kept.append(result)
        return total / (time.perf_counter() - start)

    def __enter__(self) -> TcpCopy:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._connection.close()
        self._sender.join()
