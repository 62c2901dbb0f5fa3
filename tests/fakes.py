"""A mesh without sockets, threads, disks or time: real cores, joined by wires that may fail.

`World` holds one router, its store, workers with slots, clients, and the wires between them.
Nothing happens by itself: a test says what is delivered, committed, run, lost or cut, and when.
What crosses a wire is encoded and decoded. After each event the core that took it is checked.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from mesh.core import events
from mesh.core.arrivals import Order
from mesh.core.client import ClientCore
from mesh.core.events import (
    Committed,
    Found,
    Garbled,
    Gone,
    Heard,
    Settings,
    Slice,
    Stalled,
    Tick,
)
from mesh.core.ledger import RECORD
from mesh.core.router import RouterCore
from mesh.core.worker import WorkerCore
from mesh.protocol import messages as m
from mesh.protocol.codec import DecodeError, decode, encode
from mesh.protocol.inputs import split
from mesh.protocol.link import Envelope
from mesh.protocol.outcome import REF, Ref, failure_body, parse, parse_ref, with_store
from mesh.protocol.outcome import body as body_of
from mesh.store.records import TABLES, Records
from mesh.store.tables import MemoryTables
from mesh.task import SUCCESS, Kind, key, show, unkey

Frames = list[bytes]

#: A stored result: its task, and the lease that has made it.
File = tuple[bytes, int]

#: Who is woken comes a little late, as everywhere.
WAKE_S = 0.000_1

BIRTH = b"0123456789abcdef"

#: What a store tells of in one page.
LISTED = 3

#: What the tasks of a test do, by payload.
OK, STORED, ERROR, FLAKY, KILLER, FOREVER = b"ok", b"stored", b"error", b"flaky", b"killer", b"stay"


class Wire:
    """A dialler's connection to the router: two queues, and the id the router knows it by."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.number = 0
        self.up: deque[Frames] = deque()
        self.down: deque[Frames] = deque()
        self.open = False

    @property
    def id(self) -> bytes:
        """New with each connection."""
        return f"{self.name}/{self.number}".encode()

    def dial(self) -> None:
        """Connect anew."""
        self.number += 1
        self.open = True

    def cut(self) -> list[Frames]:
        """Break it: what was on its way down is lost, what was on its way up may come late."""
        late = list(self.up)
        self.up.clear()
        self.down.clear()
        self.open = False
        return late


