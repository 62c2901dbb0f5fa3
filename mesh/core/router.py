"""The router's core: which task goes where, and what is known of each.

One door, `handle(event, now)`, and one exit, `settle(now)`, which places ready tasks and
gathers a turn's messages and writes. Between them there is no clock, socket, disk or randomness.

Invariants (`check`): a running task is held by exactly one lease of one worker or awaited from a
worker that may rejoin; an ended task never changes; what is dispatched or told is handed to the
store in the same turn or before; an acknowledgement leaves only after `Committed`.

It must not look into payloads or outcome bodies.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from ..protocol import messages as m
from ..protocol.link import Envelope, Gap
from ..protocol.outcome import failure_body
from ..task import ENDED, STATE_OF, SUCCESS, Kind, State, key, options_of, show
from .block import HOLE, Block, Blocks, Tries
from .desk import Desk
from .events import Committed, Found, Garbled, Gone, Heard, Settings, Slice, Tick, Turn
from .fleet import Fleet, Worker
from .life import Cause, step
from .peers import ACK_DELAY_S, NEWS_BYTES_MAX, Peer, Peers
from .ready import Ready

#: What the router puts before an outcome's body: kind, lease, store id of the worker.
RECORD = struct.Struct("<BQ8s")

_QUEUED, _RUNNING, _DONE = int(State.QUEUED), int(State.RUNNING), int(State.DONE)
_COUNTER = struct.Struct(">Q")

#: Tasks that one WATCH may ask for: each costs a look at the store. Clients page.
WATCH_TASKS_MAX = 8192


@dataclass(slots=True)
class Restored:
    """What a store brings back at start."""

    mesh: str
    birth: bytes
    epoch: int
    blocks: list[Block] = field(default_factory=list)
    sessions: dict[str, int] = field(default_factory=dict)  # the highest counter recorded
    functions: dict[bytes, tuple[str, bytes]] = field(default_factory=dict)  # name, code digest
    roster: dict[str, dict[str, Any]] = field(default_factory=dict)  # workers that were present
    ended: list[int] = field(default_factory=lambda: [0] * len(State))


class RouterCore:
    """See the module. `restored` is what the store held; `settings` the mesh's times and caps."""

    def __init__(self, restored: Restored, settings: Settings, now: float) -> None:
        self.mesh, self.birth, self.epoch = restored.mesh, restored.birth, restored.epoch
        self.settings = settings
        self.peers = Peers()
        self.fleet = Fleet()
        self.blocks = Blocks()
        self.ready = Ready()
        self.desk = Desk(self)
        self.functions = restored.functions
        self.counts = restored.ended
        self.stopping = False
        self._sessions = restored.sessions
        self._lease = self.epoch << 40
        self._sequence = 0
        self._writes: list[tuple[Any, ...]] = []
        self._lookups: list[tuple[int, str, Any]] = []
        self._awaited: dict[int, Callable[[Any, float], None]] = {}
        self._token = 0
        self._ticket = 0
        self.committed = 0  # the last ticket that is on disk
        self._heard: dict[bytes, int] = {}
        self._to_record: deque[tuple[int, dict[bytes, int]]] = deque()
        self._on: dict[type, Callable[[Any, float], None]] = {
            Heard: self._on_heard,
            Garbled: self._on_garbled,
            Gone: self._on_gone,
            Committed: self._on_committed,
            Found: self._on_found,
            Tick: self._on_tick,
        }
        self._take: dict[type[m.Message], Callable[[Peer, Any, float], None]] = {
            m.Beat: lambda peer, message, now: None,
            m.Bye: self._take_bye,
            m.Error: lambda peer, message, now: None,
            m.Function: self._take_function,
            m.Submit: self._take_submit,
            m.Group: self._take_group,
            m.Watch: self._take_watch,
            m.Cancel: self._take_cancel,
            m.Ask: self.desk.take_ask,
            m.Done: self._take_done,
            m.Returned: self._take_returned,
            m.Report: self._take_report,
        }
        # What may still run somewhere is not dispatched again until its worker had time to say so.
        self._expected = set(restored.roster)
        self._grace_until = now + settings.lost_after_s
        self._held_back: list[tuple[Block, int, int]] = []
        for block in sorted(restored.blocks, key=lambda block: block.sequence):
            self._sequence = max(self._sequence, block.sequence + 1)
            self.blocks.add(block)
            for state in block.states:
                if state < ENDED:
                    self.counts[state] += 1
            for low, high in block.queued_runs(0, block.size):
                if self._expected:
                    self._held_back.append((block, low, high))
                else:
                    self.ready.push(block, low, high)

    # -- the door and the exit -------------------------------------------------------------

    def handle(self, event: Any, now: float) -> None:
        """Take in one event."""
        self._on[type(event)](event, now)

    def settle(self, now: float) -> Turn:
        """Place what is ready and gather what this turn wants sent, written and looked up."""
        if not self.stopping:
            self._dispatch(now)
        for peer in self.peers.by_id.values():
            if peer.news:
                self._flush_news(peer, now)
        turn = Turn(writes=self._writes, lookups=self._lookups)
        self._writes, self._lookups = [], []
        if turn.writes:
            turn.writes.append(("counts", list(self.counts[ENDED:])))
            self._ticket += 1
            turn.ticket = self._ticket
        if self._heard:
            self._to_record.append((self._ticket, self._heard))
            self._heard = {}
        self._acknowledge(now)
        turn.sends, self.peers.outgoing = self.peers.outgoing, []
        turn.stop = self.stopping and not self.fleet.workers and self.committed == self._ticket
        return turn

    def deadline(self, now: float) -> float:
        """When `handle(Tick)` and `settle` are due at the latest."""
        due = now + self.settings.heartbeat_s / 2
        for peer in self.peers.by_id.values():
            if peer.ack_since is not None:
                due = min(due, peer.ack_since + ACK_DELAY_S)
        for worker in self.fleet:
            if worker.recall_after > now:
                due = min(due, worker.recall_after)
        return due

    # -- peers -----------------------------------------------------------------------------

    def _on_heard(self, event: Heard, now: float) -> None:
        peer = self.peers.by_id.get(event.peer)
        envelope = event.envelope
        if type(envelope.message) is m.Hello:
            self._on_hello(event.peer, envelope, now)
            return
        if peer is None:
            self.peers.outgoing.append(
                (event.peer, Envelope(envelope.session, 0, 0, m.Resync()))
            )
            return
        peer.last_heard = now
        try:
            if not peer.link.accept(envelope):
                return
        except Gap:
            self.peers.send(peer, m.Resync(), now)
            return
        if peer.parked is not None:
            peer.parked.append(envelope)
        else:
            self._take_envelope(peer, envelope, now)

    def _take_envelope(self, peer: Peer, envelope: Envelope, now: float) -> None:
        take = self._take.get(type(envelope.message))
        if take is None:
            name = type(envelope.message).__name__
            self.peers.send(peer, m.Error("MeshError", f"{name} is not for a router"), now)
        else:
            take(peer, envelope.message, now)
        if envelope.message.SEQUENCED and peer.parked is None:
            self._heard[peer.id] = envelope.sequence

    def _on_garbled(self, event: Garbled, now: float) -> None:
        error = m.Error("MeshError", f"not understood: {event.reason}")
        peer = self.peers.by_id.get(event.peer)
        if peer is None:
            self.peers.outgoing.append((event.peer, Envelope(0, 0, 0, error)))
        else:
            self.peers.send(peer, error, now)

    def _on_hello(self, id: bytes, envelope: Envelope, now: float) -> None:
        hello: m.Hello = envelope.message  # type: ignore[assignment]
        old = self.peers.by_who.get((hello.role, hello.who))
        refusal = self._refusal(hello, old)
        if refusal is not None:
            self.peers.outgoing.append((id, Envelope(envelope.session, 0, 0, refusal)))
            return
        if old is not None and old.incarnation == hello.incarnation:
            if envelope.session < old.link.session:
                return  # a late copy of an older greeting
            if envelope.session == old.link.session:
                if old.id == id:  # the same one again: its WELCOME may have been lost
                    self._welcome(old, now)
                return
        if id in self.peers.by_id:
            self.peers.drop(self.peers.by_id[id])
        peer = Peer(id, hello.role, hello.who, hello.incarnation, now)
        peer.link.open(envelope.session)
        self.peers.add(peer)
        self._welcome(peer, now)
        if hello.role == "worker":
            self._greet_worker(peer, hello, now)

    def _refusal(self, hello: m.Hello, old: Peer | None) -> m.Error | None:
        if hello.version_min > m.VERSION_MAX or hello.version_max < m.VERSION_MIN:
            return m.Error(
                "VersionMismatch",
                f"this router speaks protocol {m.VERSION_MIN} to {m.VERSION_MAX}, "
                f"you {hello.version_min} to {hello.version_max}: use the same Mesh version",
            )
        if hello.role not in ("client", "worker") or len(hello.who) != 8:
            return m.Error("MeshError", f"no role {hello.role!r} of {hello.who!r}")
        if hello.role == "client" and old is not None and old.incarnation != hello.incarnation:
            return m.Error("SessionTaken", f"session {hello.who} belongs to another client")
        return None

    def _welcome(self, peer: Peer, now: float) -> None:
        settings = {
            name: getattr(self.settings, name) for name in Settings.__dataclass_fields__
        }
        welcome = m.Welcome(self.mesh, self.birth, self.epoch, m.VERSION_MAX, settings)
        self.peers.send(peer, welcome, now)

    def _on_gone(self, event: Gone, now: float) -> None:
        peer = self.peers.by_id.get(event.peer)
        if peer is not None:
            self._forget_peer(peer)

    def _forget_peer(self, peer: Peer) -> None:
        self.peers.drop(peer)
        worker = self.fleet.workers.get(peer.who)
        if worker is not None and worker.peer is peer:
            worker.peer = None  # it may come back; _on_tick gives it up when it does not

    def _take_bye(self, peer: Peer, message: m.Bye, now: float) -> None:
        self._forget_peer(peer)
        if peer.role == "worker":
            self._lose_worker(self.fleet.workers.get(peer.who), None, now)

    # -- workers ---------------------------------------------------------------------------

    def _greet_worker(self, peer: Peer, hello: m.Hello, now: float) -> None:
        worker = self.fleet.workers.get(hello.who)
        if worker is not None and worker.incarnation != hello.incarnation:
            self._lose_worker(worker, "was replaced by a new one on the same store", now)
            worker = None
        if worker is None:
            worker = self.fleet.workers[hello.who] = Worker(
                hello.who, hello.incarnation, hello.about
            )
            self._writes.append(("worker", hello.who, hello.about))
        worker.peer = peer
        worker.functions = set()
        worker.recalled = False
        worker.window = int(hello.about.get("window", worker.window))
        in_hand = {row[0] for row in hello.held}
        lost = [lease for lease in worker.held if lease not in in_hand]
        self._requeue(worker, lost, Cause.RETURNED)
        for lease, session, counter in hello.held:
            if lease not in worker.held:
                self._adopt(worker, lease, session, counter)
        self._expected.discard(hello.who)
        self.desk.slots_changed(now)

    def _adopt(self, worker: Worker, lease: int, session: str, counter: int) -> None:
        """A worker holds a lease of an earlier router, or one that was given up."""
        found = self.blocks.find(session, counter)
        if found is not None and found[0].states[found[1]] == _QUEUED:
            self._move(found[0], found[1], Cause.DISPATCHED)
            worker.held[lease] = found

    def _take_report(self, peer: Peer, message: m.Report, now: float) -> None:
        worker = self.fleet.workers.get(peer.who)
        if worker is not None:
            worker.about.update(message.about)
            worker.slots = int(worker.about.get("slots", worker.slots))
            self.desk.slots_changed(now)

    def _lose_worker(self, worker: Worker | None, reason: str | None, now: float) -> None:
        """Forget `worker`; without a `reason` it left on purpose, and that counts as nothing."""
        if worker is None or self.fleet.workers.get(worker.who) is not worker:
            return
        del self.fleet.workers[worker.who]
        self._writes.append(("worker", worker.who, None))
        leases = list(worker.held)
        if reason is None:
            self._requeue(worker, leases, Cause.RETURNED)
            return
        # It begins tasks in the order it got them: those in its slots are the oldest.
        begun = leases[: worker.slots]
        self._requeue(worker, leases[worker.slots :], Cause.RETURNED)
        for lease in reversed(begun):
            block, i = worker.held.pop(lease)
            if block.states[i] != _RUNNING:
                continue
            tries = block.tries.setdefault(i, Tries())
            tries.worker_losses += 1
            if tries.worker_losses >= self.settings.worker_losses_max:
                host = str(worker.about.get("host", "?"))
                text = f"lost with its worker {tries.worker_losses} times, last on {host}: {reason}"
                self._end(block, i, Kind.WORKER_LOST, lease, failure_body("WorkerLost", text, host))
            else:
                self._again(block, i, Cause.LOST)

    def _requeue(self, worker: Worker, leases: Iterable[int], cause: Cause) -> None:
        """What `worker` had not begun goes elsewhere, and goes first."""
        spans: list[tuple[Block, int, int]] = []
        for lease in leases:
            entry = worker.held.pop(lease, None)
            if entry is None or entry[0].states[entry[1]] != _RUNNING:
                continue
            block, i = entry
            self._move(block, i, cause)
            if spans and spans[-1][0] is block and spans[-1][2] == i:
                spans[-1] = (block, spans[-1][1], i + 1)
            else:
                spans.append((block, i, i + 1))
        for span in reversed(spans):
            self.ready.push(*span, first=True)

    # -- submitting ------------------------------------------------------------------------

    def _take_function(self, peer: Peer, message: m.Function, now: float) -> None:
        if message.digest not in self.functions:
            self.functions[message.digest] = (message.name, message.code)
            self._writes.append(
                ("function", message.digest, message.name, message.code, message.payload)
            )

    def _take_group(self, peer: Peer, message: m.Group, now: float) -> None:
        group = key(peer.who, message.first)
        self._writes.append(("group", group, message.size, message.name))

    def _take_submit(self, peer: Peer, message: m.Submit, now: float) -> None:
        names: list[str] = []
        for row in message.blocks:
            block = m.Block(*row)
            if block.names is not None and block.first > self._sessions.get(peer.who, -1):
                names += [name for name in block.names if name is not None]
        if not names:
            self._record_submit(peer, message, {}, now)
            return
        peer.parked = deque()

        def found(answer: Any, now: float) -> None:
            self._record_submit(peer, message, answer, now)
            self._heard[peer.id] = peer.link.received - sum(
                envelope.message.SEQUENCED for envelope in peer.parked or ()
            )
            self._unpark(peer, now)

        self.look_up("names", names, found)

    def _unpark(self, peer: Peer, now: float) -> None:
        parked, peer.parked = peer.parked, None
        while parked:
            if peer.parked is not None:
                peer.parked.extend(parked)
                return
            self._take_envelope(peer, parked.popleft(), now)

    def _record_submit(
        self, peer: Peer, message: m.Submit, known: dict[str, Any], now: float
    ) -> None:
        for row in message.blocks:
            sent = m.Block(*row)
            last = sent.first + len(sent.payloads) - 1
            if last <= self._sessions.get(peer.who, -1):
                continue  # sent again because its acknowledgement was lost
            problem = self._problem(sent)
            if problem is not None:
                body = failure_body("MeshError", problem)
                count = len(sent.payloads)
                counters = list(range(sent.first, last + 1))
                peer.tell(peer.who, counters, bytes([Kind.REFUSED]) * count, [body] * count)
                continue
            block = Block(
                peer.who,
                sent.first,
                len(sent.payloads),
                sent.function,
                sent.options,
                sent.group,
                sent.index,
                sent.names,
                self._sequence,
            )
            self._sequence += 1
            foreign = self._match_names(peer, block, sent.marks, known, now)
            self._sessions[peer.who] = last
            self.counts[_QUEUED] += block.left
            header = [
                block.size,
                block.function,
                block.options,
                block.group,
                block.index,
                block.names,
                block.sequence,
                bytes(i for i, state in enumerate(block.states) if state == HOLE),
            ]
            payloads = sent.payloads if block.left else None
            self._writes.append(
                ("block", block.session, block.first, header, foreign, payloads, sent.marks)
            )
            if block.left:
                self.blocks.add(block)
                for low, high in block.queued_runs(0, block.size):
                    self.ready.push(block, low, high)

    def _problem(self, sent: m.Block) -> str | None:
        """What is wrong with a block that is well-formed, or None."""
        if sent.function not in self.functions:
            return f"function {sent.function.hex()} was never sent"
        try:
            options_of(sent.options)
        except (TypeError, ValueError) as error:
            return str(error)
        return None

    def _match_names(
        self, peer: Peer, block: Block, marks: list[bytes] | None, known: dict[str, Any], now: float
    ) -> dict[int, tuple[str, int]]:
        """Members whose alias is taken: by the same call, they *are* that task; by another, they
        are refused. Returns index → the older task; in `block` both become holes."""
        foreign: dict[int, tuple[str, int]] = {}
        if block.names is None or marks is None:
            return foreign
        name, code = self.functions[block.function]
        rows: list[list[Any]] = []
        for i, alias in enumerate(block.names):
            if alias is None:
                continue
            taken = self._taken(alias, known)
            if taken is None:
                known[alias] = ((block.session, block.first + i, name, code, marks[i]), None)
                continue
            session, counter, old_name, old_code, old_mark = taken
            counter_here = block.first + i
            conflict = _conflict(alias, (old_name, old_code, old_mark), (name, code, marks[i]))
            if conflict is None and (session, counter) == (block.session, counter_here):
                continue
            block.states[i] = HOLE
            block.left -= 1
            if conflict is not None:
                body = failure_body("TaskConflict", conflict)
                peer.tell(block.session, [counter_here], [Kind.REFUSED], [body])
                continue
            foreign[i] = (session, counter)
            rows.append([counter_here, session, counter, int(known[alias][1] is not None)])
        if rows:
            self.peers.send(peer, m.Known(rows), now)
            for _, session, counter, _ in rows:
                self._watch_one(peer, session, counter, known)
        return foreign

    def _taken(self, alias: str, known: dict[str, Any]) -> tuple[Any, ...] | None:
        """The record of the task that has `alias`, unless it ended without success."""
        entry = known.get(alias)
        if entry is None:
            return None
        record, outcome = entry
        if outcome is not None and outcome[0] not in SUCCESS:
            return None
        return tuple(record)

    def _watch_one(self, peer: Peer, session: str, counter: int, known: dict[str, Any]) -> None:
        found = self.blocks.find(session, counter)
        if found is not None and found[0].states[found[1]] < ENDED:
            found[0].watchers.add(peer.id)
            return
        for record, outcome in known.values():
            if (record[0], record[1]) == (session, counter) and outcome is not None:
                peer.tell(session, [counter], [outcome[0]], [outcome[RECORD.size :]])
                return
        # it ended while its alias was being looked up
        self.look_up("outcomes", [(session, counter, 1)], lambda a, now: self._tell_found(peer, a))

    # -- watching and cancelling -----------------------------------------------------------

    def _take_watch(self, peer: Peer, message: m.Watch, now: float) -> None:
        if sum(span[2] for span in message.spans) > WATCH_TASKS_MAX:
            error = m.Error("MeshError", f"WATCH takes {WATCH_TASKS_MAX} tasks at a time")
            self.peers.send(peer, error, now)
            return
        spans: list[tuple[str, int, int]] = []
        for session, first, count in message.spans:
            open_ones: set[int] = set()
            for block, low, high in self.blocks.overlapping(session, first, count):
                if session != peer.who:
                    block.watchers.add(peer.id)
                for i in range(low, high):
                    if block.states[i] < ENDED:
                        open_ones.add(block.first + i)
            wanted = [c for c in range(first, first + count) if c not in open_ones]
            spans += _spans(session, wanted)
        if spans:
            self.look_up("outcomes", spans, lambda answer, now: self._tell_found(peer, answer))

    def _tell_found(self, peer: Peer, answer: list[tuple[str, int, bytes | None]]) -> None:
        for session, counter, record in answer:
            if record is not None:
                peer.tell(session, [counter], [record[0]], [record[RECORD.size :]])
            else:
                text = f"no task {show(session, counter)} on mesh {self.mesh}"
                body = failure_body("TaskNotFound", text)
                peer.tell(session, [counter], [Kind.REFUSED], [body])

    def _take_cancel(self, peer: Peer, message: m.Cancel, now: float) -> None:
        tally = {"cancelled": 0, "running": 0, "ended": 0}
        for session, first, count in message.spans:
            tally["ended"] += count
            for block, low, high in list(self.blocks.overlapping(session, first, count)):
                for i in range(low, high):
                    state = block.states[i]
                    if state >= ENDED:
                        continue
                    tally["ended"] -= 1
                    if state == _RUNNING and not message.running:
                        tally["running"] += 1
                        continue
                    tally["cancelled"] += 1
                    text = f"{show(block.session, block.first + i)} was cancelled"
                    self._end(block, i, Kind.CANCELLED, 0, failure_body("CancelledError", text))
        for worker in self.fleet:
            leases = [
                lease
                for lease, (block, i) in worker.held.items()
                if block.states[i] == State.CANCELLED
            ]
            if leases and worker.peer is not None:
                self.peers.send(worker.peer, m.Kill(leases), now)
        self.peers.send(peer, m.Tell(message.token, None, tally), now)

    # -- outcomes --------------------------------------------------------------------------

    def _take_done(self, peer: Peer, message: m.Done, now: float) -> None:
        worker = self.fleet.workers.get(peer.who)
        if worker is None:
            return
        worker.window = message.window
        store = worker.who.encode("ascii")
        for session, counters, leases, kinds, bodies in message.runs:
            if not len(counters) == len(leases) == len(kinds) == len(bodies):
                self.peers.send(peer, m.Error("MeshError", "DONE with uneven rows"), now)
                return
            self._take_run(worker, store, session, counters, leases, kinds, bodies)

    def _take_run(
        self,
        worker: Worker,
        store: bytes,
        session: str,
        counters: list[int],
        leases: list[int],
        kinds: bytes,
        bodies: list[Any],
    ) -> None:
        """One run of outcomes. The first success of a task wins; failures and losses count only
        from the lease that holds it now."""
        held = worker.held
        prefix = session.encode("ascii")
        pack_key, pack_record = _COUNTER.pack, RECORD.pack
        records: list[tuple[bytes, bytes]] = []
        told: list[int] = []
        for nth, lease in enumerate(leases):
            kind, body, counter = kinds[nth], bodies[nth], counters[nth]
            entry = held.pop(lease, None)
            if entry is None:
                entry = self.blocks.find(session, counter)
                if entry is None or kind not in SUCCESS:
                    continue
            block, i = entry
            state = block.states[i]
            if state >= ENDED:
                continue  # superseded: somebody else's success, or a cancellation, came first
            if kind not in SUCCESS:
                self._fail(block, i, kind, lease, body)
                continue
            self.counts[state] -= 1
            block.states[i] = _DONE
            block.left -= 1
            records.append((prefix + pack_key(counter), pack_record(kind, lease, store) + body))
            told.append(nth)
            if block.watchers or block.names is not None or not block.left:
                self._after_end(block, i, kind, body)
        if not records:
            return
        self.counts[_DONE] += len(records)
        self._writes.append(("outcomes", records))
        owner = self.peers.by_who.get(("client", session))
        if owner is None:
            return
        if len(told) == len(leases):
            owner.tell(session, counters, kinds, bodies)
        else:
            for nth in told:
                owner.tell(session, [counters[nth]], [kinds[nth]], [bodies[nth]])

    def _fail(self, block: Block, i: int, kind: int, lease: int, body: Any) -> None:
        """A run that held the current lease did not succeed: again, or the end."""
        if kind == Kind.ERROR:
            tries = block.tries.get(i)
            retries = block.options.get("retries", 0)
            if retries > (tries.errors if tries is not None else 0):
                block.tries.setdefault(i, Tries()).errors += 1
                self._again(block, i, Cause.RETRIED)
                return
        elif kind == Kind.SLOT_LOST:
            tries = block.tries.setdefault(i, Tries())
            tries.slot_losses += 1
            if tries.slot_losses < self.settings.slot_losses_max:
                self._again(block, i, Cause.LOST)
                return
        self._end(block, i, kind, lease, body)

    def _again(self, block: Block, i: int, cause: Cause) -> None:
        """Queue a task once more, first in line, and remember why."""
        self._move(block, i, cause)
        tries = block.tries[i]
        self._writes.append(
            (
                "tries",
                key(block.session, block.first + i),
                (tries.errors, tries.slot_losses, tries.worker_losses),
            )
        )
        self.ready.push(block, i, i + 1, first=True)

    def _end(self, block: Block, i: int, kind: int, lease: int, body: bytes) -> None:
        """Record how a task ended, other than by an ordinary success."""
        self.counts[block.states[i]] -= 1
        state = STATE_OF[Kind(kind)]
        block.states[i] = state
        block.left -= 1
        self.counts[state] += 1
        counter = block.first + i
        record = RECORD.pack(kind, lease, bytes(8)) + body
        self._writes.append(("outcomes", [(key(block.session, counter), record)]))
        owner = self.peers.by_who.get(("client", block.session))
        if owner is not None:
            owner.tell(block.session, [counter], [kind], [body])
        self._after_end(block, i, kind, body)

    def _after_end(self, block: Block, i: int, kind: int, body: Any) -> None:
        """What is rare when a task ends: watchers, an alias, the last of its block."""
        counter = block.first + i
        for id in block.watchers:
            watcher = self.peers.by_id.get(id)
            if watcher is not None:
                watcher.tell(block.session, [counter], [kind], [body])
        if block.names is not None and block.names[i] is not None:
            holder = self.blocks.names.get(block.names[i])  # type: ignore[arg-type]
            if holder is not None and holder[0] is block and holder[1] == i:
                del self.blocks.names[block.names[i]]  # type: ignore[arg-type]
        if not block.left:
            self.blocks.drop(block)
            self._writes.append(("close", block.key))

    def _take_returned(self, peer: Peer, message: m.Returned, now: float) -> None:
        worker = self.fleet.workers.get(peer.who)
        if worker is not None:
            worker.window = message.window
            self._requeue(worker, message.leases, Cause.RETURNED)
            self.fleet.returned(worker, len(message.leases), now)

    def _move(self, block: Block, i: int, cause: Cause) -> None:
        state = step(block.states[i], cause)
        if state is None:
            raise AssertionError(f"{block.key!r}[{i}]: {cause!r} in {block.states[i]}")
        self.counts[block.states[i]] -= 1
        block.states[i] = state
        self.counts[state] += 1

    # -- the end of a turn -----------------------------------------------------------------

    def _dispatch(self, now: float) -> None:
        if not self.ready.tasks:
            recall = self.fleet.recall(now)
            if recall is not None and recall[0].peer is not None:
                self.peers.send(recall[0].peer, m.Recall(recall[1]), now)
            return
        pieces: dict[str, list[list[Any]]] = {}
        for worker, share in list(self.fleet.shares(self.ready.tasks)):
            while share > 0 and (taken := self.ready.take(share)) is not None:
                share -= taken[2] - taken[1]
                pieces.setdefault(worker.who, []).append(self._lease_out(worker, *taken, now))
        for who, rows in pieces.items():
            peer = self.fleet.workers[who].peer
            assert peer is not None
            self.peers.send(peer, m.Tasks(rows), now)

    def _lease_out(
        self, worker: Worker, block: Block, low: int, high: int, now: float
    ) -> list[Any]:
        count = high - low
        block.states[low:high] = bytes([_RUNNING]) * count
        self.counts[_QUEUED] -= count
        self.counts[_RUNNING] += count
        lease = self._lease + 1
        self._lease += count
        held = worker.held
        for i in range(low, high):
            held[lease + i - low] = (block, i)
        if block.function not in worker.functions:
            worker.functions.add(block.function)
            name, code = self.functions[block.function]
            assert worker.peer is not None
            # the shell puts the code in: the core knows functions by digest
            self.peers.send(worker.peer, m.Function(block.function, name, code, None), now)
        payloads = Slice(block.key, low, high)
        return [block.session, block.first + low, lease, block.function, block.options, payloads]

    def _flush_news(self, peer: Peer, now: float) -> None:
        news, peer.news = peer.news, {}
        for session, (counters, kinds, bodies) in news.items():
            start = size = 0
            for nth, body in enumerate(bodies):
                size += len(body)
                if size > NEWS_BYTES_MAX:
                    cut = nth + 1
                    run = [session, counters[start:cut], bytes(kinds[start:cut]), bodies[start:cut]]
                    self.peers.send(peer, m.Outcomes([run]), now)
                    start, size = cut, 0
            if start < len(bodies):
                run = [session, counters[start:], bytes(kinds[start:]), bodies[start:]]
                self.peers.send(peer, m.Outcomes([run]), now)

    def _acknowledge(self, now: float) -> None:
        while self._to_record and self._to_record[0][0] <= self.committed:
            for id, sequence in self._to_record.popleft()[1].items():
                peer = self.peers.by_id.get(id)
                if peer is not None:
                    peer.link.record(sequence)
        for peer in self.peers.by_id.values():
            if not peer.link.owes_ack:
                peer.ack_since = None
            elif peer.ack_since is None:
                peer.ack_since = now
            elif now - peer.ack_since >= ACK_DELAY_S:
                self.peers.send(peer, m.Beat(), now)

    # -- the store's answers, and time -----------------------------------------------------

    def look_up(self, what: str, about: Any, then: Callable[[Any, float], None]) -> None:
        """Ask the store; `then(answer, now)` is called in a later turn."""
        self._token += 1
        self._awaited[self._token] = then
        self._lookups.append((self._token, what, about))

    def _on_found(self, event: Found, now: float) -> None:
        self._awaited.pop(event.token)(event.answer, now)

    def _on_committed(self, event: Committed, now: float) -> None:
        self.committed = event.ticket

    def _on_tick(self, event: Tick, now: float) -> None:
        settings = self.settings
        for peer in list(self.peers.by_id.values()):
            if now - peer.last_heard > settings.lost_after_s:
                self._forget_peer(peer)
                if peer.role == "worker":
                    silent = f"was silent for {now - peer.last_heard:.1f} s"
                    self._lose_worker(self.fleet.workers.get(peer.who), silent, now)
            elif now - peer.last_sent >= settings.heartbeat_s:
                self.peers.send(peer, m.Beat(), now)
        for worker in list(self.fleet):
            if worker.peer is None:
                worker.away_since = worker.away_since or now
                if now - worker.away_since > settings.lost_after_s:
                    self._lose_worker(worker, "its connection broke and it did not return", now)
            else:
                worker.away_since = None
        if self._held_back and (not self._expected or now > self._grace_until):
            held_back, self._held_back = self._held_back, []
            for span in held_back:
                self.ready.push(*span)

    def stop(self, drain: bool, now: float) -> None:
        """End the mesh: workers leave, then the router may."""
        self.stopping = True
        for worker in list(self.fleet):
            if worker.peer is not None:
                self.peers.send(worker.peer, m.Leave(drain), now)
            else:
                self._lose_worker(worker, None, now)

    def check(self) -> None:
        """Raise AssertionError if an invariant does not hold. For tests."""
        self.blocks.check()
        held: dict[tuple[bytes, int], str] = {}
        for worker in self.fleet:
            assert len(worker.held) <= max(worker.window, len(worker.held)), worker.who
            for block, i in worker.held.values():
                if block.states[i] == _RUNNING:
                    assert (block.key, i) not in held, f"{block.key!r}[{i}] is held twice"
                    held[block.key, i] = worker.who
        counts = [0] * ENDED
        for block in self.blocks:
            for i, state in enumerate(block.states):
                if state < ENDED:
                    counts[state] += 1
                if state == _RUNNING:
                    assert (block.key, i) in held, f"{block.key!r}[{i}] runs nowhere"
        assert counts == self.counts[:ENDED], (counts, self.counts)


def _conflict(alias: str, old: tuple[Any, ...], new: tuple[Any, ...]) -> str | None:
    """Why two calls under one alias are not the same, or None. Each is (name, code, mark)."""
    if old[0] != new[0]:
        return f"id {alias!r} is a call of {old[0]}, not of {new[0]}: choose another id"
    if old[1] != new[1]:
        return (
            f"id {alias!r} was computed by an earlier version of {old[0]}, whose code has changed "
            f"since (digest {old[1].hex()[:8]}, now {new[1].hex()[:8]}): choose another id"
        )
    if old[2] != new[2]:
        return (
            f"id {alias!r} is {old[0]} with other arguments "
            f"(digest {old[2].hex()[:8]}, now {new[2].hex()[:8]}): choose another id"
        )
    return None


def _spans(session: str, counters: list[int]) -> list[tuple[str, int, int]]:
    """Ascending counters as (session, first, count) runs."""
    spans: list[tuple[str, int, int]] = []
    for counter in counters:
        if spans and spans[-1][1] + spans[-1][2] == counter:
            spans[-1] = (session, spans[-1][1], spans[-1][2] + 1)
        else:
            spans.append((session, counter, 1))
    return spans
