"""Fetching stored results from the workers that hold them.

What is on this host is its file, mapped. Everything else comes in chunks, in a thread that starts
when it is first needed and serves all who wait; directly, or by way of the router where a holder
cannot be reached. Where a holder is stays known until it does not answer; one that stays away is
`ResultUnreachable`.
"""

from __future__ import annotations

import math
import queue
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from ..core.events import Settings
from ..errors import MeshError, ResultLost, ResultUnreachable
from ..processes.carrier import Carrier, reachable
from ..protocol import messages as m
from ..protocol import transfer
from ..protocol.checksum import crc32
from ..protocol.outcome import RESULT, Ref, stored_name
from ..store import content as stored
from ..task import show, unkey
from ..transport import sockets
from ..transport.keys import Pair
from ..transport.poller import Poller
from ..transport.wake import Wake

#: Fetches that the router has not been told of; it is told of the last ones.
FETCHED_MAX = 10_000

#: The router is told at most so often: each time costs it as much as a task that does nothing.
TELL_EVERY_S = 0.1

#: Makes room for so many bytes: something that slices of bytes can be assigned to.
Into = Callable[[int], Any]


class Place(NamedTuple):
    """Where a store is served, as addresses with a space between, and where it lies."""

    address: str
    host: str
    folder: str

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


class Job:
    """One fetch, between the thread that waits for it and the one that carries it out.

    Attributes:
        content: where the chunks go.
        place: of its holder, if that is there.
        told: what the one that waits is told: DOUBT, that the holder should be looked for; by which
            way it came; or why it does not come.
        token: of its chunks, once it was begun.
    """

    def __init__(self, ref: Ref, content: Any, place: Place) -> None:
        self.ref, self.content, self.place = ref, content, place
        self.told: queue.SimpleQueue[int | Exception] = queue.SimpleQueue()
        self.token: int | None = None


DOUBT = -1