class World:
    """See the module. `hear` gets a line for everything that happens."""

    def __init__(
        self, settings: Settings | None = None, hear: Callable[[str], None] | None = None
    ) -> None:
        self.now = 1000.0
        self.settings = settings or Settings()
        self.hear = hear
        self.tables = MemoryTables(TABLES)
        self.full = False  # whether the router's disk has no room
        self.stores: dict[str, set[File]] = {}  # the results in each, of dead workers, too
        self.copies: dict[str, set[File]] = {}  # those among them that others have made
        self.lost: set[bytes] = set()  # tasks whose results were ever lost
        self.lives = 0  # of workers, so far
        self._records = Records(self.tables, BIRTH, "meshmesh")
        self.outcomes: dict[bytes, tuple[bytes, int]] = {}  # recorded, in which life of the router
        self.routers = 0  # lives, so far
        self.wires: dict[str, Wire] = {}
        self.late: list[tuple[bytes, Frames]] = []  # of broken connections, not yet at the router
        self.workers: dict[str, Worker] = {}
        self.clients: dict[str, Client] = {}
        self.tasks: dict[tuple[str, int], Task] = {}  # all that were ever submitted
        self.stopped: set[str] = set()  # who stands still, by name; the router is "router"
        self.missed: list[Client] = []  # stopped clients whose connection broke meanwhile
        self.router: Router | None = None
        self.start_router()

    def say(self, line: str) -> None:
        """Note what happened."""
        if self.hear is not None:
            self.hear(line)

    # -- who is there ------------------------------------------------------------------------

    def start_router(self) -> None:
        """A router begins a life on the store as it is."""
        self.routers += 1
        self.router = Router(self)

    def kill_router(self) -> None:
        """The router dies: what it had not committed is gone, and so are all connections."""
        self.settle()  # what has come in was heard while it lived
        self.stopped.discard("router")
        self.router = None
        self.late.clear()
        for name in self.wires:
            self.cut(name)
        self.late.clear()

    def add_worker(self, who: str, slots: int, tasks_max: int | None = None) -> Worker:
        """A worker starts, and is not connected yet."""
        self.lives += 1
        self.wires.setdefault(who, Wire(who))
        self.workers[who] = Worker(self, who, self.lives.to_bytes(8, "big"), slots, tasks_max)
        return self.workers[who]

    def kill_worker(self, who: str) -> None:
        """A worker dies with all its slots."""
        self.cut(who)
        self.stopped.discard(who)
        del self.workers[who]

    def add_client(self, session: str) -> Client:
        """A client starts, and is not connected yet."""
        self.wires.setdefault(session, Wire(session))
        self.clients[session] = Client(self, session)
        return self.clients[session]

    def kill_client(self, session: str) -> Client:
        """A client dies; what it has submitted goes on."""
        self.cut(session)
        self.stopped.discard(session)
        return self.clients.pop(session)

    def stop(self, name: str) -> None:
        """A process stands still: it hears nothing, and time passes without it. The slots of a
        worker go on."""
        self.stopped.add(name)

    def go_on(self, name: str) -> None:
        """It goes on, and sees what its shell sees: that it is late."""
        self.stopped.discard(name)
        node = self.router if name == "router" else self.node(name)
        assert node is not None
        late_s = self.now - node.due
        if late_s > self.settings.heartbeat_s:
            node.rest(late_s)
        if node in self.missed:
            self.missed.remove(node)
            node.cut()

    # -- wires -------------------------------------------------------------------------------

    def dial(self, name: str) -> None:
        """A dialler's connection comes about."""
        self.wires[name].dial()
        node = self.node(name)
        if node is not None:
            node.connected()

    def cut(self, name: str) -> None:
        """A connection breaks; the router notices when it next writes to it."""
        wire = self.wires[name]
        if not wire.open:
            return
        id = wire.id
        self.late += [(id, frames) for frames in wire.cut()]
        node = self.node(name)
        if isinstance(node, Client) and name in self.stopped:
            self.missed.append(node)
        elif isinstance(node, Client):
            node.cut()

    def node(self, name: str) -> Worker | Client | None:
        """Who dials under `name`."""
        return self.workers.get(name) or self.clients.get(name)

    def send_up(self, name: str, envelope: Envelope) -> None:
        """A dialler sends; without a connection it is lost."""
        wire = self.wires[name]
        if wire.open:
            wire.up.append(on_wire(envelope))

    def send_down(self, id: bytes, envelope: Envelope) -> bool:
        """The router sends; False if that connection is gone."""
        for wire in self.wires.values():
            if wire.open and wire.id == id:
                wire.down.append(on_wire(envelope))
                return True
        return False

    def deliver_up(self, name: str) -> None:
        """The next message of a dialler arrives at the router."""
        wire = self.wires[name]
        frames = wire.up.popleft()
        if self.router is not None:
            self.router.receive(wire.id, frames)

    def deliver_late(self) -> None:
        """A message of a connection that is gone still arrives."""
        id, frames = self.late.pop(0)
        if self.router is not None:
            self.router.receive(id, frames)

    def deliver_down(self, name: str) -> None:
        """The router's next message arrives at a dialler."""
        frames = self.wires[name].down.popleft()
        node = self.node(name)
        if node is not None:
            node.receive(frames)

    # -- time --------------------------------------------------------------------------------

    def nodes(self) -> Iterator[Router | Worker | Client]:
        """All processes that do not stand still."""
        if self.router is not None and "router" not in self.stopped:
            yield self.router
        for name, node in [*self.workers.items(), *self.clients.items()]:
            if name not in self.stopped:
                yield node

    def advance(self, seconds: float) -> None:
        """Time passes; each core is woken when it asked to be, and none may spin."""
        end = self.now + seconds
        for wakes in itertools.count():
            assert wakes < 500 + 2000 * seconds, "a core wants to be woken all the time"
            node = min(self.nodes(), key=lambda node: node.due, default=None)
            if node is None or node.due > end:
                break
            self.now = max(self.now, node.due) + WAKE_S
            node.handle(Tick())
            node.settle()
        self.now = end

    def settle(self) -> None:
        """Every process ends its turn."""
        for node in self.nodes():
            node.settle()

    # -- what is known -----------------------------------------------------------------------

    def recorded(self, session: str, counter: int, *, older: bool = False) -> bytes | None:
        """The outcome of a task as the store has it; or that of the `older` one that it is."""
        [(_, _, outcome, meant)] = self._records.look_up("outcomes", [(session, counter, 1)])
        return meant[2] if older and meant is not None else outcome

    def meant(self, session: str, counter: int) -> bytes:
        """The task that a task is: itself, or an older one."""
        [(_, _, _, meant)] = self._records.look_up("outcomes", [(session, counter, 1)])
        return key(session, counter) if meant is None else key(*meant[:2])

    def is_recorded(self, session: str, counter: int) -> bool:
        """Whether the store has the task."""
        text = show(session, counter), (session, counter)
        return self._records.look_up("texts", [text]) != [None]

    @property
    def files(self) -> set[File]:
        """The stored results that there are."""
        return {file for store in self.stores.values() for file in store}

    def lose(self, file: File) -> None:
        """A stored result is gone, wherever it was: nobody has noticed yet."""
        for store in self.stores.values():
            store.discard(file)
        self.lost.add(file[0])
        self.say(f"the result of {show(*unkey(file[0]))} by lease {lease(file[1])} is gone")

    def check_given(self, task: tuple[str, int], given: list[tuple[int, bytes]]) -> None:
        """What a task was begun with is what the tasks that it takes have come to."""
        submitted = self.tasks.get(task)
        if submitted is None:
            return  # of a test that submits by itself
        assert len(given) == len(submitted.inputs), f"{show(*task)} lacks inputs"
        for where, (kind, body) in zip(submitted.inputs, given, strict=True):
            assert kind in SUCCESS, f"{show(*task)} was given what failed"
            if kind == Kind.VALUE:
                payload = self.tasks[where].payload
                assert body == value_of(payload), f"{show(*task)} was given {body!r}"


