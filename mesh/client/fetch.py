"""Fetching stored results from the workers that hold them, directly.

What is on this host is its file, mapped. From elsewhere it comes in chunks: one connection a
holder, kept and shared; a bounded number of chunks is on its way at any time. Where a holder is
stays known until it does not answer; one that stays away is `ResultUnreachable`.
"""

from __future__ import annotations

import socket
import threading
import time
import zlib
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import zmq

from ..errors import ResultLost, ResultUnreachable
from ..protocol import transfer
from ..protocol.outcome import RESULT, Ref, stored_name
from ..store import content as stored
from ..task import unkey
from ..transport import sockets

#: Without a timeout of its own, a fetch that gets nothing for this long gives up.
PATIENCE_S = 30.0

#: A holder that answers nothing for this long is looked up again.
LOOK_AGAIN_S = 2.0

#: Fetches that the router has not been told of; it is told of the last ones.
FETCHED_MAX = 10_000

#: Makes room for so many bytes: something that slices of bytes can be assigned to.
Into = Callable[[int], Any]


class Place(NamedTuple):
    """Where a store is served, and where it lies."""

    address: str
    host: str
    folder: str

    def address_from(self, host: str) -> str:
        """At which of its addresses it is asked by who is on `host`: the first is for its own."""
        addresses = self.address.split()
        return addresses[0] if host == self.host else addresses[-1]

    @classmethod
    def told(cls, store: str, answer: list[str] | None) -> Place | None:
        """What the router says of a store; None while it is away.

        Raises:
            ResultLost: it is gone for good.
        """
        if answer == []:
            raise ResultLost(
                f"store {store}, which held the result, has been away for too long and is given "
                f"up: submit the task again"
            )
        return None if answer is None else cls(*answer)


class Fetcher:
    """Fetches for one client. `locate(store id, timeout)` gives its place, or None if it is not
    there in time."""

    def __init__(self, locate: Callable[[str, float | None], Place | None]) -> None:
        self._locate = locate
        self._places: dict[str, Place] = {}
        self._host = socket.gethostname()
        self._context: zmq.Context[zmq.Socket[bytes]] | None = None
        self._lock = threading.Lock()
        self._dialers: dict[str, tuple[threading.Lock, sockets.Dialer]] = {}
        self._token = 0
        self.fetched: deque[list[Any]] = deque(maxlen=FETCHED_MAX)  # rows that are not told yet

    def fetch(self, ref: Ref, timeout: float | None = None, into: Into = bytearray) -> Any:
        """The bytes of `ref`: from this host a mapping of its file, else what `into` has made for
        so many, by default memory.

        Raises:
            ResultLost: its holder says that it does not have them, or not whole.
            ResultUnreachable: its holder does not answer.
            TimeoutError: `timeout` seconds were not enough.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        patience = time.monotonic() + PATIENCE_S
        place = self._place(ref.holder, deadline)
        if place is not None and (local := self._local(place, ref)) is not None:
            self._count(ref, transfer.LOCAL)
            return local
        content = into(ref.size)
        missing = list(range(0, ref.size, transfer.CHUNK_BYTES))[::-1]
        while missing:
            before = len(missing)
            if place is not None:
                address = place.address_from(self._host)
                missing = self._get_some(address, ref, content, missing, deadline)
            now = time.monotonic()
            if missing and deadline is not None and now >= deadline:
                raise TimeoutError(f"{ref.size} bytes from store {ref.holder} took too long")
            if len(missing) < before:
                patience = now + PATIENCE_S
            elif now >= patience or place is None:
                raise ResultUnreachable(
                    f"store {ref.holder}, which holds the result ({ref.size} bytes), does not "
                    f"answer: start its worker again, or submit the task again"
                )
            if missing:
                self._places.pop(ref.holder, None)
                place = self._place(ref.holder, deadline)
        if zlib.crc32(content) != ref.crc:
            raise ResultLost(f"the result in store {ref.holder} is damaged: its checksum differs")
        self._count(ref, transfer.DIRECT)
        return content

    def _count(self, ref: Ref, way: int) -> None:
        if ref.number == RESULT:
            self.fetched.append([*unkey(ref.task), way, ref.size])

    def _place(self, holder: str, deadline: float | None) -> Place | None:
        place = self._places.get(holder)
        if place is None:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            place = self._locate(holder, left)
            if place is not None:
                self._places[holder] = place
        return place

    def _local(self, place: Place, ref: Ref) -> memoryview | None:
        """The file itself, if it is on this host and whole. Else its holder is asked, and says
        what is wrong."""
        if place.host != self._host or not place.folder:
            return None
        file = Path(place.folder) / stored_name(ref.task, ref.lease, ref.number)
        return stored.whole(file, ref.size, ref.crc)

    def _get_some(
        self,
        address: str,
        ref: Ref,
        content: Any,
        missing: list[int],
        deadline: float | None,
    ) -> list[int]:
        """Ask one holder until it is silent; what is still missing then."""
        lock, dialer = self._dialer(address)
        with lock:
            self._token += 1
            token = self._token
            asked: set[int] = set()
            while missing or asked:
                while missing and len(asked) < transfer.WINDOW_CHUNKS:
                    offset = missing.pop()
                    get = transfer.Get(
                        token, ref.task, ref.lease, ref.number, offset, transfer.CHUNK_BYTES
                    )
                    dialer.send([transfer.pack_get(get)])
                    asked.add(offset)
                wait = LOOK_AGAIN_S
                if deadline is not None:
                    wait = max(0.0, min(wait, deadline - time.monotonic()))
                if not dialer.socket.poll(int(wait * 1000)):
                    return missing + sorted(asked, reverse=True)
                for frames in dialer.receive():
                    op, answered, offset, total = transfer.parse_reply(frames[0])
                    if answered != token:
                        continue  # of a fetch that was given up
                    if op == transfer.LOST:
                        raise ResultLost(frames[1].decode("utf-8", "replace"))
                    if total != ref.size:
                        raise ResultLost(
                            f"store {ref.holder} holds {total} bytes instead of {ref.size}"
                        )
                    if offset in asked:
                        content[offset : offset + len(frames[1])] = frames[1]
                        asked.discard(offset)
        return missing

    def _dialer(self, address: str) -> tuple[threading.Lock, sockets.Dialer]:
        with self._lock:
            if self._context is None:
                self._context = sockets.context()
            entry = self._dialers.get(address)
            if entry is None:
                entry = self._dialers[address] = (
                    threading.Lock(),
                    sockets.Dialer(self._context, address),
                )
            return entry

    def close(self) -> None:
        """Disconnect from all holders."""
        with self._lock:
            for lock, dialer in self._dialers.values():
                with lock:
                    dialer.close()
            self._dialers.clear()
            self._places.clear()  # who asks from now on is told why there is no answer
            if self._context is not None:
                self._context.term()
                self._context = None