class Fetcher:
    """Fetches for one client. `locate(store id, timeout)` gives its place, or None if it is not
    there in time. `relay` sends by way of the router; without it nothing goes there. A fetch
    that gets nothing for `patience_s()`, asked when the first begins, gives up. `own` is the key
    pair of this client."""

    def __init__(
        self,
        locate: Callable[[str, float | None], Place | None],
        relay: Callable[[m.Relay], None] | None = None,
        patience_s: Callable[[], float] = lambda: Settings().fetch_timeout_s,
        own: Pair | None = None,
    ) -> None:
        self._locate, self._relay, self._own = locate, relay, own
        self._patience_s = patience_s
        self._places: dict[str, Place] = {}
        self._host = socket.gethostname()
        self._lock = threading.Lock()
        self._fetched: deque[list[Any]] = deque(maxlen=FETCHED_MAX)  # rows that are not told yet
        self._tell_at = 0.0
        self._thread: _Thread | None = None

    def fetch(self, ref: Ref, timeout: float | None = None, into: Into = bytearray) -> Any:
        """The bytes of `ref`: from this host a mapping of its file, else what `into` has made for
        so many, by default memory.

        Raises:
            ResultLost: its holder says that it does not have them, or not whole.
            ResultUnreachable: its holder does not answer.
            TimeoutError: `timeout` seconds were not enough.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        place = self._place(ref, deadline)
        local = self._local(place, ref)
        if local is not None:
            self._count(ref, transfer.LOCAL)
            return local
        content = into(ref.size)
        job = Job(ref, content, place)
        way = DOUBT
        thread = self._running()
        thread.begin(job)
        try:
            while way == DOUBT:
                told = job.told.get(timeout=_left(deadline))
                if isinstance(told, Exception):
                    raise told
                way = told
                if way == DOUBT:
                    self._places.pop(ref.holder, None)
                    job.place = self._place(ref, deadline)
                    thread.place(job)
        except queue.Empty:
            raise TimeoutError(f"{ref.size} bytes from store {ref.holder} took too long") from None
        finally:
            thread.end(job)
        if crc32(content) != ref.crc:
            raise ResultLost(f"the result in store {ref.holder} is damaged: its checksum differs")
        self._count(ref, way)
        return content

    def _count(self, ref: Ref, way: int) -> None:
        if ref.number == RESULT:
            self._fetched.append([*unkey(ref.task), way, ref.size])

    def _place(self, ref: Ref, deadline: float | None) -> Place:
        place = self._places.get(ref.holder)
        if place is None:
            place = self._locate(ref.holder, _left(deadline))
            if place is None and deadline is not None and time.monotonic() >= deadline:
                raise TimeoutError(f"{ref.size} bytes from store {ref.holder} took too long")
            if place is None:
                raise unreachable(ref)
            self._places[ref.holder] = place
        return place

    def _local(self, place: Place, ref: Ref) -> memoryview | None:
        """The file itself, if it is on this host and whole. Else its holder is asked, and says
        what is wrong."""
        if place.host != self._host or not place.folder:
            return None
        file = Path(place.folder) / stored_name(ref.task, ref.lease, ref.number)
        return stored.whole(file, ref.size, ref.crc)

    # -- for its connection's thread ---------------------------------------------------------

    def unsent(self, now: float) -> list[m.Message]:
        """What the router is to be told, now or later; all of it may be lost. What many small
        fetches say goes together: nobody waits for it."""
        if not self._fetched or now < self._tell_at:
            return []
        self._tell_at = now + TELL_EVERY_S
        rows = [self._fetched.popleft() for _ in range(len(self._fetched))]
        return [m.Fetched(rows)]

    def deadline(self, now: float) -> float:
        """When the router is to be told something."""
        return max(now, self._tell_at) if self._fetched else math.inf

    def hear_relayed(self, message: m.Relay) -> None:
        """Something has come by way of the router."""
        if self._thread is not None:
            self._thread.hear_relayed(message)

    # -- the thread --------------------------------------------------------------------------

    def _running(self) -> _Thread:
        with self._lock:
            if self._thread is None:
                self._thread = _Thread(self._host, self._relay, self._patience_s(), self._own)
            return self._thread

    def close(self) -> None:
        """Disconnect from all holders. Who waits for a fetch is told why there is no result."""
        with self._lock:
            thread, self._thread = self._thread, None
            self._places.clear()  # who asks from now on is told why there is no answer
        if thread is not None:
            thread.close()


class _Thread:
    """Carries out fetches on `host`, each until it gets nothing for `patience_s`. `relay` sends by
    way of the router, if there is one; `own` is the key pair that opens holders' doors."""

    def __init__(
        self,
        host: str,
        relay: Callable[[m.Relay], None] | None,
        patience_s: float,
        own: Pair | None,
    ) -> None:
        self._host, self._own = host, own
        self._context = sockets.context()
        self._wake = Wake()
        self._poller = Poller()
        self._poller.add(self._wake)
        self._carrier = Carrier(self._context, self._poller, self, relay, lambda line: None, own)
        self._carrier.chunks.patience_s = patience_s
        self._jobs: dict[int, Job] = {}
        self._orders: deque[Callable[[float], None]] = deque()
        self._lock = threading.Lock()
        self._waited_for: set[Job] = set()
        self._ended: Exception | None = None
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="mesh-fetch", daemon=True)
        self._thread.start()

    def begin(self, job: Job) -> None:
        """Carry out a fetch."""
        with self._lock:
            self._waited_for.add(job)
            if self._ended is not None:
                job.told.put(self._ended)
        self._order(lambda now: self._begin(job, now))

    def place(self, job: Job) -> None:
        """Its holder has been looked for."""
        self._order(lambda now: self._place(job))

    def end(self, job: Job) -> None:
        """Nobody waits for it any more."""
        with self._lock:
            self._waited_for.discard(job)
        self._order(lambda now: self._end(job))

    def hear_relayed(self, message: m.Relay) -> None:
        """Something has come by way of the router."""
        self._order(lambda now: self._carrier.hear_relayed(message, now))

    def _order(self, order: Callable[[float], None]) -> None:
        self._orders.append(order)
        self._wake.set()

    def close(self) -> None:
        """End it, and what it does."""
        self._closing = True
        self._wake.set()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _run(self) -> None:
        chunks = self._carrier.chunks
        why: Exception = MeshError("the mesh was closed")
        try:
            while not self._closing:
                now = time.monotonic()
                due = chunks.deadline(now)
                ready = self._poller.wait(min(due - now, 3600.0))
                now = time.monotonic()
                if now - due > chunks.patience_s:
                    chunks.rest(now - due)  # this process was stopped
                self._wake.clear()
                while self._orders:
                    self._orders.popleft()(now)
                self._carrier.hear(ready, now)
                self._settle(now)
        except Exception as error:
            why = error
        finally:
            self._carrier.close()
            self._context.term()
            with self._lock:
                self._ended = why
                for job in self._waited_for:
                    job.told.put(why)
            self._wake.close()

    def _settle(self, now: float) -> None:
        for token, reason, lost in self._carrier.settle(now):
            job = self._jobs[token]
            job.told.put(ResultLost(reason) if lost else unreachable(job.ref))
            self._end(job)
        for token in self._carrier.chunks.doubtful(now):
            self._jobs[token].told.put(DOUBT)

    def _begin(self, job: Job, now: float) -> None:
        job.token = self._carrier.chunks.begin(job.ref, now)
        self._jobs[job.token] = job
        self._place(job)

    def _place(self, job: Job) -> None:
        if job.token in self._jobs:
            is_here = job.place.host == self._host
            addresses = reachable(job.place.address, is_here=is_here, own=self._own)
            holder = job.ref.holder
            self._carrier.chunks.place(job.token, [holder], {holder: addresses})

    def write(self, token: int, content: Any, offset: int, now: float) -> None:
        """A chunk has come."""
        job = self._jobs[token]
        try:
            job.content[offset : offset + len(content)] = content
        except Exception as error:  # who asked has given something that does not take it
            job.told.put(error)
            self._end(job)

    def whole(self, token: int, now: float) -> None:
        """All of a result has come."""
        way = transfer.RELAYED if self._carrier.chunks[token].is_relayed else transfer.DIRECT
        self._jobs[token].told.put(way)
        self._end(self._jobs[token])

    def _end(self, job: Job) -> None:
        if job.token is not None and self._jobs.pop(job.token, None) is not None:
            self._carrier.chunks.end(job.token)


def unreachable(ref: Ref) -> ResultUnreachable:
    """The error of a result whose holder is not there."""
    return ResultUnreachable(
        f"store {ref.holder}, which holds the result ({ref.size} bytes), does not answer: start "
        f"its worker again, or submit the task again"
    )


def evicted(ref: Ref) -> ResultLost:
    """The error of a result that its holder has let go of to make room."""
    return ResultLost(
        f"the result of {show(*unkey(ref.task))} was evicted: store {ref.holder} had no room, and "
        f"nobody was known to need it. Submit the task again"
    )


def _left(deadline: float | None) -> float | None:
    return None if deadline is None else max(0.0, deadline - time.monotonic())
