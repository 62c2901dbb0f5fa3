"""Uploading: content goes to a home worker whose folder this client cannot write to, in parts.

One connection, made when it is first needed; a bounded number of parts is on its way. A part is cut
out of the buffers where they are. What was answered is not sent again, whatever happens meanwhile.
"""

from __future__ import annotations

import errno
import threading
from bisect import bisect_right
from itertools import accumulate
from typing import Any

import zmq

from ..protocol import upload
from ..protocol.transfer import CHUNK_BYTES, WINDOW_CHUNKS
from ..transport import sockets
from ..transport.keys import Pair

#: Who answers nothing for so long is looked up again.
SILENT_S = 2.0


class Content:
    """The parts of a payload as one run of `size` bytes, and of those the `missing` offsets."""

    def __init__(self, parts: list[Any]) -> None:
        self._views = [memoryview(part).cast("B") for part in parts]
        self._ends = list(accumulate(len(view) for view in self._views))
        self.size = self._ends[-1]
        self.missing = list(range(0, self.size, CHUNK_BYTES))[::-1]

    def at(self, offset: int) -> Any:
        """The bytes of the chunk that begins at `offset`."""
        end = min(offset + CHUNK_BYTES, self.size)
        nth = bisect_right(self._ends, offset)
        cut: list[memoryview] = []
        while offset < end:
            view = self._views[nth]
            begin = self._ends[nth] - len(view)
            cut.append(view[offset - begin : end - begin])
            offset += len(cut[-1])
            nth += 1
        return cut[0] if len(cut) == 1 else b"".join(cut)


class Uploader:
    """Uploads for one client, whose key pair is `own`."""

    def __init__(self, own: Pair | None) -> None:
        self._own = own
        self._silent = 0  # so many addresses have not answered, one after the other
        self._lock = threading.Lock()
        self._context: zmq.Context[zmq.Socket[bytes]] | None = None
        self._dialer: sockets.Dialer | None = None
        self._token = 0

    def send(self, addresses: list[str], task: bytes, lease: int, content: Content) -> None:
        """Leave what is missing of `content` with the worker at one of `addresses`: the next time
        at the next, if this one does not answer.

        Raises:
            OSError: it has no room, or does not answer.
        """
        if not addresses:
            raise OSError(errno.EHOSTUNREACH, "the home worker serves at no address of this mesh's")
        with self._lock:
            dialer = self._dial(addresses[self._silent % len(addresses)])
            self._token += 1
            asked: set[int] = set()
            try:
                while content.missing or asked:
                    while content.missing and len(asked) < WINDOW_CHUNKS:
                        offset = content.missing.pop()
                        asked.add(offset)
                        part = upload.Part(self._token, task, lease, offset, content.size)
                        dialer.send([upload.pack_part(part), content.at(offset)])
                    if not dialer.socket.poll(int(SILENT_S * 1000)):
                        self._silent += 1
                        raise OSError(errno.ETIMEDOUT, "the home worker does not answer")
                    self._hear(dialer, asked)
            finally:
                content.missing += sorted(asked, reverse=True)

    def _hear(self, dialer: sockets.Dialer, asked: set[int]) -> None:
        for frames in dialer.receive():
            op, token, offset = upload.parse_answer(frames[0])
            if token != self._token:
                continue  # of one that was given up
            if op == upload.FULL:
                raise OSError(errno.ENOSPC, frames[1].decode("utf-8", "replace"))
            asked.discard(offset)

    def _dial(self, address: str) -> sockets.Dialer:
        if self._dialer is not None and self._dialer.address != address:
            self._dialer.close()
            self._dialer = None
        if self._context is None:
            self._context = sockets.context()
        if self._dialer is None:
            self._dialer = sockets.Dialer(self._context, address, self._own)
        return self._dialer

    def close(self) -> None:
        """Disconnect."""
        with self._lock:
            if self._dialer is not None:
                self._dialer.close()
            if self._context is not None:
                self._context.term()
            self._dialer = self._context = None