def on_wire(envelope: Envelope) -> Frames:
    """An envelope as bytes that share nothing with its sender."""
    return [bytes(frame) for frame in encode(envelope)]


class Router:
    """The router's shell: a store whose commits come later, and in order."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.records = Records(world.tables, BIRTH, "meshmesh")
        self.core = RouterCore(self.records.restore(), world.settings, world.now)
        self.wanted: deque[tuple[int, list[Any], list[Any]]] = deque()
        self.stuck: list[Any] = []  # writes that found no room
        self.events: deque[Committed | Found | Stalled] = deque()
        self.left = False
        self._handed = 0
        self._payloads: dict[bytes, list[Any]] = {}
        self._kept: dict[bytes, bytes] = {}  # outcomes that others take
        self.due = self.core.deadline(world.now)

    def receive(self, id: bytes, frames: Frames) -> None:
        """A message has come."""
        try:
            envelope = decode(frames)
        except DecodeError as error:
            self.handle(Garbled(id, str(error)))
        else:
            self.world.say(f"{name_of(id)} > router   {describe(envelope)}")
            self.handle(Heard(id, envelope))

    def handle(self, event: Any) -> None:
        """Feed the core, and check it."""
        self.core.handle(event, self.world.now)
        self.core.check()

    def settle(self) -> bool:
        """End a turn; whether there was anything to do."""
        if self.left:
            return False
        turn = self.core.settle(self.world.now)
        self.core.check()
        self.due = self.core.deadline(self.world.now)
        for what, *about in turn.writes:
            if what == "block" and about[4] is not None:
                self._payloads[key(about[0], about[1])] = about[4]
            elif what == "function":
                self._payloads[about[0]] = [about[3]]
            if what not in ("counts", "age", "heard", "begun"):
                self.world.say(f"router writes   {describe_write(what, about)}")
        self._kept.update(turn.kept)
        gone: list[bytes] = []
        for id, envelope in turn.sends:
            self._complete(envelope.message)
            self.world.say(f"router > {name_of(id)}   {describe(envelope)}")
            if not self.world.send_down(id, envelope):
                gone.append(id)
        if turn.writes or turn.lookups:
            self.wanted.append((turn.ticket, turn.writes, turn.lookups))
        for id in gone:
            self.handle(Gone(id))
        if turn.stop:
            self.world.say("router leaves")
            self.left, self.due = True, float("inf")
        return bool(turn.sends or turn.writes or turn.lookups)

    def _complete(self, message: m.Message) -> None:
        if type(message) is m.Tasks:
            for row in message.pieces:
                piece: Slice = row[5]
                payloads = self._payloads.get(piece.block) or self.records.payloads(piece.block)
                row[5] = payloads[piece.low : piece.high]
        elif type(message) is m.Inputs:
            for row in message.rows:
                records = [
                    self._kept.get(each) or dict(self.records.outcomes([each]))[each]
                    for each in split(row[2])
                ]
                row[3:] = bytes(record[0] for record in records), list(map(_given_of, records))
        elif type(message) is m.Function:
            known = self._payloads.get(message.digest)
            message.payload = known[0] if known else self.records.function(message.digest)

    def rest(self, late_s: float) -> None:
        """It stood still."""
        self.core.peers.rest(late_s)

    def commit(self, turns: int | None = None) -> None:
        """The writer commits what the first `turns` turns wanted, as one, and tells it later."""
        taken = [self.wanted.popleft() for _ in range(turns or len(self.wanted))]
        self.stuck += [write for _, each, _ in taken for write in each]
        self._handed = max([self._handed, *(ticket for ticket, _, _ in taken)])
        if self.stuck and self.world.full:
            self.events.append(Stalled("no room on the disk"))
        elif self.stuck:
            self.records.apply(self.stuck)
            self._check_outcomes(self.stuck)
            self._check_holders(self.stuck)
            self.stuck = []
            self.events.append(Committed(self._handed))
        lookups = [each for _, _, lookups in taken for each in lookups]
        questions = [(what, about) for _, what, about in lookups]
        answers = (
            self.records.look_up_amid(self.stuck, questions)
            if self.stuck
            else [self.records.look_up(*each) for each in questions]
        )
        for (token, _, _), answer in zip(lookups, answers, strict=True):
            self.events.append(Found(token, answer))

    def _check_outcomes(self, writes: list[Any]) -> None:
        """An outcome is written once."""
        for what, *about in writes:
            if what == "outcomes":
                for task, record in about[0]:
                    known = self.world.outcomes.setdefault(task, (record, self.world.routers))
                    if task in self.world.lost and (known[0][0], record[0]) == (Kind.STORED,) * 2:
                        self.world.outcomes[task] = (record, self.world.routers)  # made again
                        continue
                    assert placeless(known[0]) == placeless(record), (
                        f"{show(*unkey(task))} changed its outcome"
                    )

    def _check_holders(self, writes: list[Any]) -> None:
        """A store has what it is recorded to have adopted."""
        for what, *about in writes:
            if what != "moved":
                continue
            task, number, _, target, _ = about
            [held] = self.records.look_up("held", (target, [(task, number)]))
            if held.record is not None:
                is_there = (task, number) in self.world.stores[target]
                assert is_there or task in self.world.lost, f"{show(*unkey(task))} is not there"

    def tell(self) -> None:
        """What was committed and found is told to the core."""
        while self.events:
            self.handle(self.events.popleft())


def placeless(record: bytes) -> bytes:
    """An outcome as it was recorded, wherever its result is now."""
    kind, lease, _ = RECORD.unpack_from(record)
    if kind != Kind.STORED:
        return record
    return RECORD.pack(kind, lease, b"") + with_store(kind, record[RECORD.size :], "-" * 8)


def _given_of(record: bytes) -> bytes:
    """An outcome as its takers get it. Values of tests are no more than that."""
    body = record[RECORD.size :]
    return bytes(parse(body).rest) if record[0] == Kind.STORED else body


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
            self.world.check_given(task, piece.inputs.get(lease, []))
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
        for kind, body in piece.inputs.get(piece.lease + i, ()):
            if kind == Kind.STORED:
                yield parse_ref(body).key


def tasks_of(piece: Any, low: int, high: int) -> Iterator[tuple[int, bytes, bytes]]:
    """(lease, function, payload) of a packet's tasks."""
    for i in range(low, high):
        yield piece.lease + i, piece.function, piece.payloads[i]


