"""A worker's shell: slots whose processes do what a test says."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mesh.core import events
from mesh.core.arrivals import Order
from mesh.core.events import (
    Committed,
)
from mesh.core.worker import WorkerCore
from mesh.protocol.codec import decode
from mesh.protocol.outcome import REF, Ref, failure_body, parse_ref
from mesh.protocol.outcome import body as body_of
from mesh.task import Kind, key, unkey

from .wire import Frames

if TYPE_CHECKING:
    from .world import World


#: What a store tells of in one page.
LISTED = 3


@dataclass
class Process:
    """A slot's process: packets it has not read, tasks it has, answers nobody heard."""

    pid: int
    ready: bool = False
    interrupted: bool = False
    dead: str | None = None
    unread: deque[tuple[str, Any]] = field(default_factory=deque)
    knows: set[bytes] = field(default_factory=set)
    tasks: deque[tuple[int, bytes, bytes]] = field(default_factory=deque)  # lease, function, args
    answers: list[tuple[int, int, bytes, float, bool]] = field(default_factory=list)

    def read(self) -> None:
        """Take the next packet, if it has nothing to do."""
        while self.unread and not self.tasks and not self.interrupted:
            what, about = self.unread.popleft()
            if what == "function":
                self.knows.add(about)
            else:
                self.tasks.extend(about)


