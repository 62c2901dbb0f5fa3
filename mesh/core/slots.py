"""The slots: what this host runs, and where each lease it holds is.

Leases move one way: arrivals → backlog → a slot's line → an outcome, gathered for the router or, if
the result stays here, first waiting for the store. They come back to the backlog's front when a
slot had not read them, or died before it began them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..protocol.outcome import cut_short, failure_body, refs_in
from ..task import Kind, key, show
from .backlog import Backlog, Piece
from .crew import Crew
from .events import SlotAnswered, SlotExited, TakenBack, Weighed, WorkerTurn
from .feeding import Feeding
from .gathering import Gathering, Run
from .guard import Guard, obituary
from .life import Cause
from .line import Line
from .pace import Paces
from .slot import Slot

#: A slot that died before it was ready is not started again at once: something is wrong with it.
RESTART_PAUSE_S = 1.0

#: So many times in a row, of which those at once are one, and the worker gives up: its message says
#: why.
START_FAILURES_MAX = 5


class Slots:
    """The slots of one worker on `host`, and the leases they hold: so many `threads` in each of
    `count` processes.

    Attributes:
        orders: what this turn wants done; the worker's core hands it out.
        held: every lease in hand → its piece.
        changed: whether the router should hear a report.
        broken: why no slot can be started here, or None.
        alone: leases, all in the backlog, each of which shares no packet: one of theirs killed its
            slot.
        guard: what runs longer or takes more than it may.
        feeding: which slot gets what.
    """

    def __init__(
        self,
        count: int,
        host: str,
        gathered: Gathering,
        tasks_max: int | None = None,
        threads: int = 1,
    ) -> None:
        self.threads = threads
        self.crews = [Crew(number, threads, tasks_max) for number in range(count)]
        self._by_number = {slot.number: slot for crew in self.crews for slot in crew.slots}
        self._tasks_max = tasks_max
        self._host = host
        self._gathered = gathered
        self.orders = WorkerTurn()
        self.backlog = Backlog()
        self.held: dict[int, Piece] = {}
        self.paces = Paces()
        self.changed = False
        self.broken: str | None = None
        self._stored: dict[int, tuple[int, int, bytes]] = {}  # ticket → outcome awaiting the store
        self._ticket = 0
        self.alone: set[int] = set()
        self._doomed: set[int] = set()  # cancelled while they were at a slot
        self._interrupting = False  # what runs has had its time
        self._start_at = dict.fromkeys(range(count), 0.0)  # the processes that are not there
        self.guard = Guard(self.held.__getitem__)
        self.feeding = Feeding(self)
        self._start_failures = 0
        self._failed_at = -RESTART_PAUSE_S

    def __getitem__(self, number: int) -> Slot:
        return self._by_number[number]

    def __iter__(self) -> Iterator[Slot]:
        return iter(self._by_number.values())

    def __len__(self) -> int:
        return len(self._by_number)

    # -- what the router wants ---------------------------------------------------------------

    def take(self, piece: Piece) -> None:
        """New tasks."""
        count = len(piece.payloads)
        self.held.update(dict.fromkeys(range(piece.lease, piece.lease + count), piece))
        self.backlog.add(piece)

    def give_back(self, count: int, wanted: list[int]) -> list[int]:
        """The leases that have not begun: all of those `wanted`, and of the others at most `count`
        from the end, which would begin last."""
        leases = [lease for lease in wanted if self._take_out(lease)]
        leases += self.backlog.take_end(count)
        for lease in leases:
            del self.held[lease]
        self.alone.difference_update(leases)
        return leases

    def _take_out(self, lease: int) -> bool:
        """Whether a lease was in the backlog; it is not any more."""
        piece = self.held.get(lease)
        return piece is not None and self.backlog.take_out(piece, lease - piece.lease)

    def take_back_unread(self, wanted: set[int] | None) -> None:
        """Have what slots have not read taken out of their sockets: where `wanted` leases may be,
        or, for None, everywhere."""
        self.orders.take_back += [
            slot.number
            for slot in self
            if not slot.read and (wanted is None or not wanted.isdisjoint(slot.line))
        ]

    def cancel(self, lease: int) -> None:
        """End one lease, running or not; nothing happens if it is not here any more."""
        if lease not in self.held:
            return
        slot = next((slot for slot in self if lease in slot.line), None)
        if slot is not None:
            self._doomed.add(lease)
            if slot.line.first == lease:
                self._kill(slot, lease, Kind.CANCELLED)
            else:
                self.orders.take_back.append(slot.number)
        elif self._take_out(lease):
            self.alone.discard(lease)
            self._outcome(lease, Kind.CANCELLED, failure_body("CancelledError", "cancelled"))

    def drop_backlog(self) -> None:
        """Forget what has not begun: the router will, too."""
        for lease in self.backlog.clear():
            del self.held[lease]
        self.alone.clear()

    def interrupt(self) -> None:
        """End what runs, and whatever else still begins, and give it back: it runs again elsewhere,
        and that counts as nothing."""
        self._interrupting = True
        for slot in self:
            self._kill_next(slot)

    def drop(self) -> None:
        """Forget everything: the slots are about to be ended."""
        self.drop_backlog()
        for slot in self:
            for lease in slot.line:
                self.held.pop(lease, None)
            slot.line = Line()
        self._doomed.clear()

    def drop_stored(self) -> None:
        """Forget what waits for the store."""
        for lease, _, _ in self._stored.values():
            self.held.pop(lease, None)
        self._stored.clear()

    # -- what slots do -----------------------------------------------------------------------

    def start(self, now: float) -> None:
        """Order the processes that are not there to be started."""
        for number in [number for number, at in self._start_at.items() if at <= now]:
            del self._start_at[number]
            for slot in self.crews[number].slots:
                slot.pid = -1  # being started
            self.orders.starts.append(number)

    def is_ready(self, number: int, pid: int) -> None:
        """A slot has started and waits for work."""
        slot = self._by_number[number]
        slot.pid, slot.ready = pid, True
        self._start_failures = 0
        self.changed = True

    def is_stuck(self, number: int, why: str) -> None:
        """What a slot ran has ended, and its result waits for room."""
        self._by_number[number].stuck = why
        self.changed = True

    def unsent(self, number: int, leases: list[int]) -> None:
        """These a slot could not be handed."""
        self._unread(self._by_number[number], leases)

    def taken_back(self, event: TakenBack) -> None:
        """What a slot had not read is here again."""
        slot = self._by_number[event.slot]
        slot.read = True
        self._unread(slot, [lease for lease in event.leases if lease in self.held])

    def _unread(self, slot: Slot, leases: list[int]) -> None:
        slot.line.remove(leases)
        if slot.crew.left is not None:
            slot.crew.left += len(leases)
        for lease in reversed(leases):
            if lease in self._doomed:
                self._doomed.discard(lease)
                self._outcome(lease, Kind.CANCELLED, failure_body("CancelledError", "cancelled"))
                continue
            piece = self.held[lease]
            self.backlog.put_back(piece, lease - piece.lease)

    def answered(self, event: SlotAnswered, now: float) -> None:
        """A slot has finished tasks. The hot path of a worker."""
        slot = self._by_number[event.slot]
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
            if slot.struck == lease:
                self._end(slot, lease, "was interrupted", body)
                if self.threads == 1:
                    self.orders.retire.append(slot.number)
                else:  # its neighbours need the process, and it has come to its senses
                    slot.ending = slot.struck = None
                    self._is_over(slot.number)
                continue
            if piece.function is not function:
                self.paces.add(function, took_s, count, longest_s)
                function, took_s, longest_s, count = piece.function, 0.0, 0.0, 0
            took_s += seconds
            count += 1
            if seconds > longest_s:
                longest_s = seconds
            if kind == Kind.ERROR and not piece.is_retried_on(body):
                kind = Kind.FINAL
            if stored:
                self._store(lease, kind, body)
                continue
            del held[lease]
            if run is None or piece.session != session:
                session = piece.session
                run = self._gathered.run(session)
            run[0].append(piece.first + lease - piece.lease)
            run[1].append(lease)
            run[2].append(kind)
            run[3].append(body)
        self.paces.add(function, took_s, count, longest_s)
        slot.began = now
        slot.stuck = None
        if slot.ending is not None and slot.struck is None and not slot.line:
            slot.ending = None
        if slot.crew.is_spent and slot.crew.is_idle:
            self.orders.retire.append(slot.number)
        if self._doomed or self._interrupting:
            self._doomed.difference_update(row[0] for row in event.rows)
            self._kill_next(slot)

    def makes_room(self, number: int) -> None:
        """The process of a slot is to be replaced when what runs there has ended."""
        crew = self._by_number[number].crew
        crew.is_full = True
        self.orders.take_back += [slot.number for slot in crew.slots if not slot.read]
        if crew.is_idle:
            self.orders.retire.append(number)

    def exited(self, event: SlotExited, now: float) -> None:
        """A process is dead: what its slots ran is lost, what they had not begun is not."""
        crew = self.crews[event.process]
        unread = set(event.unread)
        for slot in crew.slots:
            self._unread(slot, [x for x in slot.line if x in unread and x in self.held])
        self.crews[event.process] = Crew(event.process, self.threads, self._tasks_max)
        for slot in self.crews[event.process].slots:
            self._by_number[slot.number] = slot
            self._is_over(slot.number)
        self.changed = True
        gone = {slot.number for slot in crew.slots}
        self.orders.retire = [each for each in self.orders.retire if each not in gone]  # it has
        self._start_at[event.process] = now
        if not any(slot.ready for slot in crew.slots):
            self._start_at[event.process] += RESTART_PAUSE_S
            if now >= self._failed_at + RESTART_PAUSE_S:
                self._start_failures, self._failed_at = self._start_failures + 1, now
            if self._start_failures >= START_FAILURES_MAX:
                self.broken = f"slots do not start: the last one {event.how}"
        for_one = any(slot.ending is not None for slot in crew.slots)
        in_hand = [lease for slot in crew.slots for lease in slot.line.in_hand]
        for slot in crew.slots:
            self._lost(slot, event, in_hand, for_one=for_one)

    def _lost(self, slot: Slot, event: SlotExited, in_hand: list[int], *, for_one: bool) -> None:
        """What a slot held whose process is dead, in which all these were `in_hand`; it was ended
        `for_one` of them, or died by itself."""
        leases = list(slot.line)
        if not leases:
            return
        if slot.struck is not None and slot.struck not in slot.line:
            self._unread(slot, leases)  # it had answered, and begun nothing more
        elif slot.ending is not None or not for_one and len(in_hand) == 1:
            self._unread(slot, leases[1:])
            self._end(slot, leases[0], event.how, event.remains.get(leases[0], b""))
        elif for_one:
            self._unread(slot, leases)  # a neighbour's end is nothing to it
        else:
            # Which of them it was cannot be told: each runs again, alone. Nobody is blamed yet.
            mine = list(slot.line.in_hand)
            self._unread(slot, leases)
            self.alone.update(lease for lease in mine if lease in self.held)

    def _is_over(self, number: int) -> None:
        """What a slot ran is stopped no more."""
        self.guard.forget(number)
        self.orders.harsher = [each for each in self.orders.harsher if each[0] != number]

    def _end(self, slot: Slot, lease: int, how: str, remains: bytes) -> None:
        """What ran in a slot was ended, or took it down; `remains` says what it printed."""
        self._doomed.discard(lease)
        piece = self.held[lease]
        if slot.ending is Cause.RETURNED:
            self.backlog.put_back(piece, lease - piece.lease)
            return
        task = show(piece.session, piece.counter(lease))
        kind, error, text = obituary(task, how, slot, piece, self._host)
        body = failure_body(error, text, self._host, slot.pid)
        if kind != Kind.CANCELLED:  # the router has recorded that already, without
            body = cut_short(remains, body)
        if refs_in(kind, body):
            self._store(lease, kind, body)
        else:
            self._outcome(lease, kind, body)

    def _store(self, lease: int, kind: int, body: bytes) -> None:
        """What an outcome refers to is stored before it is told."""
        ticket = self.next_ticket()
        self._stored[ticket] = (lease, kind, body)
        self.orders.store.append((ticket, kind, body))

    def _kill(self, slot: Slot, lease: int, why: Kind | Cause) -> None:
        slot.ending = why
        self.orders.kills.append((slot.number, lease))

    def _kill_next(self, slot: Slot) -> None:
        """What was cancelled too late to be taken back is killed when its turn has come."""
        running = slot.line.first
        if running is None or slot.ending is not None:
            return
        if running in self._doomed:
            self._kill(slot, running, Kind.CANCELLED)
        elif self._interrupting:
            self._kill(slot, running, Cause.RETURNED)

    def unlearn(self, digest: bytes, slot: int) -> None:
        """A function was taken back out of a slot's socket: it has to be sent again."""
        self._by_number[slot].functions.discard(digest)

    def struck(self, number: int, now: float) -> bool:
        """Whether what runs in a slot, about to be ended, is interrupted first, so that it may
        clean up: it is alone there, and does not eat the machine. The shell does so; what it
        answers then is not its own."""
        slot = self._by_number[number]
        if len(slot.line.in_hand) > 1 or slot.ending is Kind.OUT_OF_MEMORY:
            return False
        slot.struck = slot.line.first
        self.guard.struck(number, now)
        if not slot.read:
            self.orders.take_back.append(number)  # others may run it meanwhile
        return True

    def spared(self, slot: int) -> None:
        """The shell found that the lease to be killed had ended by itself."""
        self._by_number[slot].ending = None
        self._kill_next(self._by_number[slot])

    def enforce(self, now: float) -> None:
        """End what runs longer than its time limit; have looked at what has one of memory."""
        for slot, lease in self.guard.overdue(now):
            self._kill(slot, lease, Kind.TIMED_OUT)
        self.orders.weigh += self.guard.to_weigh(now)
        self.orders.harsher += self.guard.harsher(now)

    def weighed(self, event: Weighed) -> None:
        """End what uses more memory than its limit."""
        slot = self._by_number[event.slot]
        if self.guard.is_too_big(slot, event.lease, event.size):
            slot.size = event.size
            self._kill(slot, event.lease, Kind.OUT_OF_MEMORY)

    def deadline(self, now: float) -> float:
        """When `start` or `enforce` has something to do, if ever."""
        starts = [at for at in self._start_at.values() if now < at]
        return min([self.guard.deadline(), *starts])

    def _outcome(self, lease: int, kind: int, body: bytes) -> None:
        piece = self.held.pop(lease)
        self._gathered.add(piece.session, piece.counter(lease), lease, kind, body)

    def take_in(self, rows: list[list[Any]]) -> None:
        """What clients have left here goes to the store."""
        self.orders.take.append((self.next_ticket(), rows))

    def next_ticket(self) -> int:
        """For what is handed to the store from now on."""
        self._ticket += 1
        return self._ticket

    def committed(self, ticket: int) -> None:
        """The results under tickets up to this one are indexed: they may be told."""
        for each in [t for t in self._stored if t <= ticket]:
            lease, kind, body = self._stored.pop(each)
            if lease in self.held:
                piece = self.held[lease]
                self._gathered.stored(key(piece.session, piece.counter(lease)), lease)
                self._outcome(lease, kind, body)

    def window(self) -> int:
        """How many tasks to hold: as deep as keeps the slots busy."""
        latest = self.paces.latest
        return len(self) if latest is None else latest.window_tasks(len(self))

    def report(self) -> dict[str, Any]:
        """What the router tells those who ask: each slot's process and task."""
        running = []
        for slot in self:
            if slot.ready:
                task = None
                lease = slot.line.first
                if lease is not None:
                    task = show(self.held[lease].session, self.held[lease].counter(lease))
                waits = {} if slot.stuck is None else {"waits_for": slot.stuck}
                running.append({"pid": slot.pid, "task": task, **waits})
        return {"slots": len(self), "running": running}

    def astray(self, name: bytes, body: bytes) -> None:
        """An input cannot be had here: what becomes of what takes it the router decides."""
        for lease in self.backlog.arrivals.failed(name):
            self._outcome(lease, Kind.ASTRAY, body)

    def check(self) -> None:
        """Raise AssertionError if a lease is in two places or in none."""
        places = list(self.backlog)
        places += [lease for slot in self for lease in slot.line]
        places += [lease for lease, _, _ in self._stored.values()]
        assert sorted(places) == sorted(self.held), (sorted(places), sorted(self.held))
        assert self.alone | self._doomed <= self.held.keys(), (self.alone, self._doomed)