@dataclass
class Task:
    """What a client knows of a task of its own."""

    payload: bytes
    options: dict[str, Any]
    alias: str | None = None
    inputs: list[tuple[str, int]] = field(default_factory=list)
    older: tuple[str, int] | None = None
    ended: tuple[int, bytes] | None = None
    recorded: bool = False


class Client:
    """A client's shell: it remembers what it asked for and what it heard."""

    def __init__(self, world: World, session: str) -> None:
        self.world = world
        self.session = session
        self.core = ClientCore(session, session.encode(), 1e9, world.now)
        self.tasks: dict[int, Task] = {}
        self.heard: dict[tuple[str, int], tuple[int, bytes, int]] = {}  # in which router's life
        self.answers: dict[int, tuple[str | None, Any]] = {}
        self.errors: list[tuple[str, str]] = []
        self.reborn = False
        self.counter = 0
        self.token = 0
        self._met = False
        self._noted: tuple[int, int] = (0, 0)
        self._others: dict[tuple[str, int], list[Task]] = {}
        self.watched: dict[tuple[str, int], tuple[str, int]] = {}  # others' → what they stand for
        self._unrecorded: deque[tuple[int, list[int]]] = deque()
        self._introduced: set[bytes] = set()
        self.due = 0.0

    def connected(self) -> None:
        """The connection came about."""
        self.handle(events.Connected())
        self.settle()

    def cut(self) -> None:
        """The connection broke."""
        self.handle(events.Cut())

    def rest(self, late_s: float) -> None:
        """It stood still."""
        self.core.rest(late_s)

    def receive(self, frames: Frames) -> None:
        """A message of the router has come."""
        self.handle(events.RouterHeard(decode(frames)))

    def handle(self, event: Any) -> None:
        """Feed the core."""
        self.core.handle(event, self.world.now)

    # -- what the script asks for ------------------------------------------------------------

    def reserve(self, count: int) -> int:
        """Counters for tasks that are sent later."""
        first = self.counter
        self.counter += count
        return first

    def submit(
        self,
        payloads: list[bytes],
        function: bytes = b"f" * 16,
        options: dict[str, Any] | None = None,
        names: list[str | None] | None = None,
        first: int | None = None,
        group: str | None = None,
        inputs: list[list[tuple[str, int]]] | None = None,
    ) -> int:
        """Submit tasks as blocks; the first one's counter. `inputs` are what each takes."""
        now = self.world.now
        if function not in self._introduced:
            self._introduced.add(function)
            name = f"sim:{function[:1].decode()}"
            self.core.send(m.Function(function, name, function[:8], b"V" + function), 0, now)
        own = None
        if group is not None:
            own = self.reserve(1)
            self.core.send(m.Group(own, len(payloads), group), 0, now)
        if first is None:
            first = self.reserve(len(payloads))
        options = options or {}
        for i, payload in enumerate(payloads):
            alias = names[i] if names is not None else None
            task = Task(payload, options, alias, inputs[i] if inputs is not None else [])
            self.tasks[first + i] = self.world.tasks[self.session, first + i] = task
        for low in range(0, len(payloads), m.BLOCK_TASKS_MAX):
            part = payloads[low : low + m.BLOCK_TASKS_MAX]
            high = low + len(part)
            marks = [payload[:8] for payload in part] if names is not None else None
            row = [first + low, function, options, own, low if own is not None else 0, part]
            row += [names[low:high] if names is not None else None, marks]
            takes = [b"".join(key(*each) for each in own) for own in (inputs or [])[low:high]]
            row.append(takes if any(takes) else None)
            self._unrecorded.append((len(part), list(range(first + low, first + high))))
            self.core.send(m.Submit([row]), len(part), now)
        return first

    def cancel(self, spans: list[tuple[str, int, int]], *, running: bool) -> int:
        """Cancel tasks; the token of the answer."""
        self.token += 1
        rows = [list(span) for span in spans]
        self.core.send(m.Cancel(self.token, rows, running), 0, self.world.now)
        return self.token

    def ask(self, what: str, **about: Any) -> int:
        """Ask the router; the token of the answer."""
        self.token += 1
        self.core.send(m.Ask(self.token, what, about), 0, self.world.now)
        return self.token

    def watch(self, spans: list[tuple[str, int, int]]) -> None:
        """Hear of anybody's tasks."""
        self.core.watch(spans, self.world.now)

    # -- what it hears -----------------------------------------------------------------------

    def settle(self) -> bool:
        """End a turn; whether there was anything to do."""
        turn = self.core.settle(self.world.now)
        self.due = self.core.deadline(self.world.now)
        for envelope in turn.sends:
            self.world.send_up(self.session, envelope)
        self.errors += turn.errors
        self.reborn |= turn.reborn
        self._recorded(turn.recorded_bytes)
        for session, counter, older_session, older, _ in turn.known:
            if (session, counter) in self.watched:
                self.watched[session, counter] = (older_session, older)
            if session == self.session:
                self._is_older(counter, (older_session, older))
        for session, counters, kinds, bodies in turn.news:
            for counter, kind, body in zip(counters, kinds, bodies, strict=True):
                self._ended(session, counter, kind, body)
        for token, error, value in turn.answers:
            self.answers[token] = error, value
        if turn.welcomed:
            if self._met:
                self.watch(self.open_spans())
                return self.settle()
            self._met = True
        return bool(turn.sends)

    def _recorded(self, count: int) -> None:
        """What is said to be recorded is."""
        while count > 0:
            size, counters = self._unrecorded.popleft()
            count -= size
            for counter in counters:
                self.tasks[counter].recorded = True
                assert self.world.is_recorded(self.session, counter), (
                    f"{show(self.session, counter)} was acknowledged and is not recorded"
                )
        assert count == 0

    def _is_older(self, counter: int, older: tuple[str, int]) -> None:
        task = self.tasks[counter]
        if task.older is None:
            task.older = older
            self._others.setdefault(older, []).append(task)
            if older in self.heard and task.ended is None:
                task.ended = self.heard[older][:2]

    def _ended(self, session: str, counter: int, kind: int, body: Any) -> None:
        end, life = (kind, bytes(body)), self.world.routers
        before = self.heard.setdefault((session, counter), (*end, life))
        is_again = (
            key(session, counter) in self.world.lost and (before[0], kind) == (Kind.STORED,) * 2
        )
        is_moved = (before[0], kind) == (Kind.STORED,) * 2 and (
            with_store(kind, before[1], "-" * 8) == with_store(kind, end[1], "-" * 8)
        )
        assert before[:2] == end or before[2] < life or is_again or is_moved, (
            f"{show(session, counter)} ended otherwise"
        )
        if session == self.session and counter in self.tasks:
            task = self.tasks[counter]
            if task.ended is None:
                task.ended = end
        for task in self._others.get((session, counter), []):
            task.ended = task.ended or end

    def note(self, say: Callable[[str], None]) -> None:
        """Say what has come to be known since the last call."""
        recorded = [counter for counter, task in self.tasks.items() if task.recorded]
        new, errors = recorded[self._noted[0] :], self.errors[self._noted[1] :]
        self._noted = len(recorded), len(self.errors)
        if new:
            say(f"{self.session} knows that {span(self.session, new)} is recorded")
        for kind, text in errors:
            say(f"{self.session} is told {kind}: {text}")

    def open_spans(self) -> list[tuple[str, int, int]]:
        """What it still wants to hear of."""
        spans: list[tuple[str, int, int]] = []
        for counter, task in sorted(self.tasks.items()):
            if task.ended is None:
                session, number = task.older or (self.session, counter)
                spans.append((session, number, 1))
        return spans + [(*task, 1) for task in self.watched.values() if task not in self.heard]


