"""The language of tests/scenarios: commands that make things happen, and what follows.

    worker_1 joins [slots=2] [incarnation …]     client_1 joins
    client_1 submits 3 [of g] [ids=a,b,c] [group=sweep] [priority=1] [retries=2] [time_limit=5]
    client_1 reserves 2                          client_1 submits what it reserved
    client_1 cancels 0..2 [running or not]       client_1 watches client_2.0..1
    client_1 asks count|status|…                 client_1 asks to stop [now]
    client_1 misses the result of client_2.0
    worker_1 finishes client_1.0..1              (also: fails, stores)
    worker_1 loses the slot of client_1.0        worker_1 leaves [now]
    worker_1 dies                                NAME is cut        NAME dials
    the router dies                              the router starts
    advance 11s                                  states
    hold NAME up|down, hold disk                 release NAME up|down, release disk
    the disk is full                             the disk has room
    lose NAME up|down                            repeat NAME up|down
    NAME sends TEXT as it is                     NAME says hello in version 7..9

After each command everything that can travel, be committed or start does so, save what is held.
Beats and reports are left out: they say nothing that the other messages do not.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

from fakes.client import Client
from fakes.words import span
from fakes.worker import Worker
from fakes.world import World

from mesh.core.ledger import RECORD
from mesh.protocol import messages as m
from mesh.protocol.codec import encode
from mesh.protocol.link import Envelope
from mesh.protocol.outcome import failure_body
from mesh.task import ENDED, STATE_OF, Kind, State, key

#: Messages that are not worth a line.
QUIET = re.compile(r"(Beat|Report)\b")

_ACKNOWLEDGES = re.compile(r"  \(acknowledges \d+\)$")


def play(text: str) -> str:
    """A scenario with the conversation as it is now."""
    script = Script()
    told: list[str] = []
    for paragraph in text.strip().split("\n\n"):
        lines = paragraph.splitlines()
        commands = lines[: lines.index("----")] if "----" in lines else lines
        told += commands
        doing = [line for line in commands if not line.startswith("#")]
        if doing:
            told.append("----")
            for command in doing:
                told += script.do(command)
        told.append("")
    return "\n".join(told)


class Script:
    """A world that does what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.world = World(hear=self._hear)
        self.held: set[str] = set()
        self.reserved: list[tuple[int, int]] = []
        self.commands: list[tuple[re.Pattern[str], Callable[..., None]]] = [
            (re.compile(pattern), do)
            for pattern, do in {
                r"(client_\d) joins": self.client_joins,
                r"(worker_\d) joins(?: slots=(\d+))?": self.worker_joins,
                r"(client_\d) submits (\d+)(?: of (\w))?((?: \w+=\S+)*)": self.submits,
                r"(client_\d) reserves (\d+)": self.reserves,
                r"(client_\d) submits what it reserved": self.submits_reserved,
                r"(client_\d) cancels (\S+)( running or not)?": self.cancels,
                r"(client_\d) watches (\w+)\.(\S+)": self.watches,
                r"(client_\d) asks to stop( now)?": self.asks_to_stop,
                r"(client_\d) asks (\w+)": self.asks,
                r"(client_\d) misses the result of (\w+)\.(\d+)": self.misses,
                r"(worker_\d) (finishes|fails|stores) (\w+)\.(\S+)": self.ends,
                r"(worker_\d) loses the slot of (\w+)\.(\d+)": self.loses_slot,
                r"(worker_\d) leaves( now)?": self.leaves,
                r"(worker_\d) dies": self.dies,
                r"(\w+) is cut": lambda name: self.world.cut(name),
                r"(\w+) dials": lambda name: self.world.dial(name),
                r"the router dies": self.world.kill_router,
                r"the router starts": self.world.start_router,
                r"the disk (is full|has room)": self.disk,
                r"advance ([\d.]+)s": self.advance,
                r"states": self.states,
                r"hold (.*)": lambda what: self.held.add(what),
                r"release (.*)": lambda what: self.held.discard(what),
                r"lose (\w+) (up|down)": self.lose,
                r"repeat (\w+) (up|down)": self.repeat,
                r"(\w+) sends (.*) as it is": self.sends,
                r"(\w+) says hello in version (\d+)\.\.(\d+)": self.says_hello,
            }.items()
        ]

    def do(self, command: str) -> list[str]:
        """Carry out one command; what was said."""
        for pattern, do in self.commands:
            found = pattern.fullmatch(command)
            if found is not None:
                do(*found.groups())
                self.calm()
                lines, self.lines = self.lines, []
                return lines
        raise ValueError(f"no such command: {command}")

    def _hear(self, line: str) -> None:
        line = _ACKNOWLEDGES.sub("", line)
        if not QUIET.search(line):
            self.lines.append(line)

    def calm(self) -> None:
        """Everything that is not held happens; then a moment passes, for what waits a little."""
        for _ in range(2):
            while self._happens():
                pass
            self.world.advance(0.06)
        while self._happens():
            pass

    def _happens(self) -> bool:
        """Whether something happened."""
        world = self.world
        happened = False
        for node in list(world.nodes()):
            happened |= node.settle()
        for name, wire in world.wires.items():
            while wire.up and f"{name} up" not in self.held:
                world.deliver_up(name)
                happened = True
            while wire.down and f"{name} down" not in self.held:
                world.deliver_down(name)
                happened = True
        router = world.router
        if router is not None and "disk" not in self.held and (router.wanted or router.events):
            if router.wanted:
                router.commit()
            router.tell()
            happened = True
        for who, worker in list(world.workers.items()):
            if worker.left is not None and not world.wires[who].up:
                world.kill_worker(who)
            if worker.storing:
                worker.stored()
                happened = True
            for number, process in list(worker.slots.items()):
                if process.dead is not None:
                    worker.bury(number)
                    happened = True
                elif not process.ready:
                    worker.slot_ready(number)
                    happened = True
                process.read()
        for client in world.clients.values():
            client.note(world.say)
        return happened

    # -- commands ----------------------------------------------------------------------------

    def client_joins(self, name: str) -> None:
        self.world.add_client(name)
        self.world.dial(name)

    def worker_joins(self, name: str, slots: str | None) -> None:
        self.world.add_worker(name, int(slots or 1))
        self.world.dial(name)

    def submits(self, name: str, count: str, function: str | None, options: str) -> None:
        given = dict(option.split("=") for option in options.split())
        ids = given.pop("ids", None)
        group = given.pop("group", None)
        arguments = given.pop("arguments", "same")
        self.client(name).submit(
            [arguments.encode()] * int(count),
            (function or "f").encode() * 16,
            {option: value_of(text) for option, text in given.items()},
            ids.split(",") if ids else None,
            group=group,
        )

    def reserves(self, name: str, count: str) -> None:
        self.reserved.append((self.client(name).reserve(int(count)), int(count)))

    def submits_reserved(self, name: str) -> None:
        first, count = self.reserved.pop()
        self.client(name).submit([b"same"] * count, first=first)

    def cancels(self, name: str, counters: str, running: str | None) -> None:
        first, last = ends_of(counters)
        spans = [(name, first, last - first + 1)]
        self.client(name).cancel(spans, running=running is not None)

    def watches(self, name: str, whose: str, counters: str) -> None:
        first, last = ends_of(counters)
        self.client(name).watch([(whose, first, last - first + 1)])

    def asks(self, name: str, what: str) -> None:
        about = {"spans": [[name, 0, 100]]} if what == "count" else {}
        self.client(name).ask(what, **about)

    def asks_to_stop(self, name: str, now: str | None) -> None:
        self.client(name).ask("stop", within_s=math.inf if now is None else 0)

    def misses(self, name: str, whose: str, counter: str) -> None:
        """Its holder has told the client that the result is lost."""
        record = self.world.recorded(whose, int(counter))
        assert record is not None
        task = key(whose, int(counter))
        _, lease, store = RECORD.unpack_from(record)
        self.client(name).ask("lost", task=task, lease=lease, store=store.decode())

    def ends(self, name: str, how: str, whose: str, counters: str) -> None:
        kind, body = {
            "finishes": (Kind.VALUE, b"a value"),
            "stores": (Kind.STORED, b"a ref"),
            "fails": (Kind.ERROR, failure_body("TaskFailed", "it raised")),
        }[how]
        first, last = ends_of(counters)
        for counter in range(first, last + 1):
            number = self.slot_of(name, whose, counter)
            self.worker(name).answer(number, kind, body)
            self.worker(name).hear_slot(number)

    def loses_slot(self, name: str, whose: str, counter: str) -> None:
        self.worker(name).slot_dies(self.slot_of(name, whose, int(counter)))

    def leaves(self, name: str, now: str | None) -> None:
        self.worker(name).core.leave(
            "it was told to", math.inf if now is None else 0, self.world.now
        )

    def dies(self, name: str) -> None:
        self.world.kill_worker(name)

    def advance(self, seconds: str) -> None:
        """Time passes in steps in which everything may happen."""
        end = self.world.now + float(seconds)
        while self.world.now < end:
            self.world.advance(min(0.5, end - self.world.now))
            while self._happens():
                pass

    def lose(self, name: str, way: str) -> None:
        queue = getattr(self.world.wires[name], way)
        self.lines.append(f"lost: {len(queue)} on the way {way} of {name}")
        queue.clear()

    def repeat(self, name: str, way: str) -> None:
        queue = getattr(self.world.wires[name], way)
        queue.extend(list(queue))

    def sends(self, name: str, text: str) -> None:
        self.wire(name).up.append([text.encode()])

    def says_hello(self, name: str, low: str, high: str) -> None:
        hello = m.Hello("client", name, b"", int(low), int(high), {}, [])
        frames = [bytes(frame) for frame in encode(Envelope(1, 0, 0, hello))]
        self.wire(name).up.append(frames)

    def disk(self, how: str) -> None:
        """The router's disk is full, or has room again: then what waits for it is tried."""
        self.world.full = how == "is full"
        if self.world.router is not None and not self.world.full:
            self.world.router.commit()

    def states(self) -> None:
        """Where every task is, as router and store know it."""
        router = self.world.router
        assert router is not None
        for client in self.world.clients.values():
            by_word: dict[str, list[int]] = {}
            for counter in client.tasks:
                found = router.core.ledger.blocks.find(client.session, counter)
                record = self.world.recorded(client.session, counter)
                if found is not None and found[0].states[found[1]] < ENDED:
                    word = State(found[0].states[found[1]]).word
                elif record is not None:
                    word = STATE_OF[Kind(record[0])].word
                else:
                    word = "an older task" if client.tasks[counter].older else "unknown"
                by_word.setdefault(word, []).append(counter)
            for word, counters in by_word.items():
                self.lines.append(f"{span(client.session, counters)} {word}")
        counts = router.core.ledger.counts
        self.lines.append(", ".join(f"{n} {s.word}" for s, n in zip(State, counts) if n) or "none")

    # -- who is meant ------------------------------------------------------------------------

    def client(self, name: str) -> Client:
        return self.world.clients[name]

    def worker(self, name: str) -> Worker:
        return self.world.workers[name]

    def wire(self, name: str):
        """The wire of somebody who may be no part of the mesh."""
        if name not in self.world.wires:
            self.world.add_client(name)
            self.world.wires[name].dial()
        return self.world.wires[name]

    def slot_of(self, name: str, whose: str, counter: int) -> int:
        """The slot in which a task runs."""
        worker = self.worker(name)
        for number, (lease, _) in worker.running.items():
            piece = worker.core.slots.held[lease]
            if (piece.session, piece.counter(lease)) == (whose, counter):
                return number
        raise ValueError(f"{name} does not run {whose}.{counter}: {key(whose, counter)!r}")


def value_of(text: str) -> Any:
    """A number, or a list of one word."""
    if text[0].isalpha():
        return [text]
    return float(text) if "." in text else int(text)


def ends_of(counters: str) -> tuple[int, int]:
    """The ends of 0..3, or of 7."""
    first, _, last = counters.partition("..")
    return int(first), int(last or first)
