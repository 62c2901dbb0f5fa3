"""Fetching: a worker brings the inputs that its tasks take from the stores that hold them.

What the store has is here at once. The file of a store on the same host is linked: no byte is
copied, and the link outlives what the other worker does with its own. Everything else comes in
chunks, written where they belong into a file in `incoming` and summed up as they come; what comes
out of order the thread that owns the index reads for its checksum. It is a result like others then,
marked as a copy. Which chunk to ask whom for is up to core/chunks.py.

It runs in the worker's loop: it never waits.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import zmq

from ..core import events
from ..core.arrivals import Order
from ..core.worker import WorkerCore
from ..errors import DISK_FULL, ResultLost
from ..protocol import messages as m
from ..protocol import transfer
from ..protocol.checksum import crc32
from ..protocol.outcome import Ref, stored_name
from ..store.content import write_at
from ..store.results import Results
from ..store.writes import Copy, Own, Write
from ..task import unkey
from ..transport.keys import Pair
from ..transport.poller import Poller
from .carrier import Carrier, reachable
from .writer import Writer


class _Coming:
    """An input that comes in chunks: its order, the file it is written to, and the checksum of as
    much of it as has come in order: the bytes are in the processor's cache then."""

    __slots__ = ("crc", "file", "order", "path", "summed")

    def __init__(self, order: Order, path: Path) -> None:
        self.order, self.path = order, path
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        self.file = os.open(path, flags, 0o600)
        self.summed = self.crc = 0

    def write(self, content: Any, offset: int) -> None:
        """Write a part of it.

        Raises:
            OSError: there is no room.
        """
        write_at(self.file, content, offset)
        if offset == self.summed:
            self.crc = crc32(content, self.crc)
            self.summed += len(content)

    def close(self) -> None:
        """What is there of it stays."""
        os.close(self.file)