# -- words ---------------------------------------------------------------------------------------


def name_of(id: bytes) -> str:
    """Whose connection a routing id is."""
    return id.decode().partition("/")[0]


def value_of(payload: bytes) -> bytes:
    """The outcome of a task with this payload that ends well."""
    return body_of(1.0, 0.01, b"", b"value of " + payload)


def outcome_of(payload: bytes, runs: int) -> tuple[int, bytes] | None:
    """How a task with this payload ends when its slot is done with it; None if it stays."""
    if payload.startswith(STORED):
        return Kind.STORED, b""  # the ref is made where it is stored
    if payload.startswith(ERROR) or payload.startswith(FLAKY) and runs < 1:
        return Kind.ERROR, failure_body("TaskFailed", "as it was told")
    if payload.startswith((OK, FLAKY)):
        return Kind.VALUE, value_of(payload)
    return None


def taken_by(rows: list[list[Any]]) -> Iterator[tuple[int, list[bytes]]]:
    """The leases of INPUTS, each with what it takes."""
    for first, counts, ids, _, _ in rows:
        at = 0
        for nth, count in enumerate(counts):
            if count:
                yield first + nth, split(ids)[at : at + count]
            at += count


def describe(envelope: Envelope) -> str:
    """A message as a line of a transcript."""
    message = envelope.message
    words = WORDS.get(type(message))
    text = words(message) if words is not None else ""
    line = f"{type(message).__name__} {text}".strip()
    return f"{line}  (acknowledges {envelope.ack})" if envelope.ack else line


