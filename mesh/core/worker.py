"""The worker's core: what this host runs, and what it still owes.

One door, `handle(event, now)`, and one exit, `settle(now)`. It hands tasks to slots, keeps the
prefetched rest, and keeps each outcome until the router has recorded it (the link does). It never
sees a payload's inside, starts no process and opens no file: its actions are carried out by
processes/worker.py.

Invariant (`check`): every lease it holds is in exactly one place: among those that wait for inputs,
the backlog, one slot's line, or among the outcomes that wait for the store.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ..protocol import messages as m
from ..protocol.link import Gap, Link
from ..task import unkey
from .adoption import Adoption
from .clearing import Clearing
from .events import (
    Arrived,
    Committed,
    Connected,
    Dialled,
    Listed,
    Missed,
    Oldest,
    Owned,
    Printed,
    RouterHeard,
    Settings,
    SlotAnswered,
    SlotExited,
    SlotReady,
    Stalled,
    TakenBack,
    TakenIn,
    Tick,
    TimeLeft,
    Weighed,
    WorkerTurn,
)
from .gathering import Gathering
from .journal import Journal
from .keeping import Keeping
from .parting import Parting
from .reporting import Reporting
from .slots import Slots
from .supply import Supply
from .tails import Tails
from .term import Term

#: While there is more to run, outcomes gather for so long: they travel in fewer messages.
GATHER_S = 0.001

#: An idle worker acknowledges what it was sent after this long.
ACK_AFTER_S = 0.05

#: A worker that leaves waits so long for its last outcomes to be recorded: a router that died at
#: that moment has been started again by then.
LAST_ACK_S = 3.0

#: A disk that had no room is tried again after this long.
STALL_S = 1.0

#: HELLO is said again after this long without a WELCOME.
HELLO_AGAIN_S = 1.0


class WorkerCore:
    """See the module. `who` is the store id; set `about`, what HELLO says, and `term`, how long it
    stays, before it dials. After `tasks_max` tasks a slot's process is replaced; there are `slots`
    processes, each with as many slots as `threads`. The `journal` is of how it leaves."""

    def __init__(
        self,
        who: str,
        incarnation: bytes,
        slots: int,
        host: str,
        tasks_max: int | None = None,
        threads: int = 1,
    ) -> None:
        self.who, self.incarnation = who, incarnation
        self.about: dict[str, Any] = {}
        self.settings, self.link = Settings(), Link(keeps=True)
        self.functions: dict[bytes, m.Function] = {}
        self.welcome: m.Welcome | None = None
        self.leaving: str | None = None
        self.failed = False  # it leaves because it is of no use, not because it was told to
        self.journal, self.keeping, self._gathered = Journal(), Keeping(), Gathering()
        self.slots = Slots(slots, host, self._gathered, tasks_max, threads)
        self.adoption, self.parting = Adoption(self), Parting(self)
        self.supply, self.clearing = Supply(self), Clearing(self)
        self.reporting, self.tails, self.term = Reporting(self), Tails(self), Term()
        self._given_up = False  # perhaps: this process was stopped for too long, or its router was
        self._recalled: int | None = None
        self._wanted: list[int] = []  # leases that the RECALL names
        self._last_heard = self._last_sent = self._hello_at = self._tick_at = self._done_at = 0.0
        self._patience_s = LAST_ACK_S
        self._interrupt_at = math.inf  # it leaves, and what runs has until then
        self._go_at: float | None = None  # nothing runs any more: gone by then at the latest
        self._stalled_until = 0.0  # nothing begins before: the disk has no room
        self._in_haste = False  # it leaves at once
        self._on: dict[type, Callable[[Any, float], None]] = {
            RouterHeard: self._on_router,
            Connected: lambda event, now: self._hello(now),
            SlotReady: lambda event, now: self.slots.is_ready(event.slot, event.pid),
            SlotAnswered: self.slots.answered,
            SlotExited: self._on_slot_exited,
            TakenBack: lambda event, now: self.slots.taken_back(event),
            Committed: self._on_committed,
            Arrived: self.supply.arrived,
            Missed: self.supply.missed,
            TakenIn: self.supply.taken_in,
            Listed: self.parting.listed,
            Owned: self.adoption.owned,
            Oldest: self.clearing.oldest,
            Stalled: self._on_stalled,
            Printed: self.tails.printed,
            Weighed: lambda event, now: self.slots.weighed(event),
            Tick: self._on_tick,
            TimeLeft: self.reporting.time_left,
            Dialled: self.reporting.dialled,
        }
        self._take = self._from_router()

    def _from_router(self) -> dict[type[m.Message], Callable[[Any, float], None]]:
        return {
            m.Welcome: self._take_welcome,
            m.Beat: lambda message, now: self.reporting.answer(now, now - self._last_sent),
            m.Resync: lambda message, now: self._hello(now),
            m.Error: self._take_error,
            m.Function: lambda message, now: self.functions.update({message.digest: message}),
            m.Inputs: self.supply.take_inputs,
            m.Holders: self.supply.take_holders,
            m.Relay: lambda message, now: self.slots.orders.relayed.append(message),
            m.Tasks: self.supply.take_tasks,
            m.Recall: self._take_recall,
            m.Kill: self._take_kill,
            m.Drop: lambda message, now: self.clearing.drop(message.leases, told=True),
            m.Take: lambda message, now: self.slots.take_in(message.rows),
            m.Adopt: self.adoption.take_adopt,
            m.Settled: self.parting.settled,
            m.Leave: self._take_leave,
            m.Keys: self._take_keys,
            m.Dial: lambda message, now: self.slots.orders.dial.append(message),
            m.Listen: self.tails.take_listen,
        }

    def recall_untold(self, outcomes: list[tuple[bytes, int, int, bytes]]) -> None:
        """What an earlier life has stored and not told: task, lease, kind, body. Before the first
        HELLO."""
        for task, lease, kind, body in outcomes:
            self._gathered.stored(task, lease)
            self._gathered.add(*unkey(task), lease, kind, body)

    # -- the door and the exit -------------------------------------------------------------

    def handle(self, event: Any, now: float) -> None:
        """Take in one event."""
        if self.welcome is not None and self._is_given_up(now):
            self._given_up = True
        if not (self._given_up and type(event) is RouterHeard):  # what comes now is of before
            self._on[type(event)](event, now)

    def settle(self, now: float) -> WorkerTurn:
        """Fill the slots and gather what this turn wants done."""
        slots = self.slots
        if self._given_up:
            self._given_up = False
            slots.drop_backlog()  # it may have begun elsewhere; what has not is given out anew
            self._hello(now)
        if self.leaving is not None and (slots.backlog or slots.backlog.arrivals):
            self._give_back()
        if self.welcome is not None and not slots.orders.take_back:
            self._answer_recall(now)  # else when it is known what slots have not read
        if self.leaving is None:
            slots.start(now)
            slots.orders.fetch += slots.backlog.arrivals.orders()
            if self.may_begin(now) and self._recalled is None:
                slots.feeding.fill(now)
                slots.feeding.level()
        if self.welcome is not None:
            self.clearing.look(now)
            told = self._tell_done(now)
            self.reporting.settle(now, has_told=told)
            if self.link.owes_ack and now - self._last_sent >= ACK_AFTER_S:
                self.send(m.Beat(), now)
        if self.leaving is not None:
            self.parting.go_on(not slots.held and self._is_recorded, now)
        if self.leaving is not None and not slots.held and self._may_go(now):
            self.clearing.drop(self.parting.gone)
            if self.welcome is not None:
                self.parting.say_goodbye(now)
            slots.orders.stop = self.leaving
            self.journal.note("drain ended", why=self.leaving)
        self.term.note(self.welcome is not None and not (self.leaving or slots.held), now)
        self.clearing.order()
        self.tails.order(now)
        turn, slots.orders = slots.orders, WorkerTurn()
        return turn

    def deadline(self, now: float) -> float:
        """When `handle(Tick)` and `settle` are due at the latest."""
        due = self._tick_at
        if self._stalled_until:
            due = min(due, self._stalled_until)
        if self.welcome is None:
            due = min(due, self._hello_at)
        else:
            due = min(due, self.reporting.due, self._done_at if self._gathered else due)
        if self._go_at is not None and not self.slots.held:
            due = min(due, self._go_at)
        due = min(due, self._interrupt_at, self.parting.deadline(now), self.tails.deadline())
        due = min(due, self.term.deadline)
        return max(now, min(due, self.slots.deadline(now)))

    def may_begin(self, now: float) -> bool:
        """Whether tasks may start: the router counts on us, and has not too much of ours by now."""
        is_full = self._gathered.is_full or self.clearing.is_full
        return not (is_full or self._is_given_up(now)) and now >= self._stalled_until

    @property
    def given_until(self) -> float:
        """Until when the router does not give us up, should one of us be silent from now on."""
        return min(self._last_heard, self._last_sent) + self.settings.lost_after_s

    def _is_given_up(self, now: float) -> bool:
        """Whether the router may have given us up: one of us has been silent for long."""
        return self.welcome is None or now >= self.given_until

    # -- the router ------------------------------------------------------------------------

    def send(self, message: m.Message, now: float) -> None:
        """Queue `message` for the router."""
        self._last_sent = now
        self.slots.orders.sends.append(self.link.stamp(message))

    def _hello(self, now: float) -> None:
        """Open the link anew: say who we are and what we hold."""
        self._gathered.keep(self.link.open())
        self.welcome = None
        self.supply.forget()
        self.adoption.forget()
        self.clearing.forget()
        self.tails.forget()
        self._recalled, self._wanted = None, []  # whoever greets us asks anew
        self._hello_at = now + HELLO_AGAIN_S
        in_hand = [
            [lease, piece.session, piece.counter(lease)] for lease, piece in self.slots.held.items()
        ]
        in_hand += self._gathered.held()
        about = self.about | self.reporting.about() | {"window": self.window}
        about |= self.term.told(now)
        hello = m.Hello(
            "worker", self.who, self.incarnation, m.VERSION_MIN, m.VERSION_MAX, about, in_hand
        )
        self.slots.orders.sends = [self.link.stamp(hello)]  # nothing of the old session may follow
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
        self.slots.orders.told += self._gathered.acknowledged(envelope.ack)
        self.link.record(self.link.received)
        take = self._take.get(type(envelope.message))
        if take is not None:
            take(envelope.message, now)

    def _take_welcome(self, message: m.Welcome, now: float) -> None:
        self.welcome = message
        known = Settings.__dataclass_fields__
        self.settings = Settings(**{k: v for k, v in message.settings.items() if k in known})
        self.supply.tell_missed(now)
        self.parting.offer(now)

    def _take_error(self, message: m.Error, now: float) -> None:
        if self.welcome is None:
            self.failed = True
            self.give_up(f"refused by the router: {message.text}")

    def _take_keys(self, message: m.Keys, now: float) -> None:
        self.slots.orders.let_in = message.roles

    def _take_recall(self, message: m.Recall, now: float) -> None:
        self._recalled, self._wanted = message.count, message.leases
        self.slots.take_back_unread(None if message.count else set(message.leases))

    def _take_kill(self, message: m.Kill, now: float) -> None:
        for lease in message.leases:
            self.slots.cancel(lease)

    def give_back_all(self) -> None:
        """What has not begun the router gets back: there is no room for what comes of it."""
        if self.welcome is not None:
            self._recalled = len(self.slots.held)

    def _on_committed(self, event: Committed, now: float) -> None:
        self.slots.committed(event.ticket)
        self.clearing.committed(event.ticket, now)

    def _take_leave(self, message: m.Leave, now: float) -> None:
        self.leave("the mesh was stopped", message.within_s, now, mesh_ends=True)

    def _answer_recall(self, now: float) -> None:
        if self._recalled is not None:
            leases = self.slots.give_back(self._recalled, self._wanted)
            self._recalled, self._wanted = None, []
            self.send(m.Returned(leases, self.window), now)

    def _give_back(self) -> None:
        """Nothing more begins here: the router gives it to others, now or when it hears HELLO."""
        if self.welcome is not None:
            self._recalled = len(self.slots.held)
        else:
            self.slots.drop_backlog()

    def _tell_done(self, now: float) -> bool:
        """Tell what has ended; whether there was anything to tell."""
        if not self._gathered or self.slots.backlog and now < self._done_at:
            return False
        self._done_at = now + GATHER_S
        for rows in self._gathered.take():
            self.send(m.Done(rows, self.window), now)
            self._gathered.sent(self.link.sent, rows)
        return True

    @property
    def window(self) -> int:
        """How many leases it takes."""
        if self.leaving is not None or self._stalled_until or self.clearing.is_full:
            return 0
        return self.slots.window()

    # -- leaving, and time -----------------------------------------------------------------

    def leave(self, reason: str, within_s: float, now: float, *, mesh_ends: bool = False) -> None:
        """Stop taking tasks; go when what runs has ended, and others have what is needed of what is
        here, unless the mesh ends. What has not ended within `within_s` seconds, or shortly before
        the worker's time does, is interrupted and given back; without any it is dropped at once,
        and so are results for which the disk has no room."""
        if within_s > 0:
            within_s = self.term.within(within_s, now)
        if mesh_ends or within_s <= 0:
            self.parting.end()
        elif self.leaving is None:
            self.parting.begin(now + within_s + self.term.last_round_s)
        else:
            self.parting.hurry(now + within_s + self.term.last_round_s)
        self._drain(reason, within_s)
        if within_s > 0:
            self._recalled = len(self.slots.held)
            self.slots.take_back_unread(None)
            self._interrupt_at = min(self._interrupt_at, now + within_s)
        else:
            self._in_haste = True
            self.slots.drop()
            if self._stalled_until:
                self.slots.drop_stored()

    def _drain(self, reason: str, within_s: float) -> None:
        running = sum(bool(slot.line) for slot in self.slots)
        self.journal.drain(self.leaving is None, within_s, why=reason, running=running)
        self.leaving = self.leaving or reason

    @property
    def _is_recorded(self) -> bool:
        """Whether all that ended here is recorded."""
        return not self._gathered and not any(type(each) is m.Done for _, each in self.link.unacked)

    def _may_go(self, now: float) -> bool:
        """Whether all that ended here is recorded, or has had its time to be, and others have what
        they are to have of it."""
        if self._is_recorded:
            self._go_at = None
            return self.parting.is_over(now)
        if self._go_at is None:
            self._go_at = now + self._patience_s
        return now >= self._go_at

    def rest(self, seconds: float) -> None:
        """This process was stopped for so long: the router had no chance to be heard meanwhile."""
        if self._go_at is not None:
            self._go_at += seconds
        self.parting.rest(seconds)

    def give_up(self, reason: str) -> None:
        """There is no router to work for: go when what runs has ended."""
        if self.leaving is None:
            self._drain(reason, math.inf)
        self._patience_s = 0.0
        self.slots.drop_backlog()

    def _on_stalled(self, event: Stalled, now: float) -> None:
        """The disk has no room: others get what has not begun, until it is tried again."""
        if event.leases:
            self.slots.unsent(event.slot, event.leases)
        elif self._in_haste:
            self.slots.drop_stored()
        if not self._stalled_until:
            self.give_back_all()
        self._stalled_until = now + STALL_S

    def _on_slot_exited(self, event: SlotExited, now: float) -> None:
        self.slots.exited(event, now)
        if self.slots.broken is not None:
            self.failed = True
            if self.leaving is None:
                self._drain(self.slots.broken, math.inf)

    def _on_tick(self, event: Tick, now: float) -> None:
        self._tick_at = now + self.settings.heartbeat_s / 2
        self.slots.enforce(now)
        self.slots.orders.ask_time |= self.term.asks(now)
        why = self.term.over(now)
        if why is not None:
            self.leave(why, math.inf, now)
        if now >= self._interrupt_at:
            self._interrupt_at = math.inf
            running = sum(bool(slot.line) for slot in self.slots)
            self.journal.note("drain ran out of time", running=running)
            self.slots.interrupt()
        if self._stalled_until and now >= self._stalled_until:
            self._stalled_until = 0.0
            if self.welcome is not None:
                self.send(m.Done([], self.window), now)  # the window is open again
        if self.welcome is None:
            if now >= self._hello_at:
                self._hello(now)
        else:
            self.reporting.tick(now, now - self._last_sent, now - self._last_heard)

    def check(self) -> None:
        """Raise AssertionError if an invariant does not hold. For tests."""
        self.slots.check()
        self.slots.backlog.arrivals.check()
