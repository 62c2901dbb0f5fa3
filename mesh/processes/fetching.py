"""Fetching: a worker brings the inputs that its tasks take from the stores that hold them.

What the store has is here at once. The file of a store on the same host is linked: no byte is
copied, and the link outlives what the other worker does with its own. Everything else comes in
chunks, written where they belong into a file in `incoming`; the thread that owns the index reads it
for its checksum, and it is a result like others then, marked as a copy. Which chunk to ask whom for
is up to core/chunks.py.

It runs in the worker's loop: it never waits.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import zmq

from ..core import events
from ..core.arrivals import Order
from ..core.chunks import BY_ROUTER, Chunks, Way
from ..core.worker import WorkerCore
from ..errors import DISK_FULL, ResultLost
from ..protocol import messages as m
from ..protocol import transfer
from ..protocol.codec import DecodeError
from ..protocol.outcome import Ref, stored_name
from ..store.results import Copy, Results
from ..transport.poller import Poller
from ..transport.sockets import Dialer
from .writer import Writer

#: Connections to holders that are kept: to more than this nobody talks in the same moment.
DIALERS_MAX = 16


class _Coming:
    """An input that comes in chunks: its order, the file it is written to, and who was asked."""

    __slots__ = ("file", "order", "path")

    def __init__(self, order: Order, path: Path) -> None:
        self.order, self.path = order, path
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        self.file = os.open(path, flags, 0o600)

    def close(self) -> None:
        """What is there of it stays."""
        os.close(self.file)


class Fetching:
    """Carries out the orders of `core`: into `results`, whose index `writer` owns. `poller` waits
    for the connections, which are made in `context`; `host` is this one's name."""

    def __init__(
        self,
        core: WorkerCore,
        results: Results,
        writer: Writer,
        poller: Poller,
        context: zmq.Context[zmq.Socket[bytes]],
        host: str,
        log: Callable[[str], None],
    ) -> None:
        self._core, self._results, self._writer = core, results, writer
        self._poller, self._context, self._host, self._log = poller, context, host, log
        self._chunks = Chunks(core.settings.fetch_timeout_s, random.random, can_relay=True)
        self._coming: dict[int, _Coming] = {}
        self._committing: dict[int, tuple[Ref, int | None]] = {}  # ticket → what, and its fetch
        self._dialers: dict[str, tuple[str, Dialer]] = {}  # address → store and connection

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
                self._commit(ref, None)
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
            store: reachable(place[0], is_here=place[1] == self._host)
            for store, place in order.places.items()
        }
        self._chunks.place(token, stores, addresses)

    def _commit(self, ref: Ref, token: int | None) -> None:
        """All of it is in `incoming`: to the index with it."""
        ticket = self._core.slots.next_ticket()
        self._committing[ticket] = (ref, token)
        self._writer.submit(ticket, [Copy(ref, linked=token is None)], [])

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

    def _anew(self, token: int, now: float) -> None:
        """It was not what its ref says: others may have it whole."""
        coming = self._coming[token]
        coming.close()
        self._chunks.spoiled(token, now)
        self._coming[token] = _Coming(coming.order, coming.path)

    # -- in ----------------------------------------------------------------------------------

    def hear(self, ready: set[Any], now: float) -> None:
        """Take what has come from holders."""
        for address, (store, dialer) in list(self._dialers.items()):
            if dialer.monitor in ready and "cut" in dialer.changes():
                self._chunks.cut(address, now)
            if dialer.socket in ready:
                for frames in dialer.receive():
                    self._take(Way(store, address), frames, now)

    def hear_relayed(self, message: m.Relay, now: float) -> None:
        """Take what has come from a holder by way of the router, and say that it was read."""
        self._take(Way(message.store, BY_ROUTER), [message.head, message.content], now)
        if message.number:
            self._core.supply.relay(m.Relay("", message.number, b"", b""), now)

    def _take(self, way: Way, frames: list[bytes], now: float) -> None:
        try:
            op, token, offset, total = transfer.parse_reply(frames[0])
        except DecodeError as error:
            self._log(f"store {way.store} sent what is no chunk: {error}")
            return
        if op == transfer.LOST:
            reason = frames[1].decode("utf-8", "replace") if len(frames) > 1 else "it is gone"
            self._chunks.lose(token, way.store, reason, now)
            return
        if op == transfer.BUSY:
            self._chunks.busy(token, offset, now)
            return
        if op == transfer.AWAY:
            self._chunks.away(way.store, now)
            return
        content = frames[1] if len(frames) > 1 else b""
        if not self._chunks.take(token, way, offset, len(content), total, now):
            return
        coming = self._coming[token]
        try:
            _write_at(coming.file, content, offset)
        except OSError as error:
            self._end(token)
            coming.path.unlink(missing_ok=True)
            self._no_room(coming.order.ref, error, now)
            return
        if self._chunks.is_whole(token):
            self._commit(coming.order.ref, token)

    # -- out, and time -----------------------------------------------------------------------

    def settle(self, now: float) -> bool:
        """Ask for what is to be asked for; whether the core was told something."""
        failures = self._chunks.silent(now)
        for token, reason, lost in failures:
            coming = self._coming[token]
            self._end(token)
            coming.path.unlink(missing_ok=True)
            self._core.handle(events.Missed(coming.order.ref, reason, lost), now)
        doubtful = self._chunks.doubtful(now)
        if doubtful:
            self._core.supply.where(doubtful, now)
        relayed = False
        for way, get in self._chunks.requests(now):
            if way.address == BY_ROUTER:
                relayed = True
                head = transfer.pack_get(get)
                self._core.supply.relay(m.Relay(way.store, 0, head, b""), now)
            else:
                self._dialer(way).send([transfer.pack_get(get)])
        return bool(failures or doubtful or relayed)

    def deadline(self, now: float) -> float:
        """When `settle` is due at the latest."""
        return self._chunks.deadline(now)

    def rest(self, seconds: float) -> None:
        """This process was stopped for so long."""
        self._chunks.rest(seconds)

    def _dialer(self, way: Way) -> Dialer:
        """The connection to an address; that which was used longest ago makes room for it."""
        known = self._dialers.pop(way.address, None)
        if known is None:
            busy = {each.address for each in self._chunks.asked}
            for address in list(self._dialers):
                if len(self._dialers) < DIALERS_MAX:
                    break
                if address not in busy:
                    self._hang_up(address)
            dialer = Dialer(self._context, way.address)
            self._poller.add(dialer.socket)
            self._poller.add(dialer.monitor, quiet=True)
            known = (way.store, dialer)
        self._dialers[way.address] = known  # the last one used is last
        return known[1]

    def _hang_up(self, address: str) -> None:
        _, dialer = self._dialers.pop(address)
        self._poller.remove(dialer.socket)
        self._poller.remove(dialer.monitor)
        dialer.close()

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
        for address in list(self._dialers):
            self._hang_up(address)


def reachable(addresses: str, *, is_here: bool) -> list[str]:
    """Those of a store's addresses that may be dialled from here; `is_here`: it is on this host."""
    found = addresses.split()
    return [each for each in found if is_here or not each.startswith("ipc://")]


def _write_at(file: int, content: bytes, offset: int) -> None:
    """Write all of `content` where it belongs.

    Raises:
        OSError: there is no room for it.
    """
    view = memoryview(content)
    while len(view):
        written = os.pwrite(file, view, offset)
        view, offset = view[written:], offset + written