class Fetching:
    """Carries out the orders of `core`: into `results`, whose index `writer` owns. `poller` waits
    for the connections, which are made in `context`; `host` is this one's name, and `own` the key
    pair that opens the doors of others, if the mesh has keys."""

    def __init__(
        self,
        core: WorkerCore,
        results: Results,
        writer: Writer,
        poller: Poller,
        context: zmq.Context[zmq.Socket[bytes]],
        host: str,
        log: Callable[[str], None],
        own: Pair | None,
    ) -> None:
        self._core, self._results, self._writer = core, results, writer
        self._host, self._own = host, own
        self._carrier = Carrier(context, poller, self, self._relay, log, own)
        self._chunks = self._carrier.chunks
        self._coming: dict[int, _Coming] = {}
        self._whole: list[tuple[Ref, int | None]] = []  # and its fetch, if it came in chunks
        self._committing: dict[int, tuple[Ref, int | None]] = {}  # ticket → what, and its fetch
        self._owning: dict[int, list[Ref]] = {}  # ticket → what is to be this store's own
        self._relayed = False

    def __bool__(self) -> bool:
        return bool(self._coming)

    # -- orders ------------------------------------------------------------------------------

    def fetch(self, order: Order, now: float) -> None:
        """Have an input brought, or find that it is here. The core hears of it, perhaps at once."""
        ref = order.ref
        try:
            self._results.find(ref.task, ref.lease, ref.number)
        except ResultLost as error:
            if order.stores == [self._results.id]:
                self._core.handle(events.Missed(ref, str(error), order.stores), now)
            elif self._link(order):
                self._whole.append((ref, None))
            else:
                self._begin(order, now)
        else:
            self._core.handle(events.Arrived(ref), now)

    def _link(self, order: Order) -> bool:
        """Whether the file of a holder on this host is ours, too, now."""
        ref = order.ref
        mine = self._results.incoming / ref.key.hex()
        for _, host, folder in order.places.values():
            if host != self._host or not folder:
                continue
            theirs = Path(folder) / stored_name(ref.task, ref.lease, ref.number)
            try:
                mine.unlink(missing_ok=True)
                os.link(theirs, mine)
                if mine.stat().st_size == ref.size:
                    return True
                mine.unlink()
            except OSError:
                continue  # not there, another file system, or not allowed: the holder is asked
        return False

    def _begin(self, order: Order, now: float) -> None:
        path = self._results.incoming / order.ref.key.hex()
        try:
            coming = _Coming(order, path)
        except OSError as error:
            self._no_room(order.ref, error, now)
            return
        self._chunks.patience_s = self._core.settings.fetch_timeout_s
        token = self._chunks.begin(order.ref, now)
        self._coming[token] = coming
        self._place(token, order)

    def moved(self, order: Order) -> None:
        """Something that is on its way has other holders, or they are elsewhere."""
        for token, coming in self._coming.items():
            if coming.order.ref.key == order.ref.key:
                self._place(token, order)

    def _place(self, token: int, order: Order) -> None:
        stores = [store for store in order.stores if store != self._results.id]
        addresses = {
            store: reachable(place[0], is_here=place[1] == self._host, own=self._own)
            for store, place in order.places.items()
        }
        self._chunks.place(token, stores, addresses)

    def hand_over(self) -> None:
        """What is all in `incoming` goes to the index. Called at the end of a turn: tickets rise,
        and the core may have given some for what is to be written before."""
        whole, self._whole = self._whole, []
        for ref, token in whole:
            ticket = self._core.slots.next_ticket()
            self._committing[ticket] = (ref, token)
            if token is None:
                copy = Copy(ref, ref.size, ref.crc)  # as good as the other's own
            else:
                copy = Copy(ref, self._coming[token].summed, self._coming[token].crc)
            self._writer.submit(ticket, [copy], [])

    def committed(self, ticket: int, now: float) -> None:
        """The index has taken in what was handed over under tickets up to this one."""
        for each in [each for each in self._committing if each <= ticket]:
            ref, token = self._committing.pop(each)
            try:
                self._results.find(ref.task, ref.lease, ref.number)
            except ResultLost:
                if token is None:
                    self._core.handle(events.Missed(ref, "its file has gone", []), now)
                else:
                    self._anew(token, now)
                continue
            way = transfer.LOCAL
            if token is not None:
                way = transfer.RELAYED if self._chunks[token].is_relayed else transfer.DIRECT
                self._end(token)
            self._core.keeping.fetched(way, ref.size)
            self._core.handle(events.Arrived(ref), now)

        for each in [each for each in self._owning if each <= ticket]:
            refs = self._owning.pop(each)
            self._core.handle(events.Owned([self._owned(refs)]), now)

    def own(self, ticket: int, refs: list[Ref]) -> list[Write]:
        """What is to be written under `ticket`, so that these copies are this store's own."""
        self._owning[ticket] = refs
        return [Own(ref) for ref in refs]

    def _owned(self, refs: list[Ref]) -> list[Any]:
        """Whether all that a lease has stored is here: a row of ADOPTED."""
        why = ""
        for ref in refs:
            try:
                self._results.find(ref.task, ref.lease, ref.number)
            except ResultLost as error:
                why = str(error)
        return [*unkey(refs[0].task), refs[0].lease, refs[0].holder, why]

    def _anew(self, token: int, now: float) -> None:
        """It was not what its ref says: others may have it whole."""
        coming = self._coming[token]
        coming.close()
        self._chunks.spoiled(token, now)
        self._coming[token] = _Coming(coming.order, coming.path)

    # -- in ----------------------------------------------------------------------------------

    def hear(self, ready: set[Any], now: float) -> None:
        """Take what has come from holders."""
        self._carrier.hear(ready, now)

    def hear_relayed(self, message: m.Relay, now: float) -> None:
        """Take what has come by way of the router."""
        self._carrier.hear_relayed(message, now)

    def write(self, token: int, content: Any, offset: int, now: float) -> None:
        """A chunk goes to where it belongs in its file."""
        coming = self._coming[token]
        try:
            coming.write(content, offset)
        except OSError as error:
            self._end(token)
            coming.path.unlink(missing_ok=True)
            self._no_room(coming.order.ref, error, now)

    def whole(self, token: int, now: float) -> None:
        """All of an input has come."""
        self._whole.append((self._coming[token].order.ref, token))

    # -- out, and time -----------------------------------------------------------------------

    def settle(self, now: float) -> bool:
        """Ask for what is to be asked for; whether there is something for the core to send."""
        self._relayed = False
        failures = self._carrier.settle(now)
        for token, reason, lost in failures:
            coming = self._coming[token]
            self._end(token)
            coming.path.unlink(missing_ok=True)
            self._core.handle(events.Missed(coming.order.ref, reason, lost), now)
        doubtful = self._chunks.doubtful(now)
        if doubtful:
            self._core.supply.where([self._chunks[each].ref for each in doubtful], now)
        return bool(failures or doubtful or self._relayed)

    def _relay(self, message: m.Relay) -> None:
        self._core.supply.relay(message)
        self._relayed = True

    def deadline(self, now: float) -> float:
        """When `settle` is due at the latest."""
        return self._chunks.deadline(now)

    def rest(self, seconds: float) -> None:
        """This process was stopped for so long."""
        self._chunks.rest(seconds)

    def _end(self, token: int) -> None:
        self._chunks.end(token)
        self._coming.pop(token).close()

    def _no_room(self, ref: Ref, error: OSError, now: float) -> None:
        """An input cannot be written: its tasks go elsewhere, and others, too, for a while."""
        if error.errno not in DISK_FULL:
            raise error
        reason = f"no room in {self._results.incoming}: {error.strerror}"
        self._core.handle(events.Missed(ref, reason, []), now)
        self._core.handle(events.Stalled(reason), now)

    def close(self) -> None:
        """Let go of all connections and files."""
        for token in list(self._coming):
            self._end(token)
        self._carrier.close()