def span(session: str, counters: list[int]) -> str:
    """Counters as 0..3,7."""
    runs: list[list[int]] = []
    for counter in counters:
        if runs and runs[-1][1] + 1 == counter:
            runs[-1][1] = counter
        else:
            runs.append([counter, counter])
    texts = (str(low) if low == high else f"{low}..{high}" for low, high in runs)
    return f"{session}.{','.join(texts)}"


def ends(session: str, counters: list[int], kinds: bytes) -> str:
    """How tasks ended: 0..3 VALUE, 4 ERROR."""
    texts = []
    for kind in dict.fromkeys(kinds):
        these = [counter for counter, each in zip(counters, kinds) if each == kind]
        texts.append(f"{span(session, these)} {Kind(kind).name}")
    return ", ".join(texts)


def describe_about(about: dict[str, Any]) -> str:
    number = about.get("lease")
    return lease(number) if type(number) is int else str(about or "")


def describe_spans(spans: list[Any]) -> str:
    texts = []
    for session, first, count in spans:
        last = f"..{first + count - 1}" if count != 1 else ""
        texts.append(f"{session}.{first}{last}")
    return ", ".join(texts)


def lease(number: int) -> str:
    """A lease as epoch/number."""
    return f"{number >> 40}/{number & (1 << 40) - 1}"


