"""A tale: real cores over wires that drop, repeat, delay and cut, while clients, workers, slots and
routers stand still and die, disks stall and limits bite, in an order that a seed chooses.

After the tale all troubles end, and it is driven on until nothing is left in anybody's hands.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable

from fakes.client import Client
from fakes.deeds import ERROR, FLAKY, FOREVER, KILLER, OK, STORED, outcome_of
from fakes.worker import Worker
from fakes.world import World

from mesh.core.events import Settings
from mesh.protocol import messages as m
from mesh.protocol.outcome import parse, parse_ref
from mesh.task import Kind, key, show

EVENTS = 250

WORKERS = ("wwwwwwww", "vvvvvvvv", "uuuuuuuu")
SESSIONS = ("cccccccc", "dddddddd", "eeeeeeee", "ffffffff")

#: What a task with a limit of memory may use.
MEMORY = 1000

#: What a seed may do to its mesh, beside what always happens.
TROUBLES = (
    "wire",
    "cuts",
    "slots",
    "workers",
    "router",
    "time",
    "stops",
    "clients",
    "disk",
    "files",
    "leaving",
)


class Tale:
    """One seed's tale. `settle` is up to chance as well: a turn takes in several events."""

    def __init__(self, seed: int, troubles: set[str] | None = None) -> None:
        self.chance = random.Random(seed)
        self.patient = troubles is not None  # who is cut off connects at once
        self.troubles = troubles or {each for each in TROUBLES if self.chance.random() < 0.5}
        self.quick_s = self.chance.choice([0.0, 0.0, 0.01])  # quick tasks share packets
        settings = Settings(
            heartbeat_s=1000.0 if self.patient else self.chance.choice([0.2, 2.0]),
            store_lost_after_s=30.0,
        )
        settings.lost_after_s = 5 * settings.heartbeat_s
        self.world = World(settings)
        self.reserved: list[tuple[Client, int, int]] = []
        self.dead: list[Client] = []
        self.stalled = 0  # so many times the disk will do nothing
        self.unrecorded: set[tuple[str, int]] = set()  # when a router died
        for who in WORKERS[: self.chance.randint(1, 3)]:
            self.add_worker(who)
        for session in SESSIONS[: self.chance.randint(1, 2)]:
            self.world.add_client(session)
        common: list[tuple[int, Callable[[], None]]] = [
            (30, self.deliver),
            (10, self.turn),
            (10, self.commit),
            (20, self.run),
            (6, self.submit),
            (2, self.cancel),
            (2, self.ask),
            (2, self.watch),
            (4, self.dial),
            (6, lambda: self.world.advance(self.chance.random() * 0.3)),
            (2, self.worker_is_gone),
        ]
        rare: dict[str, list[tuple[int, Callable[[], None]]]] = {
            "wire": [(2, self.drop), (2, self.repeat), (1, self.swap)],
            "cuts": [(2, self.cut), (3, self.deliver_late)],
            "slots": [(3, self.slot_dies), (2, self.slot_grows)],
            "workers": [(1, self.worker_dies), (2, self.worker_starts), (1, self.worker_leaves)],
            "router": [(1, self.router_restarts)],
            "time": [(1, lambda: self.wait(20))],
            "stops": [(3, self.stand_still), (4, self.wake_up)],
            "clients": [(1, self.client_dies)],
            "files": [(8, self.file_is_lost), (4, self.ask_again), (8, self.submit)],
            "leaving": [(3, self.worker_leaves), (5, self.worker_starts), (8, self.submit)],
            "disk": [(2, self.stall), (1, self.fill), (2, self.free)],
        }
        moves = common + [move for each in sorted(self.troubles) for move in rare[each]]
        self.weights = [weight for weight, _ in moves]
        self.moves = [move for _, move in moves]

    def tell(self) -> None:
        """The tale, and its end."""
        for move in self.chance.choices(self.moves, self.weights, k=EVENTS):
            move()
            if self.chance.random() < 0.5:
                self.world.settle()
        self.heal()

    # -- what always happens -----------------------------------------------------------------

    def awake(self, name: str) -> bool:
        return name not in self.world.stopped

    def awake_client(self) -> Client | None:
        names = [name for name in self.world.clients if self.awake(name)]
        return self.world.clients[self.chance.choice(names)] if names else None

    def deliver(self) -> None:
        """Some messages arrive."""
        for _ in range(self.chance.randint(1, 4)):
            wires = self.world.wires.values()
            ways = [(wire.name, True) for wire in wires if wire.up and self.awake("router")]
            ways += [(wire.name, False) for wire in wires if wire.down and self.awake(wire.name)]
            if not ways:
                return
            name, up = self.chance.choice(ways)
            if up:
                self.world.deliver_up(name)
            else:
                self.world.deliver_down(name)

    def turn(self) -> None:
        """A process ends its turn."""
        nodes = list(self.world.nodes())
        if nodes:
            self.chance.choice(nodes).settle()

    def commit(self) -> None:
        """A disk has done some of its work, or the core is told of it."""
        router = self.world.router
        assert router is not None
        self.stalled = max(0, self.stalled - 1)
        if self.awake("router"):
            if router.wanted and not self.stalled and self.chance.random() < 0.6:
                router.commit(self.chance.randint(1, len(router.wanted)))
            else:
                router.tell()
        for worker in self.world.workers.values():
            if worker.storing and not self.stalled and self.awake(worker.who):
                worker.stored()

    def run(self) -> None:
        """Slots start, run, answer; workers hear them. The slots of a worker that stands still run
        on, unheard."""
        if not self.world.workers:
            return
        worker = self.chance.choice(list(self.world.workers.values()))
        if worker.coming and self.awake(worker.who):
            worker.bring()
        for number, process in list(worker.slots.items()):
            if self.chance.random() < 0.3:
                continue
            if not self.awake(worker.who):
                self.run_task(worker, number)
            elif process.dead is not None:
                worker.bury(number)
            elif not process.ready and "slots" in self.troubles and self.chance.random() < 0.2:
                worker.slot_dies(number, "exited with code 1")
            elif not process.ready:
                worker.slot_ready(number)
            elif process.answers and self.chance.random() < 0.5:
                worker.hear_slot(number)
            else:
                self.run_task(worker, number)

    def run_task(self, worker: Worker, number: int) -> None:
        """What is first in a slot ends, if it ever does."""
        running = worker.running.get(number)
        if running is None:
            return
        payload = running[1]
        if payload.startswith(KILLER):
            worker.slot_dies(number)
            return
        end = outcome_of(payload, int(self.chance.random() < 0.7))
        if end is not None:
            worker.answer(number, *end, took_s=self.quick_s)

    def submit(self) -> None:
        """A client submits a block; some are held up by another thread and sent later."""
        client = self.awake_client()
        if client is None:
            return
        many = not self.troubles.isdisjoint({"files", "leaving"})
        kinds = [OK] * 8 + [STORED] * (16 if many else 1) + [ERROR, FLAKY]
        kinds += [KILLER] if "slots" in self.troubles else []
        kinds += [FOREVER] if self.chance.random() < 0.1 else []
        count = self.chance.choice([1, 1, 2, 3, 8])
        chosen = [self.chance.choice(kinds) for _ in range(count)]
        payloads = [b"%s %d" % (kind, self.chance.randint(0, 1)) for kind in chosen]
        options = {
            name: value
            for name, value in (
                ("retries", 2),
                ("backoff", 0.4),
                ("priority", 1),
                ("time_limit", 0.5),
                ("memory", MEMORY),
                ("rerun", False),
            )
            if self.chance.random() < 0.2
        }
        function = self.chance.choice([b"f", b"g"]) * 16
        what = self.chance.random()
        if what < 0.15:
            self.reserved.append((client, client.reserve(count), count))
        elif what < 0.3 and self.reserved and self.awake(self.reserved[-1][0].session):
            client, first, count = self.reserved.pop()
            client.submit([b"ok late"] * count, function, options, first=first)
        elif what < 0.5:
            # An alias stands for its own payload; now and then two calls quarrel over one.
            names: list[str | None] = [f"{each.decode()} {function[:1]!r}" for each in payloads]
            if self.chance.random() < 0.1:
                names[0] = "fought over"
            client.submit(payloads, function, options, names)
        else:
            group = "a group" if self.chance.random() < 0.5 else None
            inputs = self.inputs(client, count, group) if self.chance.random() < 0.5 else None
            client.submit(payloads, function, options, group=group, inputs=inputs)

    def inputs(self, client: Client, count: int, group: str | None) -> list[list[tuple[str, int]]]:
        """What the tasks that `client` submits next take: a few of its own and of others, or those
        before them in their block; now and then one that nobody has submitted."""
        known = [
            (each.session, counter)
            for each in self.everybody()
            for counter in each.tasks
            if each is client or self.world.is_recorded(each.session, counter)
        ]
        known = known[-12:] + ([(client.session, 9999)] if self.chance.random() < 0.05 else [])
        first = client.counter + (group is not None)
        taken = []
        for i in range(count):
            several = (
                self.chance.choices(known, k=self.chance.choice([0, 1, 1, 2])) if known else []
            )
            if i and self.chance.random() < 0.3:
                several.append((client.session, first + self.chance.randrange(i)))
            taken.append(list(dict.fromkeys(several)))
        return taken

    def cancel(self) -> None:
        """A client ends some tasks of its own."""
        client = self.awake_client()
        if client is not None and client.counter:
            first = self.chance.randrange(client.counter)
            span = (client.session, first, self.chance.randint(1, 4))
            client.cancel([span], running=self.chance.random() < 0.5)

    def ask(self) -> None:
        """A client asks how things stand."""
        client = self.awake_client()
        if client is not None and self.chance.random() < 0.5:
            client.ask("status")
        elif client is not None:
            client.ask("count", spans=[[client.session, 0, client.counter]])

    def watch(self) -> None:
        """A client wants to hear of another's tasks, which are there."""
        client = self.awake_client()
        others = [each for each in self.everybody() if each is not client and each.counter]
        if client is None or not others:
            return
        other = self.chance.choice(others)
        first = self.chance.randrange(other.counter)
        for counter in range(first, min(first + 4, other.counter)):
            task = (other.session, counter)
            if counter in other.tasks and self.world.is_recorded(*task):
                client.watched.setdefault(task, task)
                client.watch([(*task, 1)])

    def everybody(self) -> list[Client]:
        """All clients there ever were."""
        return [*self.world.clients.values(), *self.dead]

    def dial(self) -> None:
        """Who is cut off connects."""
        closed = [
            wire.name
            for wire in self.world.wires.values()
            if not wire.open and self.is_there(wire.name) and self.awake(wire.name)
        ]
        if closed:
            self.world.dial(self.chance.choice(closed))

    def is_there(self, name: str) -> bool:
        node = self.world.node(name)
        return node is not None and not (isinstance(node, Worker) and node.left)

    # -- trouble -----------------------------------------------------------------------------

    def queue(self):
        wire = self.chance.choice(list(self.world.wires.values()))
        return self.chance.choice([wire.up, wire.down])

    def drop(self) -> None:
        """A message is lost."""
        if queue := self.queue():
            queue.popleft()

    def repeat(self) -> None:
        """A message comes twice, at once or later."""
        if queue := self.queue():
            queue.insert(self.chance.randint(0, len(queue)), queue[0])

    def swap(self) -> None:
        """A message overtakes another."""
        queue = self.queue()
        if len(queue) > 1:
            queue[0], queue[1] = queue[1], queue[0]

    def cut(self) -> None:
        """A connection breaks."""
        self.world.cut(self.chance.choice(list(self.world.wires)))

    def deliver_late(self) -> None:
        """What a broken connection had delivered before it broke is read."""
        if self.world.late and self.awake("router"):
            self.world.deliver_late()

    def slot_dies(self) -> None:
        """A slot's process is killed from outside, whatever it does."""
        for worker in self.world.workers.values():
            for number, process in worker.slots.items():
                if process.dead is None and process.ready and self.chance.random() < 0.2:
                    worker.slot_dies(number)
                    return

    def slot_grows(self) -> None:
        """What a slot runs takes more memory than some tasks may, or lets go of it."""
        if self.world.workers:
            worker = self.chance.choice(list(self.world.workers.values()))
            for number in worker.slots:
                worker.weights[number] = self.chance.choice([0, 2 * MEMORY])

    def stand_still(self) -> None:
        """A process is stopped."""
        names = ["router", *self.world.workers, *self.world.clients]
        names = [name for name in names if self.awake(name)]
        if names:
            self.world.stop(self.chance.choice(names))

    def wake_up(self) -> None:
        """A process that was stopped goes on."""
        if self.world.stopped:
            self.world.go_on(self.chance.choice(sorted(self.world.stopped)))

    def stall(self) -> None:
        """The disk does nothing for a while."""
        self.stalled = self.chance.randint(1, 20)

    def fill(self) -> None:
        """The disk is full."""
        self.world.full = True

    def free(self) -> None:
        """It has room again, and what waits for it is tried."""
        self.world.full = False
        if self.awake("router"):
            self.world.router.commit()

    def file_is_lost(self) -> None:
        """A stored result is gone; one that somebody takes, if there is any."""
        tasks = self.world.tasks.values()
        taken = {key(*each) for task in tasks if task.ended is None for each in task.inputs}
        files = sorted(self.world.files)
        files = [file for file in files if file[0] in taken] or files
        if files:
            self.world.lose(self.chance.choice(files))

    def ask_again(self) -> None:
        """A client finds that a result of its own is lost, and waits for it."""
        client = self.awake_client()
        for counter, task in client.tasks.items() if client is not None else ():
            if task.ended is None or task.ended[0] != Kind.STORED or task.older is not None:
                continue
            ref = parse_ref(parse(task.ended[1]).rest)
            if (ref.task, ref.lease) not in self.world.files:
                client.ask("again", session=client.session, counter=counter, lease=ref.lease)
                return

    def client_dies(self) -> None:
        """A client dies, and perhaps another comes; one is always there."""
        free = SESSIONS[len(self.world.clients) + len(self.dead) :]
        if len(self.world.clients) > 1:
            client = self.world.kill_client(self.chance.choice(list(self.world.clients)))
            self.dead.append(client)
            self.reserved = [each for each in self.reserved if each[0] is not client]
        elif free:
            self.world.add_client(free[0])

    def worker_dies(self) -> None:
        """A worker dies with all that it runs; perhaps it is at once there again."""
        if self.world.workers:
            who = self.chance.choice(list(self.world.workers))
            self.world.kill_worker(who)
            if self.chance.random() < 0.5:
                self.add_worker(who)

    def worker_leaves(self) -> None:
        """A worker is told to go, at once or when what runs has ended; its owner ends it then."""
        workers = [each for each in self.world.workers.values() if self.awake(each.who)]
        if workers:
            worker = self.chance.choice(workers)
            within_s = self.chance.choice([math.inf, math.inf, 1.0, 0])
            worker.core.leave("told to", within_s, self.world.now)

    def worker_is_gone(self) -> None:
        """A worker that has said goodbye ends."""
        for who, worker in list(self.world.workers.items()):
            if worker.left is not None:
                self.world.kill_worker(who)

    def worker_starts(self) -> None:
        """A worker starts, on a store that is free."""
        free = [who for who in WORKERS if who not in self.world.workers]
        if free:
            self.add_worker(self.chance.choice(free))

    def add_worker(self, who: str) -> None:
        tasks_max = self.chance.choice([None, None, 1, 3])
        worker = self.world.add_worker(who, self.chance.randint(1, 3), tasks_max)
        worker.how = self.chance.choice(["dies", "answers", "ignores"])
        worker.packet_tasks = self.chance.choice([1, 2, 1000])

    def wait(self, heartbeats: float) -> None:
        """Nothing is delivered for a while."""
        self.world.advance(self.chance.random() * heartbeats * self.world.settings.heartbeat_s)

    def router_restarts(self) -> None:
        """The router dies, with a commit under way, and comes back on its store."""
        router = self.world.router
        assert router is not None
        if router.wanted and not self.stalled and self.chance.random() < 0.5:
            router.commit(self.chance.randint(1, len(router.wanted)))
        self.unrecorded |= {
            (client.session, counter)
            for client in self.world.clients.values()
            for counter in client.tasks
            if not self.world.is_recorded(client.session, counter)
        }
        self.world.kill_router()
        if self.chance.random() < 0.3:
            self.wait(2 if self.patient else 10)
        self.world.start_router()
        for name in self.world.wires if self.patient else ():
            self.world.dial(name)

    # -- the end -----------------------------------------------------------------------------

    def heal(self) -> None:
        """All troubles end; everything that can go on does, until nothing is left."""
        world = self.world
        world.late.clear()
        self.stalled = 0
        for name in sorted(world.stopped):
            world.go_on(name)
        self.free()
        for client, first, count in self.reserved:
            client.submit([b"ok late"] * count, first=first)
        for _ in range(900):
            self.worker_is_gone()
            for who in WORKERS:  # all: any may have what others wait for
                if who not in world.workers:
                    world.add_worker(who, 2)
            self.go_on()
            if not self.left():
                break
            stay = [
                (client.session, counter, 1)
                for client in self.everybody()
                for counter, task in client.tasks.items()
                if task.payload.startswith(FOREVER) and not world.recorded(client.session, counter)
            ]
            if stay and self.chance.random() < 0.1:
                next(iter(world.clients.values())).cancel(stay, running=True)
            world.advance(0.3)  # less than the shortest time limit
        assert not self.left(), "\n".join(self.left())

    def go_on(self) -> None:
        """One round of everything."""
        world = self.world
        assert world.router is not None
        for wire in world.wires.values():
            if not wire.open and self.is_there(wire.name):
                world.dial(wire.name)
        world.settle()
        for wire in world.wires.values():
            while wire.up:
                world.deliver_up(wire.name)
            while wire.down:
                world.deliver_down(wire.name)
        world.router.settle()
        if world.router.wanted:
            world.router.commit()
        world.router.tell()
        for worker in world.workers.values():
            if worker.storing:
                worker.stored()
            while worker.coming:
                worker.bring()
            for number, process in list(worker.slots.items()):
                if process.dead is not None:
                    worker.bury(number)
                elif not process.ready:
                    worker.slot_ready(number)
                else:
                    self.run_task(worker, number)
                    worker.hear_slot(number)
        world.settle()

    def left(self) -> list[str]:
        """What is not at rest yet."""
        world = self.world
        core = world.router.core
        found: list[str] = []
        for client in world.clients.values():
            for token in range(1, client.token + 1):
                if token not in client.answers:
                    found.append(f"question {token} of {client.session} has no answer")
            for task in client.watched.values():
                if task not in client.heard:
                    found.append(f"{client.session} has not heard of {show(*task)}")
            if client.core.unrecorded:
                found.append(f"{client.session} has sent what is not recorded")
            for counter, task in client.tasks.items():
                if task.ended is None:
                    found.append(f"{show(client.session, counter)} {task} has not ended")
                if not task.recorded:
                    found.append(f"{show(client.session, counter)} is not recorded")
        for worker in world.workers.values():
            if worker.core.slots.held:
                found.append(f"{worker.who} holds {sorted(worker.core.slots.held)}")
            if any(isinstance(message, m.Done) for _, message in worker.core.link.unacked):
                found.append(f"{worker.who} waits for acknowledgements")
        for worker in core.fleet:
            if worker.held:
                found.append(f"the router thinks that {worker.who} holds {sorted(worker.held)}")
        found += [f"block {block.key!r} is open" for block in core.ledger.blocks]
        return found
