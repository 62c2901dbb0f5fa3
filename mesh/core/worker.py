"""The worker's core: what this host runs, and what it still owes.

One door, `handle(event, now)`, and one exit, `settle(now)`. It hands tasks to slots, keeps the
prefetched rest, and keeps each outcome until the router has recorded it (the link does). It never
sees a payload's inside, starts no process and opens no file: its actions are carried out by
processes/worker.py.

Invariant (`check`): every lease it holds is in exactly one place: the backlog, one slot's line, or
among the outcomes that wait for the store.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..protocol import messages as m
from ..protocol.link import Gap, Link
from ..protocol.outcome import failure_body
from ..task import Kind, show
from .backlog import Backlog, Piece
from .events import (
    Committed,
    Connected,
    RouterHeard,
    Settings,
    SlotAnswered,
    SlotExited,
    SlotReady,
    TakenBack,
    Tick,
    WorkerTurn,
)
from .gathering import Gathering, Run
from .line import Line
from .pace import Paces
from .slot import Slot, obituary

#: A slot that died before it was ready is not started again at once: something is wrong with it.
RESTART_PAUSE_S = 1.0

#: So many in a row, and the worker gives up: its message says why.
START_FAILURES_MAX = 5

#: While there is more to run, outcomes gather for so long: they travel in fewer messages.
GATHER_S = 0.001

#: An idle worker acknowledges what it was sent after this long.
ACK_AFTER_S = 0.05

#: HELLO is said again after this long without a WELCOME.
HELLO_AGAIN_S = 1.0


class WorkerCore:
    """See the module. `who` is the store id; set `about`, what HELLO says, before it dials."""

    def __init__(self, who: str, incarnation: bytes, slots: int, host: str) -> None:
        self.who = who
        self.incarnation = incarnation
        self.about: dict[str, Any] = {}
        self.host = host
        self.settings = Settings()
        self.link = Link(keeps=True)
        self.slots = {number: Slot(number) for number in range(slots)}
        self.backlog = Backlog()
        self.held: dict[int, Piece] = {}
        self.functions: dict[bytes, m.Function] = {}
        self.welcome: m.Welcome | None = None
        self.leaving: str | None = None
        self.failed = False  # it leaves because it is of no use, not because it was told to
        self._paces = Paces()
        self._gathered = Gathering()
        self._stored: dict[int, tuple[int, int, bytes]] = {}  # ticket → outcome awaiting the store
        self._ticket = 0
        self._recalled: int | None = None
        self._alone: set[int] = set()  # one of their packet killed its slot
        self._doomed: set[int] = set()  # cancelled while they waited at a slot
        self._last_heard = 0.0
        self._last_sent = 0.0
        self._hello_at = 0.0
        self._restart_at: dict[int, float] = {number: 0.0 for number in self.slots}
        self._start_failures = 0
        self._report_due = False
        self._done_at = 0.0
        self._turn = WorkerTurn()
        self._on: dict[type, Callable[[Any, float], None]] = {
            RouterHeard: self._on_router,
            Connected: self._on_connected,
            SlotReady: self._on_slot_ready,
            SlotAnswered: self._on_slot_answered,
            SlotExited: self._on_slot_exited,
            TakenBack: self._on_taken_back,
            Committed: self._on_committed,
            Tick: self._on_tick,
        }
        self._take: dict[type[m.Message], Callable[[Any, float], None]] = {
            m.Welcome: self._take_welcome,
            m.Beat: lambda message, now: None,
            m.Resync: lambda message, now: self._hello(now),
            m.Error: self._take_error,
            m.Function: self._take_function,
            m.Tasks: self._take_tasks,
            m.Recall: self._take_recall,
            m.Kill: self._take_kill,
            m.Leave: self._take_leave,
        }

    # -- the door and the exit -------------------------------------------------------------

    def handle(self, event: Any, now: float) -> None:
        """Take in one event."""
        self._on[type(event)](event, now)

    def settle(self, now: float) -> WorkerTurn:
        """Fill the slots and gather what this turn wants done."""
        self._start_slots(now)
        if self.may_begin(now):
            self._fill_slots(now)
            self._level()
        self._answer_recall(now)
        if self.welcome is not None:
            self._tell_done(now)
            if self._report_due:
                self._report_due = False
                self._send(m.Report(self._report()), now)
            if self.link.owes_ack and now - self._last_sent >= ACK_AFTER_S:
                self._send(m.Beat(), now)
        if self.leaving is not None and not self.held:
            if self.welcome is not None:
                self._send(m.Bye(), now)
            self._turn.stop = self.leaving
        turn, self._turn = self._turn, WorkerTurn()
        return turn

    def deadline(self, now: float) -> float:
        """When `handle(Tick)` and `settle` are due at the latest."""
        due = now + self.settings.heartbeat_s / 2
        if self.welcome is None:
            due = min(due, self._hello_at)
        elif self._gathered:
            due = min(due, self._done_at)
        for number, slot in self.slots.items():
            if not slot.pid and self._restart_at[number] > now:
                due = min(due, self._restart_at[number])
            limit = self._limit(slot)
            if limit is not None:
                due = min(due, slot.began + limit)
        return max(due, now)

    def may_begin(self, now: float) -> bool:
        """Whether new tasks may start: not while the router may have given us up."""
        return self.welcome is not None and now - self._last_heard < self.settings.lost_after_s

    # -- the router ------------------------------------------------------------------------

    def _send(self, message: m.Message, now: float) -> None:
        self._last_sent = now
        self._turn.sends.append(self.link.stamp(message))

    def _on_connected(self, event: Connected, now: float) -> None:
        self._hello(now)

    def _hello(self, now: float) -> None:
        """Open the link anew: say who we are and what we hold."""
        again = self.link.open()
        self._gathered.keep(again)
        self.welcome = None
        self._hello_at = now + HELLO_AGAIN_S
        in_hand = [
            [lease, piece.session, piece.counter(lease)] for lease, piece in self.held.items()
        ]
        in_hand += self._gathered.held()
        about = self.about | self._report() | {"window": self._window()}
        hello = m.Hello(
            "worker", self.who, self.incarnation, m.VERSION_MIN, m.VERSION_MAX, about, in_hand
        )
        self._turn.sends = [self.link.stamp(hello)]  # nothing of the old session may follow
        self._last_sent = now

    def _on_router(self, event: RouterHeard, now: float) -> None:
        envelope = event.envelope
        try:
            if not self.link.accept(envelope):
                return
        except Gap:
            self._hello(now)
            return
        self._last_heard = now
        self.link.record(self.link.received)
        take = self._take.get(type(envelope.message))
        if take is not None:
            take(envelope.message, now)

    def _take_welcome(self, message: m.Welcome, now: float) -> None:
        self.welcome = message
        known = Settings.__dataclass_fields__
        self.settings = Settings(**{k: v for k, v in message.settings.items() if k in known})

    def _take_error(self, message: m.Error, now: float) -> None:
        if self.welcome is None:
            self.failed = True
            self.give_up(f"refused by the router: {message.text}")

    def _take_function(self, message: m.Function, now: float) -> None:
        self.functions[message.digest] = message

    def _take_tasks(self, message: m.Tasks, now: float) -> None:
        for row in message.pieces:
            piece = Piece(row)
            count = len(piece.payloads)
            self.held.update(dict.fromkeys(range(piece.lease, piece.lease + count), piece))
            self.backlog.add(piece)

    def _take_recall(self, message: m.Recall, now: float) -> None:
        self._recalled = message.count
        self._turn.take_back += [s.number for s in self.slots.values() if not s.read]

    def _take_kill(self, message: m.Kill, now: float) -> None:
        for lease in message.leases:
            piece = self.held.get(lease)
            if piece is None:
                continue
            slot = next((s for s in self.slots.values() if lease in s.line), None)
            if slot is not None and slot.line.first == lease:
                self._kill(slot, lease, Kind.CANCELLED)
            elif slot is not None:
                self._doomed.add(lease)
                self._turn.take_back.append(slot.number)
            elif self.backlog.take_out(piece, lease - piece.lease):
                self._outcome(lease, Kind.CANCELLED, failure_body("CancelledError", "cancelled"))

    def _take_leave(self, message: m.Leave, now: float) -> None:
        self.leave("the mesh was stopped", drain=message.drain)

    def leave(self, reason: str, *, drain: bool) -> None:
        """Stop taking tasks; go when what runs has ended, or at once."""
        self.leaving = self.leaving or reason
        if drain:
            self._recalled = len(self.held)
        else:
            for slot in self.slots.values():
                for lease in slot.line:
                    self.held.pop(lease, None)
                slot.line = Line()
            self._drop_backlog()

    def give_up(self, reason: str) -> None:
        """There is no router to work for: go when what runs has ended."""
        self.leaving = self.leaving or reason
        self._drop_backlog()

    def _drop_backlog(self) -> None:
        for lease in self.backlog.clear():
            del self.held[lease]

    # -- slots -----------------------------------------------------------------------------

    def _start_slots(self, now: float) -> None:
        if self.leaving is not None:
            return
        for number, slot in self.slots.items():
            if not slot.pid and now >= self._restart_at[number]:
                slot.pid = -1  # being started
                self._turn.starts.append(number)

    def _on_slot_ready(self, event: SlotReady, now: float) -> None:
        slot = self.slots[event.slot]
        slot.pid, slot.ready = event.pid, True
        self._start_failures = 0
        self._report_due = True

    def _fill_slots(self, now: float) -> None:
        """Give tasks to slots, emptiest first, as deep as their pace has earned."""
        if not self.backlog:
            return
        slots = [slot for slot in self.slots.values() if slot.ready and slot.ending is None]
        slots.sort(key=lambda slot: len(slot.line))
        progress = True
        while progress and self.backlog:
            progress = False
            for slot in slots:
                if self.backlog and self._feed(slot, now):
                    progress = True

    def _feed(self, slot: Slot, now: float) -> bool:
        """One packet for `slot`, if it takes one."""
        piece, low, high = self.backlog.front
        pace = self._paces.of(piece.function)
        in_line = len(slot.line)
        if in_line:
            if pace is None or piece.time_limit is not None or self._limit(slot) is not None:
                return False
            if in_line >= pace.slot_tasks:
                return False
        count = 1 if pace is None or piece.time_limit is not None else pace.packet_tasks
        if self._alone:
            if in_line:
                return False
            count = self._count_alone(piece, low, min(count, high - low))
        _, _, end = self.backlog.take(count)
        slot.read = False
        if not in_line:
            slot.began = now
        slot.line.add(piece.lease + low, piece.lease + end)
        if piece.function not in slot.functions:
            slot.functions.add(piece.function)
            self._turn.functions.append((slot.number, piece.function))
        self._turn.tasks.append((slot.number, piece, low, end))
        return True

    def _count_alone(self, piece: Piece, low: int, count: int) -> int:
        """How many of `count` tasks may share a packet when some must travel alone."""
        first = piece.lease + low
        if first in self._alone:
            self._alone.discard(first)
            return 1
        return next((i for i in range(1, count) if first + i in self._alone), count)

    def _level(self) -> None:
        """An idle slot beside one with a line: what the latter has not read is taken back."""
        if self.backlog:
            return
        if any(slot.ready and not slot.line for slot in self.slots.values()):
            busiest = max(self.slots.values(), key=lambda slot: len(slot.line))
            if len(busiest.line) > 1 and not busiest.read:
                self._turn.take_back.append(busiest.number)

    def _on_taken_back(self, event: TakenBack, now: float) -> None:
        slot = self.slots[event.slot]
        slot.read = True
        self._unread(slot, event.leases)

    def _unread(self, slot: Slot, leases: list[int]) -> None:
        slot.line.remove(leases)
        for lease in reversed(leases):
            if lease in self._doomed:
                self._doomed.discard(lease)
                self._outcome(lease, Kind.CANCELLED, failure_body("CancelledError", "cancelled"))
                continue
            piece = self.held[lease]
            self.backlog.put_back(piece, lease - piece.lease)

    def _on_slot_answered(self, event: SlotAnswered, now: float) -> None:
        slot = self.slots[event.slot]
        line, held = slot.line, self.held
        run: Run | None = None
        session = function = None
        took_s = longest_s = 0.0
        count = 0
        for lease, kind, body, seconds, stored in event.rows:
            if line.first != lease:
                continue  # it was given up already
            line.answered()
            piece = held[lease]
            if piece.function is not function:
                self._paces.add(function, took_s, count, longest_s)
                function, took_s, longest_s, count = piece.function, 0.0, 0.0, 0
            took_s += seconds
            count += 1
            if seconds > longest_s:
                longest_s = seconds
            if stored:
                self._ticket += 1
                self._stored[self._ticket] = (lease, kind, body)
                self._turn.store.append((self._ticket, kind, body))
                continue
            del held[lease]
            if run is None or piece.session != session:
                session = piece.session
                run = self._gathered.run(session)
            run[0].append(piece.first + lease - piece.lease)
            run[1].append(lease)
            run[2].append(kind)
            run[3].append(body)
        self._paces.add(function, took_s, count, longest_s)
        slot.began = now
        if slot.ending is not None and not slot.line:
            slot.ending = None

    def _on_slot_exited(self, event: SlotExited, now: float) -> None:
        slot = self.slots[event.slot]
        pid, ready, ending = slot.pid, slot.ready, slot.ending
        self._unread(slot, [lease for lease in event.unread if lease in self.held])
        fresh = self.slots[event.slot] = Slot(event.slot)
        self._report_due = True
        if not ready:
            self._start_failures += 1
            self._restart_at[fresh.number] = now + RESTART_PAUSE_S
            if self._start_failures >= START_FAILURES_MAX:
                self.failed = True
                self.leaving = f"slots do not start: the last one {event.how}"
        in_hand = list(slot.line.in_hand)
        if not in_hand:
            return
        if len(in_hand) > 1 and ending is None:
            # Which of them it was cannot be told: each runs again, alone. Nobody is blamed yet.
            self._alone.update(in_hand)
            self._unread(slot, list(slot.line))
            return
        lease = in_hand[0]
        self._unread(slot, list(slot.line)[1:])
        piece = self.held[lease]
        task = show(piece.session, piece.counter(lease))
        body = obituary(task, event.how, ending, piece.time_limit, self.host, pid)
        self._outcome(lease, ending or Kind.SLOT_LOST, body)

    def _kill(self, slot: Slot, lease: int, why: Kind) -> None:
        slot.ending = why
        self._turn.kills.append((slot.number, lease))

    def unlearn(self, digest: bytes, slot: int) -> None:
        """A function was taken back out of a slot's socket: it has to be sent again."""
        self.slots[slot].functions.discard(digest)

    def spared(self, slot: int) -> None:
        """The shell found that the lease to be killed had ended by itself."""
        self.slots[slot].ending = None

    def _limit(self, slot: Slot) -> float | None:
        """The time limit of what runs in `slot`; such a task is alone there."""
        running = slot.line.first
        return None if running is None else self.held[running].time_limit

    # -- outcomes and credit ---------------------------------------------------------------

    def _outcome(self, lease: int, kind: int, body: bytes) -> None:
        piece = self.held.pop(lease)
        self._gathered.add(piece.session, piece.counter(lease), lease, kind, body)

    def _on_committed(self, event: Committed, now: float) -> None:
        """The results under tickets up to this one are indexed: they may be told."""
        for ticket in [t for t in self._stored if t <= event.ticket]:
            lease, kind, body = self._stored.pop(ticket)
            if lease in self.held:
                self._outcome(lease, kind, body)

    def _window(self) -> int:
        if self.leaving is not None:
            return 0
        latest = self._paces.latest
        return len(self.slots) if latest is None else latest.window_tasks(len(self.slots))

    def _tell_done(self, now: float) -> None:
        if not self._gathered or self.backlog and now < self._done_at:
            return
        self._done_at = now + GATHER_S
        self._send(m.Done(self._gathered.rows(), self._window()), now)
        self._gathered.clear()

    def _answer_recall(self, now: float) -> None:
        """Give back from the end of the backlog: what would begin last."""
        if self._recalled is None or self.welcome is None:
            return
        count, self._recalled = self._recalled, None
        leases = self.backlog.take_end(count)
        for lease in leases:
            del self.held[lease]
        self._send(m.Returned(leases, self._window()), now)

    def _report(self) -> dict[str, Any]:
        running = []
        for slot in self.slots.values():
            if slot.ready:
                task = None
                lease = slot.line.first
                if lease is not None:
                    task = show(self.held[lease].session, self.held[lease].counter(lease))
                running.append({"pid": slot.pid, "task": task})
        return {"slots": len(self.slots), "running": running}

    def _on_tick(self, event: Tick, now: float) -> None:
        for slot in self.slots.values():
            limit, running = self._limit(slot), slot.line.first
            if limit is None or running is None or slot.ending is not None:
                continue
            if now >= slot.began + limit:
                self._kill(slot, running, Kind.TIMED_OUT)
        if self.welcome is None:
            if now >= self._hello_at:
                self._hello(now)
        elif now - self._last_heard > self.settings.lost_after_s:
            self._hello(now)
        elif now - self._last_sent >= self.settings.heartbeat_s:
            self._send(m.Report(self._report()), now)

    def check(self) -> None:
        """Raise AssertionError if a lease is in two places or in none. For tests."""
        places = list(self.backlog)
        places += [lease for slot in self.slots.values() for lease in slot.line]
        places += [lease for lease, _, _ in self._stored.values()]
        assert sorted(places) == sorted(self.held), (sorted(places), sorted(self.held))