def leases(numbers: list[int]) -> str:
    return ", ".join(map(lease, numbers)) or "nothing"


def describe_pieces(message: m.Tasks) -> str:
    texts = []
    for session, first, number, _, options, payloads in message.pieces:
        tasks = span(session, list(range(first, first + len(payloads))))
        texts.append(f"{tasks} by lease {lease(number)}" + (f" {options}" if options else ""))
    return "; ".join(texts)


def describe_blocks(message: m.Submit) -> str:
    texts = []
    for first, _, options, _, _, payloads, names, *_ in message.blocks:
        text = span("", list(range(first, first + len(payloads))))
        texts.append(text + (f" {options}" if options else "") + (f" {names}" if names else ""))
    return "; ".join(texts)


WORDS: dict[type[m.Message], Callable[[Any], str]] = {
    m.Hello: lambda hello: f"held: {leases([row[0] for row in hello.held])}",
    m.Welcome: lambda welcome: f"epoch {welcome.epoch}",
    m.Error: lambda error: f"{error.kind}: {error.text}",
    m.Function: lambda function: function.name,
    m.Submit: describe_blocks,
    m.Group: lambda group: f"{group.name!r} of {group.size} from .{group.first} on",
    m.Known: lambda known: ", ".join(
        f"{show(*row[:2])} is {show(*row[2:4])}{', ended' if row[4] else ''}" for row in known.rows
    ),
    m.Outcomes: lambda news: "; ".join(ends(run[0], run[1], run[2]) for run in news.runs),
    m.Watch: lambda watch: describe_spans(watch.spans),
    m.Cancel: lambda cancel: (
        describe_spans(cancel.spans) + (", running or not" if cancel.running else "")
    ),
    m.Ask: lambda ask: f"{ask.what} {describe_about(ask.about)}".strip(),
    m.Tell: lambda tell: f"{tell.error}: {tell.value}" if tell.error else str(tell.value),
    m.Tasks: describe_pieces,
    m.Inputs: lambda inputs: "; ".join(
        f"of {lease(first)}: {', '.join(show(*unkey(each)) for each in ids)}"
        for first, ids in taken_by(inputs.rows)
    ),
    m.Lost: lambda lost: "; ".join(f"{show(*row[:2])} by {lease(row[2])}" for row in lost.rows),
    m.Done: lambda done: (
        "; ".join(f"{ends(run[0], run[1], run[3])} by {leases(run[2])}" for run in done.runs)
        + f", takes {done.window}"
    ),
    m.Recall: lambda recall: (
        str(recall.count) + (f" and {leases(recall.leases)}" if recall.leases else "")
    ),
    m.Returned: lambda returned: f"{leases(returned.leases)}, takes {returned.window}",
    m.Kill: lambda kill: leases(kill.leases),
    m.Leave: lambda leave: "when what runs has ended" if leave.within_s else "now",
}


