"""Puts: objects that tasks may take, from clients: records that are done from the start.

A small one is recorded as it comes. The content of a large one its client has left with the home
worker: that is to take it in first (TAKE, TAKEN). Until then the client's line waits (`parked`), so
that what comes behind, and may name the put as an input, is recorded behind it; but of all puts in
that line the workers are asked at once. What cannot be had is recorded as failed, and fails
what takes it. So the acknowledgement of a PUT means: the content is in a store, and the record on
disk. Its outcome is told as late, for nobody else could say what was put; not that of an argument
which is there: how its task ends is told.

What was put lately memory knows: tasks that take it need not ask the store.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from ..protocol import messages as m
from ..protocol.outcome import RESULT, Ref, failure_body, parse, parse_ref
from ..task import Kind, key, show, unkey
from .ledger import NOBODY, PUTS, RECORD
from .member import Member
from .peers import Peer

if TYPE_CHECKING:
    from .router import RouterCore

#: After so long questions and the like pass a client's put: its worker is away, or stands still.
PATIENCE_S = 1.0

#: In place of a function's digest.
PUT = b"put"


@dataclass(slots=True)
class _Wait:
    """Content that a worker is to take in: since when, of which client, and, once the worker has
    said so, why it could not; "" if it has."""

    peer: Peer
    ref: Ref
    since: float
    why: str | None = None


class Puts:
    """Takes clients' puts for `core`."""

    def __init__(self, core: RouterCore) -> None:
        self._core = core
        self._ledger = core.ledger
        self._fleet = core.fleet
        self._waits: dict[bytes, _Wait] = {}
        self._heads: dict[Peer, list[list[Any]]] = {}  # the PUT at the head of each line
        self._slow: set[Peer] = set()  # whose line waits for longer than PATIENCE_S

    # -- from clients ------------------------------------------------------------------------

    def take_put(self, peer: Peer, message: m.Put, now: float) -> None:
        """Record these, as soon as their content is in a store."""
        rows = list({row[0]: row for row in message.rows}.values())
        highest = self._ledger.sessions.get(peer.who, -1)
        doubtful = [key(peer.who, row[0]) for row in rows if row[0] <= highest]
        if not doubtful:
            self._take(peer, rows, now)
            return
        peer.parked = deque()

        def found(answer: Any, now: float) -> None:
            if self._core.peers.by_id.get(peer.id) is not peer:
                return  # it has dialled anew, and sends again
            new = []
            for row in rows:
                task = key(peer.who, row[0])
                if task in answer.recorded:  # its acknowledgement was lost
                    self._waits.pop(task, None)
                else:
                    new.append(row)
            self._take(peer, new, now)

        self._core.lookups.ask("submitted", ([], doubtful, []), found)

    def ahead(self, peer: Peer, message: m.Put, now: float) -> None:
        """A PUT waits in the line of `peer`: workers may take its content in meanwhile."""
        self._ask(peer, message.rows, now)

    def _take(self, peer: Peer, rows: list[list[Any]], now: float) -> None:
        self._ask(peer, rows, now)
        self._heads[peer] = rows
        if self._is_done(peer, now):
            if peer.is_parked:
                self._core.resume(peer, now)
        elif not peer.is_parked:
            peer.parked = deque()

    def _ask(self, peer: Peer, rows: list[list[Any]], now: float) -> None:
        """Have workers take in what is not theirs yet."""
        wanted: dict[str, list[Ref]] = {}
        for row in rows:
            ref = _ref_of(peer, row)
            if ref is None:
                continue
            wait = self._waits.get(ref.task)
            if wait is None or wait.peer is not peer:
                self._waits[ref.task] = _Wait(peer, ref, now)
                wanted.setdefault(ref.holder, []).append(ref)
        for store, refs in wanted.items():
            self._send_take(store, refs, now)

    def _send_take(self, store: str, refs: list[Ref], now: float) -> None:
        worker = self._fleet.workers.get(store)
        if worker is not None and worker.peer is not None and refs:
            rows = [[*unkey(ref.task), ref.size, ref.crc] for ref in refs]
            self._core.peers.send(worker.peer, m.Take(rows), now)

    def may_pass(self, peer: Peer) -> bool:
        """Whether the line of `peer` waits for a worker, and perhaps for long."""
        return peer in self._slow

    def _let_pass(self, now: float) -> None:
        """Lines that wait for a worker for too long are passed by what need not wait."""
        for peer, rows in self._heads.items():
            waits = [self._waits.get(key(peer.who, row[0])) for row in rows]
            since = [wait.since for wait in waits if wait is not None and wait.why is None]
            if peer not in self._slow and since and now - min(since) > PATIENCE_S:
                self._slow.add(peer)
                waiting, peer.parked = peer.parked or deque(), deque()
                for envelope in waiting:
                    self._core.line_up(peer, envelope, now)

    def dropped(self, peer: Peer) -> None:
        """A client has gone; what it has put and was not recorded it sends again, if it is back."""
        self._heads.pop(peer, None)
        self._slow.discard(peer)
        for task in [task for task, wait in self._waits.items() if wait.peer is peer]:
            del self._waits[task]

    # -- from workers ------------------------------------------------------------------------

    def greeted(self, worker: Member, now: float) -> None:
        """A worker is there (again): what it was asked before, it is asked again."""
        waits = self._waits.values()
        refs = [each.ref for each in waits if each.why is None and each.ref.holder == worker.who]
        self._send_take(worker.who, refs, now)

    def taken(self, worker: Member, message: m.Taken, now: float) -> None:
        """A worker has taken in what it was asked to, or says why not."""
        told: dict[Peer, None] = {}
        for session, counter, why in message.rows:
            wait = self._waits.get(key(session, counter))
            if wait is not None and wait.ref.holder == worker.who:
                wait.why = why
                told[wait.peer] = None
        self._go_on(told, now)

    def tick(self, now: float) -> None:
        """What was left with a worker that does not come back is lost, if there is another home."""
        home = self._fleet.home
        told: dict[Peer, None] = {}
        for wait in self._waits.values() if home is not None else ():
            is_there = wait.ref.holder in self._fleet.workers
            overdue = now - wait.since > self._core.settings.lost_after_s
            if wait.why is None and overdue and not is_there:
                wait.why = f"the worker of store {wait.ref.holder} has gone with it"
                told[wait.peer] = None
        self._go_on(told, now)
        self._let_pass(now)

    def _go_on(self, peers: dict[Peer, None], now: float) -> None:
        for peer in peers:
            if peer in self._heads and self._is_done(peer, now):
                self._core.resume(peer, now)

    # -- recording ---------------------------------------------------------------------------

    def _is_done(self, peer: Peer, now: float) -> bool:
        """Whether the PUT at the head of a line could be recorded."""
        rows = self._heads[peer]
        waits = [self._waits.get(key(peer.who, row[0])) for row in rows]
        if any(wait is not None and wait.why is None for wait in waits):
            return False
        del self._heads[peer]
        self._slow.discard(peer)
        told: list[tuple[int, int, Any]] = []
        for (counter, kind, body, is_argument), wait in zip(rows, waits, strict=True):
            task = key(peer.who, counter)
            why, lease, store = None, 0, NOBODY
            if wait is not None:
                del self._waits[task]
                why, lease, store = wait.why, wait.ref.lease, wait.ref.holder
            elif not _is_value(kind, body):
                why = "it is no put"
            if why:
                text = f"{show(*unkey(task))} could not be stored: {why}. Put it again"
                kind, body = bytes([Kind.REFUSED]), failure_body("StoreError", text)
            record = RECORD.pack(kind[0], lease, store.encode("ascii")) + body
            self._record(peer, counter, record, bool(is_argument), now)
            if why or not is_argument:  # nobody waits for an argument: its task says how it ended
                told.append((counter, kind[0], body))
        if told:
            self._core.after_commit(partial(self._tell, peer, told))
        return True

    def _tell(self, peer: Peer, told: list[tuple[int, int, Any]], now: float) -> None:
        """How puts ended."""
        counters, kinds, bodies = (list(each) for each in zip(*told, strict=True))
        self._core.peers.tell(peer, peer.who, counters, bytes(kinds), bodies)

    def _record(
        self, peer: Peer, counter: int, record: bytes, is_argument: bool, now: float
    ) -> None:
        ledger, task = self._ledger, key(peer.who, counter)
        options = {"argument": True} if is_argument else {}
        since = now + ledger.ahead_s
        header = [1, PUT, options, None, 0, None, ledger.sequence, b"", since]
        ledger.sequence += 1
        ledger.writes.append(("block", peer.who, counter, header, {}, None, None))
        ledger.writes.append(("outcomes", [(task, record)]))
        ledger.writes.append(("close", task, ledger.age_s))
        ledger.kept.append((task, record))
        ledger.counts[PUTS] += 1
        ledger.sessions[peer.who] = max(counter, ledger.sessions.get(peer.who, -1))
        ledger.recent.put(task, record)


def _is_value(kind: bytes, body: Any) -> bool:
    """Whether a put is in the message."""
    try:
        parse(body)
    except ValueError:
        return False
    return kind == bytes([Kind.VALUE])


def _ref_of(peer: Peer, row: list[Any]) -> Ref | None:
    """Where the content of a put is; None if it is none, or in the message."""
    counter, kind, body, _ = row
    if kind != bytes([Kind.STORED]):
        return None
    try:
        ref = parse_ref(parse(body).rest)
    except ValueError:
        return None
    is_own = (ref.task, ref.lease, ref.number) == (key(peer.who, counter), counter, RESULT)
    return ref if is_own else None