class Worker:
    """A worker's shell: slots whose processes do what a test says."""

    def __init__(
        self, world: World, who: str, incarnation: bytes, slots: int, tasks_max: int | None
    ) -> None:
        self.world = world
        self.who = who
        self.core = WorkerCore(who, incarnation, slots, f"host-{who}", tasks_max)
        self.core.about = {"host": f"host-{who}", "pid": 1, "data": f"ipc://{who}"}
        self.slots: dict[int, Process] = {}
        self.storing: deque[int] = deque()
        self.coming: deque[Order] = deque()  # inputs that are on their way
        self.here: set[bytes] = set()  # those that have come
        self.owning: dict[int, list[Ref]] = {}  # ticket → what becomes this store's own
        self.files = world.stores.setdefault(who, set())
        self.copies = world.copies.setdefault(who, set())
        self.runs: dict[tuple[str, int], int] = {}  # how often each task was finished here
        self.left: str | None = None
        self.how = "dies"  # what an interrupted slot does: it "dies", "answers" or "ignores" it
        self.weights: dict[int, int] = {}  # the memory that a slot uses
        self.packet_tasks = 1000  # tasks that fit a packet of the socket pair: few, if they are big
        self.due = 0.0
        self._pids = iter(range(100, 100_000))
        self.settle()

    def connected(self) -> None:
        """The connection came about."""
        self.handle(events.Connected())
        self.settle()

    def receive(self, frames: Frames) -> None:
        """A message of the router has come."""
        self.handle(events.RouterHeard(decode(frames)))

    def handle(self, event: Any) -> None:
        """Feed the core, and check it."""
        self.core.handle(event, self.world.now)
        self.core.check()

    def settle(self) -> bool:
        """End a turn; whether there was anything to do."""
        now = self.world.now
        if self.left is not None:
            return False
        turn = self.core.settle(now)
        self.core.check()
        for envelope in turn.sends:
            self.world.send_up(self.who, envelope)
        for number in turn.starts:
            self.slots[number] = Process(next(self._pids))
        for number, digest in turn.functions:
            assert self.core.functions[digest].payload == b"V" + digest
            self.slots[number].unread.append(("function", digest))
        for number, piece, low, high in turn.tasks:
            assert self.here.issuperset(stored_inputs(piece, low, high)), "an input is not there"
            for first in range(low, high, self.packet_tasks):
                last = min(high, first + self.packet_tasks)
                self.slots[number].unread.append(("tasks", list(tasks_of(piece, first, last))))
        for number in dict.fromkeys(turn.take_back):
            if number in self.slots:
                leases = self._take_back(number)
                self.handle(events.TakenBack(number, leases))
        for number, lease in turn.kills:
            self._kill(number, lease)
        for number in turn.retire:
            process = self.slots[number]
            assert process.interrupted or not process.tasks and not process.unread
            process.dead = process.dead or "was killed by SIGKILL"
        for number, last in turn.harsher:
            if last and self.slots[number].dead is None:
                self.slots[number].dead = "was killed by SIGKILL"
        for number, lease, limit in turn.weigh:
            weight = self.weights.get(number, 0) if number in self.running else 0
            size = min(weight, limit + 1)  # no more is looked at
            self.handle(events.Weighed(number, lease, size))
        self.coming.extend(turn.fetch)
        self.storing.extend(ticket for ticket, _, _ in turn.store)
        self.storing.extend([turn.drop_ticket] if turn.drop else [])
        for ticket, refs in turn.own:
            self.storing.append(ticket)
            self.owning[ticket] = refs
        for file in turn.drop:
            self.files.discard(file)
            self.copies.discard(file)
        if turn.list_behind is not None:
            self.handle(self._listed(turn.list_behind))
        if turn.take_back or turn.kills or turn.weigh:
            return self.settle()
        self.due = self.core.deadline(now)
        if turn.stop is not None and self.left is None:
            self.left = turn.stop
            self.due = float("inf")
            self.world.say(f"{self.who} leaves: {turn.stop}")
        return bool(turn.sends or turn.tasks or turn.starts)

    def rest(self, late_s: float) -> None:
        """It stood still, and finds out by itself."""

    def _listed(self, behind: bytes) -> events.Listed:
        """A page of what the store holds."""
        own = sorted((task + lease.to_bytes(8, "big"), task, lease) for task, lease in self.files)
        rows = [each for each in own if each[0] > behind and each[1:] not in self.copies]
        page = [[*unkey(task), lease] for _, task, lease in rows[:LISTED]]
        return events.Listed(page, rows[LISTED - 1][0] if len(rows) > LISTED else None)

    def _take_back(self, number: int) -> list[int]:
        leases: list[int] = []
        process = self.slots[number]
        while process.unread:
            what, about = process.unread.popleft()
            if what == "function":
                self.core.slots.unlearn(about, number)
            else:
                leases += [lease for lease, _, _ in about]
        return leases

    def _kill(self, number: int, lease: int) -> None:
        if number not in self.slots or self.slots[number].dead is not None:
            return
        self.hear_slot(number)
        process = self.slots[number]
        if self.core.slots[number].line.first != lease:
            self.core.slots.spared(number)
        elif not self.core.slots.struck(number, self.world.now) or self.how == "dies":
            process.dead = "was killed by SIGKILL"
        else:
            process.interrupted = True
            process.read()
            if process.tasks and self.how == "answers":
                process.tasks.popleft()
                body = failure_body("TaskFailed", "KeyboardInterrupt")
                process.answers.append((lease, Kind.ERROR, body, 0.01, False))

    # -- what slots do -----------------------------------------------------------------------

    def slot_ready(self, number: int) -> None:
        """A slot's process has started."""
        process = self.slots[number]
        process.ready = True
        self.handle(events.SlotReady(number, process.pid))

    def answer(self, number: int, kind: int, body: bytes, took_s: float = 0.01) -> None:
        """A slot finishes its first task; the worker has not heard of it yet."""
        process = self.slots[number]
        process.read()
        lease, function, _ = process.tasks.popleft()
        assert function in process.knows, "a task came before its function"
        piece = self.core.slots.held.get(lease)
        if piece is not None:
            task = piece.session, piece.counter(lease)
            self.runs[task] = self.runs.get(task, 0) + 1
            self.world.check_given(task, piece.inputs.get(lease))
            if kind == Kind.STORED:
                self.files.add((key(*task), lease))
                ref = REF.pack(key(*task), lease, 0, 9, 9, self.who.encode())
                body = body_of(1.0, took_s, b"", ref)
        process.answers.append((lease, kind, body, took_s, kind == Kind.STORED))
        process.read()

    def hear_slot(self, number: int) -> None:
        """The worker hears what a slot has answered."""
        process = self.slots[number]
        rows, process.answers = process.answers, []
        if rows:
            self.handle(events.SlotAnswered(number, rows))

    def slot_dies(self, number: int, how: str = "was killed by SIGSEGV") -> None:
        """A slot's process is gone; the worker has not noticed yet."""
        self.slots[number].dead = how

    def bury(self, number: int) -> None:
        """The worker notices that a slot is dead."""
        self.hear_slot(number)
        how = self.slots[number].dead
        assert how is not None
        unread = self._take_back(number)
        del self.slots[number]
        self.handle(events.SlotExited(number, how, unread))

    def stored(self) -> None:
        """The results handed to the store so far are committed."""
        ticket = max(self.storing)
        self.storing.clear()
        for each in [each for each in self.owning if each <= ticket]:
            ref = self.owning.pop(each)[0]
            file = (ref.task, ref.lease)
            self.copies.discard(file)
            why = "" if file in self.files else "its file has gone"
            self.handle(events.Owned([[*unkey(ref.task), ref.lease, ref.holder, why]]))
        self.handle(Committed(ticket))

    def bring(self) -> None:
        """An input comes from where it is, or it is found that it is nowhere, or that nobody is
        there who has it."""
        order = self.coming.popleft()
        file = (order.ref.task, order.ref.lease)
        there = [each for each in order.stores if each in self.world.workers]
        if file in self.files or any(file in self.world.stores[each] for each in there):
            if file not in self.files:
                self.files.add(file)
                self.copies.add(file)
            self.here.add(order.ref.key)
            self.handle(events.Arrived(order.ref))
        elif there:
            self.handle(events.Missed(order.ref, "its file has gone", there))
        else:
            self.handle(events.Missed(order.ref, "nobody answers", []))

    @property
    def running(self) -> dict[int, tuple[int, bytes]]:
        """slot → (lease, payload) of what runs."""
        found = {}
        for number, process in self.slots.items():
            process.read()
            if process.tasks and process.dead is None:
                found[number] = process.tasks[0][0], process.tasks[0][2]
        return found


def stored_inputs(piece: Any, low: int, high: int) -> Iterator[bytes]:
    """What tasks of a piece take that stores hold: by the names it has there."""
    for i in range(low, high):
        given = piece.inputs.get(piece.lease + i)
        for body in () if given is None else given.refs():
            yield parse_ref(body).key


def tasks_of(piece: Any, low: int, high: int) -> Iterator[tuple[int, bytes, bytes]]:
    """(lease, function, payload) of a packet's tasks."""
    for i in range(low, high):
        yield piece.lease + i, piece.function, piece.payloads[i]