def describe_write(what: str, about: list[Any]) -> str:
    """A write as a line of a transcript."""
    if what == "block":
        session, first, header, foreign = about[:4]
        text = f"block {span(session, list(range(first, first + header[0])))}"
        for i, older in sorted(foreign.items()):
            text += f", .{first + i} is {show(*older)}"
        return text
    if what == "outcomes":
        by_session: dict[str, tuple[list[int], bytearray]] = {}
        for task, record in about[0]:
            session, counter = unkey(task)
            counters, kinds = by_session.setdefault(session, ([], bytearray()))
            counters.append(counter)
            kinds.append(record[0])
        return "outcome " + "; ".join(ends(s, c, bytes(k)) for s, (c, k) in by_session.items())
    if what == "tries":
        errors, slots, workers, _ = about[1]
        where = show(*unkey(about[0]))
        return f"tries of {where}: {errors} errors, {slots} slots and {workers} workers lost"
    if what == "run":
        task, number, run, _ = about
        kind = Kind(run[3]).name.lower().replace("_", " ") if run[3] >= 0 else "interrupted"
        return f"run of {show(*unkey(task))} by lease {lease(number)}: {kind}"
    if what in ("close", "group"):
        return f"{what} {show(*unkey(about[0]))}"
    if what == "found":
        return f"found: no more lost is the result of lease {lease(about[1])}"
    if what == "lost":
        return f"lost: the result of lease {lease(about[1])}"
    if what == "worker":
        return f"worker {about[0]} {'is gone' if about[1] is None else 'is there'}"
    return f"{what} {about[1] if what == 'function' else ''}".strip()
