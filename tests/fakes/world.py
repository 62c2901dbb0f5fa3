"""A mesh without sockets, threads, disks or time: real cores, joined by wires that may fail.

`World` holds one router, its store, workers with slots, clients, and the wires between them.
Nothing happens by itself: a test says what is delivered, committed, run, lost or cut, and when.
What crosses a wire is encoded and decoded. After each event the core that took it is checked.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

from mesh.core.backlog import Values
from mesh.core.events import (
    Settings,
    Tick,
)
from mesh.protocol.link import Envelope
from mesh.store.records import TABLES, Records
from mesh.store.tables import MemoryTables
from mesh.task import SUCCESS, Kind, key, show, unkey

from .client import Client, Task
from .deeds import value_of
from .router import BIRTH, Router
from .wire import Frames, Wire, on_wire
from .words import lease
from .worker import Worker

#: A stored result: its task, and the lease that has made it.
File = tuple[bytes, int]

#: Who is woken comes a little late, as everywhere.
WAKE_S = 0.000_1


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

    def check_given(self, task: tuple[str, int], given: Values | None) -> None:
        """What a task was begun with is what the tasks that it takes have come to."""
        submitted = self.tasks.get(task)
        if submitted is None:
            return  # of a test that submits by itself
        kinds, bodies = given or Values(b"", [])
        assert len(bodies) == len(submitted.inputs), f"{show(*task)} lacks inputs"
        for where, kind, body in zip(submitted.inputs, kinds, bodies, strict=True):
            assert kind in SUCCESS, f"{show(*task)} was given what failed"
            if kind == Kind.VALUE:
                payload = self.tasks[where].payload
                assert body == value_of(payload), f"{show(*task)} was given {body!r}"
