"""The router's core: which task goes where, and what is known of each.

One door, `handle(event, now)`, and one exit, `settle(now)`, which places ready tasks and
gathers a turn's messages and writes. Between them there is no clock, socket, disk or randomness.

Invariants (`check`): a running task is held by exactly one lease of one worker or awaited from a
worker that may rejoin; an ended task never changes; what is dispatched or told is handed to the
store in the same turn or before; an acknowledgement leaves only after `Committed`. It must not
look into payloads or outcome bodies.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import Any

from ..protocol import messages as m
from ..protocol.link import Envelope, Gap
from ..task import ENDED, State
from . import rights
from .courier import Courier
from .desk import Desk
from .drops import Drops
from .events import Committed, Found, Garbled, Gone, Heard, Settings, Stalled, Tick, Turn
from .fetches import Fetches
from .fleet import Fleet
from .grace import Grace
from .handover import Handover
from .holders import Holders
from .intake import Intake
from .ledger import Ledger
from .listeners import Listeners
from .lookups import Lookups
from .member import Member
from .notices import Notices
from .orders import Orders
from .peers import ACK_DELAY_S, Peer, Peers
from .placement import Placement
from .pruning import Pruning
from .puts import Puts
from .recovery import Recovery
from .relays import Relays
from .restored import Restored
from .stall import Stall
from .unused import Unused

#: Outcomes in memory that are not on disk yet, of all workers. More than a disk takes in one
#: commit, and little, for each is there several times.
UNRECORDED_BYTES_MAX = 4 * 1024 * 1024


class RouterCore:
    """See the module. `restored` is what the store held; `settings` the mesh's times and caps."""

    def __init__(self, restored: Restored, settings: Settings, now: float) -> None:
        self.mesh, self.birth, self.epoch = restored.mesh, restored.birth, restored.epoch
        self.settings = settings
        self.committed = 0  # the last ticket that is on disk
        self.stopping = False
        self._stop_at = math.inf  # what runs has until then, if the mesh ends
        self.peers = Peers()
        self.lookups = Lookups()
        self.stall = Stall()
        self.ledger = Ledger(self.peers, restored.ended, restored.functions, restored.sessions)
        self.recovery = self.ledger.recovery = Recovery(self)
        self.fleet = Fleet(self.ledger, self.peers, settings)
        self.holders = Holders(self.ledger, self.fleet, self.peers, settings, restored.gone)
        self.placement = Placement(self.ledger, self.fleet, self.holders, self.peers, self.epoch)
        self.intake = intake = Intake(self)
        self.puts = Puts(self)
        self.orders = Orders(self)
        self.courier = Courier(self)
        self.desk = Desk(self)
        self.fetches = Fetches(self.ledger)
        self.relays = Relays(self)
        self.listeners = Listeners(self)
        self._notices = Notices(self)
        self.pruning = Pruning(self)
        self.unused = Unused(self, now)
        self.drops = Drops(self, now)
        self.handover = Handover(self)
        self._born_at = now - restored.age_s
        self.ledger.age_s = restored.age_s
        self._ticket = 0
        self._tick_at = now + settings.heartbeat_s / 2  # however busy it is meanwhile
        self._unrecorded: deque[tuple[int, int]] = deque()  # by ticket: bytes of outcomes
        self._unrecorded_bytes = 0
        self._heard: dict[Peer, int] = {}  # the last message taken of each, this turn
        self._to_record: deque[tuple[int, dict[Peer, int]]] = deque()
        self._promised: list[Callable[[float], None]] = []
        self._after_commit: deque[tuple[int, list[Callable[[float], None]]]] = deque()
        self._on: dict[type, Callable[[Any, float], None]] = {
            Heard: self._on_heard,
            Garbled: self._on_garbled,
            Gone: self._on_gone,
            Committed: self._on_committed,
            Stalled: lambda event, now: self.stall.begin(event.reason),
            Found: lambda event, now: self.lookups.found(event.token, event.answer, now),
            Tick: self._on_tick,
        }
        self._take: dict[type[m.Message], Callable[[Peer, Any, float], None]] = {
            m.Bye: self._take_bye,
            **dict.fromkeys((m.Beat, m.Error), lambda peer, message, now: None),
            m.Function: intake.take_function,
            m.Submit: intake.take_submit,
            m.Group: intake.take_group,
            m.Put: self.puts.take_put,
            m.Watch: self.orders.take_watch,
            m.Cancel: self.orders.take_cancel,
            m.Listen: self.listeners.take_listen,
            m.Ask: self.desk.take_ask,
            m.Fetched: self.fetches.take,
            m.Relay: self.relays.take,
        }
        self._of_worker = self._from_workers()
        self._take.update(dict.fromkeys(self._of_worker, self._take_from_worker))
        self._grace = Grace(self, restored, now)
        self._grace.tick(now)

    def _from_workers(self) -> dict[type[m.Message], Callable[[Member, Any, float], None]]:
        return {
            m.Done: self.fleet.take_done,
            m.Returned: self.fleet.take_returned,
            m.Report: self._take_report,
            m.Printed: self.listeners.take_printed,
            m.Dropped: self.drops.dropped,
            m.Copied: self.holders.take_copied,
            m.Where: self.holders.take_where,
            m.Lost: self.recovery.take_lost,
            m.Taken: self.puts.taken,
            m.Offer: self.handover.eviction.take_offer,
            m.Adopted: self.handover.adopted,
            m.Dialled: self.desk.dialling.take,
            m.Closed: lambda worker, message, now: self.holders.forget(worker.who, now),
        }

    # -- the door and the exit -------------------------------------------------------------

    def handle(self, event: Any, now: float) -> None:
        """Take in one event."""
        self._on[type(event)](event, now)

    def settle(self, now: float) -> Turn:
        """Place what is ready and gather what this turn wants sent, written and looked up."""
        for peer in self.stall.freed():
            if self.peers.by_id.get(peer.id) is peer:  # else it has dialled anew, and sends again
                self.resume(peer, now)
        self.recovery.let_go(now)
        self.ledger.inputs.settle()
        if not self.stopping and self.stall.reason is None and not self._is_behind:
            if self._grace.is_over:
                self.ledger.release(now)
            self.placement.dispatch(now)
        self.courier.settle(now)
        self.recovery.settle(now)
        turn = Turn(writes=self.ledger.writes, lookups=self.lookups.asked)
        self.ledger.writes, self.lookups.asked = [], []
        turn.kept, self.ledger.kept = self.ledger.kept, []
        turn.renew, self.desk.renews = self.desk.renews, False
        if turn.writes:
            turn.writes.append(("counts", self.recovery.counts()[ENDED:]))
            self._ticket += 1
            turn.ticket = self._ticket
            self._unrecorded.append((self._ticket, self.ledger.write_bytes))
            self._unrecorded_bytes += self.ledger.write_bytes
            self.ledger.write_bytes = 0
        if self._promised:
            self._after_commit.append((self._ticket, self._promised))
            self._promised = []
            self._keep_promises(now)  # what was to be on disk may be there already
        if self._heard:
            self._to_record.append((self._ticket, self._heard))
            self._heard = {}
        self._acknowledge(now)
        recorded = self.committed == self._ticket or self.stall.reason is not None
        turn.stop = self.stopping and not self.fleet.workers and recorded
        if turn.stop:
            counts = {state.word: self.ledger.counts[state] for state in State if state < ENDED}
            self.ledger.journal.note("drain ended", **counts)
            for peer in self.peers.by_id.values():
                self.peers.send(peer, m.Bye(), now)
        turn.sends, self.peers.outgoing = self.peers.outgoing, []
        return turn

    def deadline(self, now: float) -> float:
        """When `handle(Tick)` and `settle` are due at the latest."""
        due = min(self._tick_at, self.desk.dialling.deadline)
        if self._grace.is_over and not self.stopping and self.stall.reason is None:
            due = min(due, self.ledger.due.next)  # else nothing is released
        if self.placement.recall_at > now:
            due = min(due, self.placement.recall_at)
        for since in self.peers.owing.values():
            return min(due, since + ACK_DELAY_S)  # they are in the order of their times
        return due

    # -- peers -----------------------------------------------------------------------------

    def _on_heard(self, event: Heard, now: float) -> None:
        peer, envelope = self.peers.by_id.get(event.peer), event.envelope
        if type(envelope.message) is m.Hello:
            self._on_hello(event, envelope.message, now)
            return
        if peer is None:
            self.peers.outgoing.append((event.peer, Envelope(envelope.session, 0, 0, m.Resync())))
            return
        if event.role != peer.rights:  # its key was taken back, or somebody took its routing id
            self._turn_away(event, rights.taken_back())
            self._drop(peer, now)
            return
        peer.last_heard = now
        try:
            if not peer.link.accept(envelope):
                return
        except Gap:
            self.peers.send(peer, m.Resync(), now)
            return
        peer.news.acknowledged(envelope.ack)
        if peer.parked is not None and envelope.message.SEQUENCED:
            self.line_up(peer, envelope, now)
        else:
            self._take_envelope(peer, envelope, now)

    def line_up(self, peer: Peer, envelope: Envelope, now: float) -> None:
        """A message comes behind one that waits. What needs no room passes one that waits for room.
        Its place in line it leaves to what is left of it: the line is acknowledged in order."""
        message = envelope.message
        if type(message) is m.Put and self.stall.why is None:
            self.puts.ahead(peer, message, now)
        elif self.stall.may_pass(peer) or self.puts.may_pass(peer):
            left: m.Message = m.Watch([])
            if type(message) is m.Watch:
                left = self.orders.watch_ahead(peer, message, now)
            elif type(message) is m.Cancel and self.orders.parked(peer, message.spans):
                self.orders.take_cancel(peer, message, now, ahead=True)
                left = message
            elif type(message) in (m.Ask, m.Cancel):
                self._take[type(message)](peer, message, now)
            else:
                left = message
            envelope = Envelope(envelope.session, envelope.sequence, envelope.ack, left)
        assert peer.parked is not None, "what passes parks nothing and drops nobody"
        peer.parked.append(envelope)

    def _take_envelope(self, peer: Peer, envelope: Envelope, now: float) -> None:
        if self.stall.holds(peer, envelope):
            return
        kind = type(envelope.message)
        objection = rights.objection(peer, kind)
        if objection is None:
            self._take[kind](peer, envelope.message, now)
        else:
            self.peers.send(peer, objection, now)
        if envelope.message.SEQUENCED and peer.parked is None:
            self._heard[peer] = envelope.sequence

    def _on_garbled(self, event: Garbled, now: float) -> None:
        error = m.Error("MeshError", f"not understood: {event.reason}")
        peer = self.peers.by_id.get(event.peer)
        if peer is None:
            self.peers.outgoing.append((event.peer, Envelope(0, 0, 0, error)))
        else:
            self.peers.send(peer, error, now)

    def _turn_away(self, event: Heard, error: m.Error) -> None:
        self.peers.outgoing.append((event.peer, Envelope(event.envelope.session, 0, 0, error)))

    def _on_hello(self, event: Heard, hello: m.Hello, now: float) -> None:
        id, envelope = event.peer, event.envelope
        old = self.peers.by_who.get((hello.role, hello.who))
        refusal = rights.refusal(hello, old, event.role, self.peers.runs)
        if refusal is not None:
            self._turn_away(event, refusal)
            return
        if old is not None and old.incarnation == hello.incarnation:
            if envelope.session < old.link.session:
                return  # a late copy of an older greeting
            if envelope.session == old.link.session:
                if old.id == id:  # the same one again: its WELCOME may have been lost
                    self._welcome(old, now)
                return
        replaced = [self.peers.by_id.get(id), old]
        peer = Peer(id, hello.role, hello.who, hello.incarnation, now)
        peer.rights, peer.far = event.role, event.far
        peer.mismatch = rights.mismatch(hello.about, self.peers.runs)
        peer.link.open(envelope.session)
        if hello.who in self.ledger.sessions:  # it has been here: what it missed it asks for now
            peer.news.asked_by_s = now - self._born_at + self.settings.lost_after_s
            peer.news.heard_s = old.news.heard_s if old is not None else 0.0
        self.peers.add(peer)
        self._welcome(peer, now)
        self._notices.welcomed(hello.who)
        if hello.role == "worker":
            self.peers.send(peer, m.Keys(self.peers.keys), now)
            worker = self.fleet.greet(peer, hello, now)
            if not worker.recorded:
                self.after_commit(lambda now: self.fleet.is_recorded(worker))
            self._grace.greeted(hello, now)
            self.holders.greeted(hello.who)
            self.listeners.greeted(peer, now)
            self.puts.greeted(worker, now)
            self.handover.greeted(worker, now)
            self.desk.slots_changed(now)
            if self.stopping:
                self.peers.send(peer, m.Leave(max(0.0, self._stop_at - now)), now)
        for each in dict.fromkeys(filter(None, replaced)):
            self._drop(each, now)  # a worker that has greeted is not away

    def _welcome(self, peer: Peer, now: float) -> None:
        settings = {name: getattr(self.settings, name) for name in Settings.__dataclass_fields__}
        settings["lost_after_s"] = self.peers.patience_s(peer, self.settings)
        welcome = m.Welcome(self.mesh, self.birth, self.epoch, m.VERSION_MAX, settings)
        self.peers.send(peer, welcome, now)

    def _on_gone(self, event: Gone, now: float) -> None:
        peer = self.peers.by_id.get(event.peer)
        if peer is not None:
            if self.stopping and now >= self._stop_at:  # nothing of it is waited for any more
                self.fleet.lose(self.fleet.workers.get(peer.who), None, now)
            self._drop(peer, now)

    def _drop(self, peer: Peer, now: float) -> None:
        """A peer's connection is no more, however it ended: forget it, but not what a client has
        heard, nor a worker that has not been lost: it may come back."""
        self.peers.drop(peer)
        self.puts.dropped(peer)
        self.recovery.dropped(peer)
        self.relays.dropped(peer, now)
        self.listeners.dropped(peer, now)
        self.fleet.away(peer, now)
        self.ledger.age_s = now - self._born_at  # what ends from now on is not heard of
        if peer.role == "client" and peer.who in self.ledger.sessions:
            heard_s = peer.news.heard_of_all(peer.link.sent, self.ledger.age_s)
            self.ledger.writes.append(("age", self.ledger.age_s))  # never behind what is heard
            self.ledger.writes.append(("heard", peer.who, heard_s))
            self.pruning.forget_sessions([peer.who])

    def _take_bye(self, peer: Peer, message: m.Bye, now: float) -> None:
        if peer.role == "worker":
            self.fleet.lose(self.fleet.workers.get(peer.who), None, now)
        self._drop(peer, now)

    def _take_from_worker(self, peer: Peer, message: Any, now: float) -> None:
        worker = self.fleet.workers.get(peer.who)
        if worker is not None and worker.peer is peer:  # a client has no business here
            self._of_worker[type(message)](worker, message, now)

    def _take_report(self, worker: Member, message: m.Report, now: float) -> None:
        self.fleet.take_report(worker, message, now)
        self.desk.slots_changed(now)

    def after_commit(self, then: Callable[[float], None], *, first: bool = False) -> None:
        """`then(now)` is called when what this turn writes is on disk; `first` before others."""
        self._promised.insert(0 if first else len(self._promised), then)

    def resume(self, peer: Peer, now: float) -> None:
        """The message that waited for the store is taken; those behind it follow, in order."""
        waiting, peer.parked = peer.parked or deque(), None
        behind = sum(envelope.message.SEQUENCED for envelope in waiting)
        self._heard[peer] = peer.link.received - behind
        while waiting and not peer.is_parked:
            self._take_envelope(peer, waiting.popleft(), now)
        for envelope in waiting:
            self.line_up(peer, envelope, now)

    # -- the end of a turn -----------------------------------------------------------------

    def _acknowledge(self, now: float) -> None:
        while self._to_record and self._to_record[0][0] <= self.committed:
            for peer, sequence in self._to_record.popleft()[1].items():
                peer.link.record(sequence)
                if peer.link.owes_ack and self.peers.by_id.get(peer.id) is peer:
                    self.peers.owing.setdefault(peer, now)
        for peer, since in list(self.peers.owing.items()):
            if now - since < ACK_DELAY_S:
                break
            self.peers.send(peer, m.Beat(), now)

    # -- the store's answers, and time -----------------------------------------------------

    def _on_committed(self, event: Committed, now: float) -> None:
        self.committed = event.ticket
        self.stall.end()
        self.pruning.measured(event.used_bytes, now)
        while self._unrecorded and self._unrecorded[0][0] <= event.ticket:
            self._unrecorded_bytes -= self._unrecorded.popleft()[1]
        self._keep_promises(now)

    @property
    def _is_behind(self) -> bool:
        """Whether outcomes come faster than the disk takes them: nothing more is given out then."""
        return self._unrecorded_bytes > UNRECORDED_BYTES_MAX

    def _keep_promises(self, now: float) -> None:
        while self._after_commit and self._after_commit[0][0] <= self.committed:
            for then in self._after_commit.popleft()[1]:
                then(now)

    def _on_tick(self, event: Tick, now: float) -> None:
        self._tick_at = now + self.settings.heartbeat_s / 2
        self.ledger.age_s = now - self._born_at
        self.courier.marks = True
        for peer in list(self.peers.by_id.values()):
            if now - peer.last_heard > self.peers.patience_s(peer, self.settings):
                if peer.role == "worker":
                    silent = f"was silent for {now - peer.last_heard:.1f} s"
                    self.fleet.lose(self.fleet.workers.get(peer.who), silent, now)
                self._drop(peer, now)
            elif now - peer.last_sent >= self.settings.heartbeat_s:
                self.peers.send(peer, m.Beat(), now)
        self.fleet.tick(now)
        self.placement.tick(now)
        self.holders.tick(now)
        self.desk.tick(now)
        self._notices.tick(now)
        self.pruning.tick(now)
        self.unused.tick(now)
        self.drops.tick(now)
        self.puts.tick(now)
        self.handover.tick(now)
        self._grace.tick(now)
        self.relays.tick(now)

    def grace_s(self, now: float) -> float | None:
        """How long what may run at workers of the last life is held back still; None: it is not."""
        return self._grace.rest_s(now)

    def stop(self, within_s: float, now: float, *, orphaned: bool = False) -> None:
        """End the mesh: workers leave, then the router may. What runs has `within_s` seconds. Who
        stops it because the owner is gone, `orphaned`, says so."""
        if orphaned and not self.stopping:
            self._notices.orphaned(now)
        if not self.stopping or now + within_s < self._stop_at:
            counts = {state.word: self.ledger.counts[state] for state in State if state < ENDED}
            self.ledger.journal.drain(not self.stopping, within_s, **counts)
        self.stopping = True
        self._stop_at = min(self._stop_at, now + within_s)
        for worker in list(self.fleet):
            if worker.peer is not None:
                self.peers.send(worker.peer, m.Leave(within_s), now)
            else:
                self.fleet.lose(worker, None, now)

    def check(self) -> None:
        """Raise AssertionError if an invariant does not hold. For tests."""
        self.ledger.check()
        self.fleet.check()
        for peer in self.peers.by_id.values():
            assert peer.link.recorded <= peer.link.received, f"{peer.who}: more than came"
