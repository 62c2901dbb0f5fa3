"""Uploading: content goes to a home worker whose folder this client cannot write to, in parts.

One connection, made when it is first needed, or the router passes the parts on where none can be
had; a bounded number of parts is on its way. A part is cut out of the buffers where they are. What
was answered is not sent again, whatever happens meanwhile.
"""

from __future__ import annotations

import errno
import queue
import threading
import time
from bisect import bisect_right
from collections.abc import Callable
from itertools import accumulate
from typing import Any

import zmq

from ..core.chunks import BUSY_S, BUSY_S_MAX, BY_ROUTER, FAILED_S, RELAYED_CHUNKS
from ..protocol import messages as m
from ..protocol import upload
from ..protocol.transfer import CHUNK_BYTES, WINDOW_CHUNKS
from ..transport import sockets
from ..transport.keys import Pair

#: Who answers nothing for so long is looked up again, and looked for by another way.
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
    """Uploads for one client, whose key pair is `own`; `relay` sends by way of the router."""

    def __init__(self, own: Pair | None, relay: Callable[[m.Relay], None]) -> None:
        self._direct = _Direct(own)
        self._relayed = _Relayed(relay)
        self._silent = 0  # so many ways have not answered, one after the other
        self._silent_at = 0.0
        self._lock = threading.Lock()
        self._token = 0

    def send(
        self, store: str, addresses: list[str], task: bytes, lease: int, content: Content
    ) -> None:
        """Leave what is missing of `content` with the worker of `store`, at one of `addresses` or
        by way of the router: the next time by the next way, if this one does not answer.

        Raises:
            OSError: it has no room, or does not answer.
        """
        with self._lock:
            if time.monotonic() - self._silent_at > FAILED_S:
                self._silent = 0
            ways = [*addresses, BY_ROUTER]
            way = ways[self._silent % len(ways)]
            line = self._relayed.to(store) if way == BY_ROUTER else self._direct.to(way)
            self._token += 1
            asked: set[int] = set()
            try:
                self._send(
                    line, upload.Part(self._token, task, lease, 0, content.size), content, asked
                )
            except TimeoutError:
                self._silent, self._silent_at = self._silent + 1, time.monotonic()
                raise
            finally:
                content.missing += sorted(asked, reverse=True)

    def _send(
        self, line: _Direct | _Relayed, part: upload.Part, content: Content, asked: set[int]
    ) -> None:
        """Send what is missing over `line`; `asked`, what of it was not answered."""
        busy = 0
        while content.missing or asked:
            while content.missing and len(asked) < line.window:
                offset = content.missing.pop()
                asked.add(offset)
                line.send(upload.pack_part(part._replace(offset=offset)), content.at(offset))
            answers = line.heard(SILENT_S)
            if not answers:
                raise TimeoutError(errno.ETIMEDOUT, "the home worker does not answer")
            refused = [each for each in answers if self._took(each, content, asked)]
            busy = busy + 1 if len(refused) == len(answers) else 0
            if busy:  # what others send is on its way
                time.sleep(min(BUSY_S * 2.0**busy, BUSY_S_MAX))

    def _took(self, frames: list[Any], content: Content, asked: set[int]) -> bool:
        """Take an answer; whether it was refused for now.

        Raises:
            OSError: there is no room for it, or nobody.
        """
        op, token, offset = upload.parse_answer(frames[0])
        if token != self._token:
            return False  # of one that was given up
        if op == upload.FULL:
            raise OSError(errno.ENOSPC, bytes(frames[1]).decode("utf-8", "replace"))
        if op == upload.AWAY:
            raise TimeoutError(errno.ETIMEDOUT, "the home worker is away")
        if offset in asked:
            asked.discard(offset)
            if op == upload.BUSY:
                content.missing.append(offset)
        return op == upload.BUSY

    def hear_relayed(self, message: m.Relay) -> None:
        """An answer has come by way of the router. Called in the connection's thread."""
        self._relayed.answers.put(message)

    def close(self) -> None:
        """Disconnect."""
        with self._lock:
            self._direct.close()


class _Direct:
    """The connection to an address."""

    window = WINDOW_CHUNKS

    def __init__(self, own: Pair | None) -> None:
        self._own = own
        self._context: zmq.Context[zmq.Socket[bytes]] | None = None
        self._dialer: sockets.Dialer | None = None

    def to(self, address: str) -> _Direct:
        """Connected there."""
        if self._dialer is not None and self._dialer.address != address:
            self._dialer.close()
            self._dialer = None
        if self._context is None:
            self._context = sockets.context()
        if self._dialer is None:
            self._dialer = sockets.Dialer(self._context, address, self._own)
        return self

    def send(self, head: bytes, content: Any) -> None:
        assert self._dialer is not None
        self._dialer.send([head, content])

    def heard(self, within_s: float) -> list[list[Any]]:
        """What was answered, as soon as something was."""
        assert self._dialer is not None
        return (
            list(self._dialer.receive()) if self._dialer.socket.poll(int(within_s * 1000)) else []
        )

    def close(self) -> None:
        if self._dialer is not None:
            self._dialer.close()
        if self._context is not None:
            self._context.term()
        self._dialer = self._context = None


class _Relayed:
    """The way through the router: `relay` sends; `answers` come from the connection's thread."""

    window = RELAYED_CHUNKS

    def __init__(self, relay: Callable[[m.Relay], None]) -> None:
        self._relay = relay
        self._store = ""
        self.answers: queue.SimpleQueue[m.Relay] = queue.SimpleQueue()

    def to(self, store: str) -> _Relayed:
        """Leading to the worker of a store."""
        self._store = store
        return self

    def send(self, head: bytes, content: Any) -> None:
        self._relay(m.Relay(self._store, 0, head, content))

    def heard(self, within_s: float) -> list[list[Any]]:
        """The next answer, if one comes, and the router is told that it was read."""
        try:
            answer = self.answers.get(timeout=within_s)
        except queue.Empty:
            return []
        if answer.number:
            self._relay(m.Relay("", answer.number, b"", b""))
        return [[answer.head, answer.content]]
