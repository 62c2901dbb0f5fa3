"""Children: the slots of a worker as processes: started, heard, given tasks, ended, buried.

The core decides; here it is carried out. A slot's death comes from the kernel, never from a
timeout. `tasks` go into a slot's socket; what it has not read can be taken back from there.
"""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Callable
from typing import Any

from ..core import events
from ..core.backlog import Piece
from ..core.worker import WorkerCore
from ..errors import DISK_FULL
from ..protocol import outcome, packets
from ..store.results import Results
from ..task import Kind, key, show
from ..transport.poller import Poller
from . import weight
from .capture import last_words, thin
from .child import Child, how_it_ended
from .gpus import environment_of
from .log import Log
from .tail import Tail
from .wards import Wards

#: Outcomes read from one slot in one turn.
OUTCOMES_MAX = 512

#: Slots are told anew how long they may begin tasks, when that is so much longer.
ALLOW_EVERY_S = 0.1

#: Capture files are looked at this often, for floods; and what slots say of themselves.
THIN_EVERY_S = 1.0


class Children:
    """The slots' processes of the worker of `core`, whose store is `results`. `poller` waits for
    them. One that has grown beyond `memory_max` bytes is replaced, if that is not 0.
    `say_stalled(reason)` says that the disk has no room."""

    def __init__(
        self,
        core: WorkerCore,
        results: Results,
        poller: Poller,
        log: Log,
        memory_max: int,
        say_stalled: Callable[[str], None],
    ) -> None:
        self._core, self._results, self._poller, self._log = core, results, poller, log
        self._memory_max, self._say_stalled = memory_max, say_stalled
        # One for all: what `recv` makes for a packet that may be large is new memory each time.
        self._packet = memoryview(bytearray(packets.PACKET_BYTES_MAX * 2))
        self._children: dict[int, Child] = {}
        self._wards = Wards(log)
        self._tail = Tail(core.tails)
        self._thin_at = 0.0
        self._allowed = -ALLOW_EVERY_S

    def start(self) -> None:
        """Start them all, and behind them, since they are waited for, the warden."""
        now = time.monotonic()
        for number in self._core.settle(now).starts:
            self._start(number, now)
        self._wards.start()

    def hear(self, ready: set[Any], now: float) -> None:
        """Take what slots have answered that are `ready`."""
        for number, child in list(self._children.items()):
            if child.pair in ready:
                self._hear_slot(number, child, now)

    def bury(self, now: float) -> None:
        """Some child has died."""
        for child in self._processes():
            if child.is_dead():
                self._bury(child, now)
        self._wards.start()

    def _processes(self) -> list[Child]:
        """The first slot of each."""
        return [child for child in self._children.values() if child.is_first]

    def carry_out(self, turn: events.WorkerTurn, now: float) -> bool:
        """Do what the core wants of slots; whether it has heard of something new by that."""
        for number in turn.starts:
            self._start(number, now)
        self._allow({number for number, *_ in turn.tasks})
        stalled = self._hand_out(turn, now)
        for number in dict.fromkeys(turn.take_back):
            if number in self._children:
                leases = self._take_back(self._children[number])
                self._core.handle(events.TakenBack(number, leases), now)
        for number, lease in turn.kills:
            self._kill(number, lease, now)
        for number in turn.retire:  # its place is taken when it is buried
            self._children[number].signal(signal.SIGKILL)
        for number, last in turn.harsher:
            self._children[number].signal(signal.SIGKILL if last else signal.SIGTERM)
        for number, lease, limit in turn.weigh:
            size = weight.of_tree(self._children[number].pid, limit)
            self._core.handle(events.Weighed(number, lease, size), now)
        pieces = self._tail.look(self._children.values()) if turn.look else []
        for piece in pieces:
            self._core.handle(piece, now)
        return stalled or bool(turn.take_back or turn.kills or turn.weigh or pieces)

    def _allow(self, given: set[int]) -> None:
        """Say until when slots may begin tasks: those that are `given` some exactly, the others in
        good time. Should this process stand still, they know."""
        until = self._core.given_until
        if until >= self._allowed + ALLOW_EVERY_S:
            self._allowed, given = until, set(self._children)
        for number in given:
            self._children[number].slate.allow(until)

    def _hear_slot(self, number: int, child: Child, now: float) -> None:
        """Take what a slot has answered."""
        rows: list[tuple[int, int, bytes, float, bool]] = []
        receive, line = child.pair.recv_into, self._core.slots[number].line
        view = self._packet
        while len(rows) < OUTCOMES_MAX:
            try:
                packet = bytes(view[: receive(view, 0, socket.MSG_DONTWAIT)])
            except (BlockingIOError, ConnectionError):
                break
            if not packet:
                break
            if packet[0] == packets.READY:
                self._core.handle(events.SlotReady(number, packets.parse_ready(packet)), now)
                continue
            if packet[0] == packets.STUCK:
                self._core.slots.is_stuck(number, child.stuck(packet, self._log))
                continue
            if packet[0] == packets.FULL:
                self._core.slots.makes_room(number)
                continue
            if packet[0] == packets.UNBEGUN:
                self._take_answers(number, rows, now)  # they come before
                rows = []
                function, leases = packets.parse_unbegun(packet)
                self._core.slots.unlearn(child.digest_of(function), number)
                self._core.handle(events.TakenBack(number, leases), now)
                continue
            rows += packets.parse_outcomes(packet)
            if len(rows) == len(line):
                break  # nothing more can come
        self._take_answers(number, rows, now)
        child.flush()

    def _take_answers(
        self, number: int, rows: list[tuple[int, int, bytes, float, bool]], now: float
    ) -> None:
        for lease, kind, body, _, stored in rows:
            if outcome.has_log(body):
                self._log_output(lease, body)
            if stored and lease == self._core.slots[number].struck:
                self._drop_unwanted(number, lease)
            if kind == Kind.ASTRAY:
                self._discard(lease, body, now)
        if rows:
            self._core.handle(events.SlotAnswered(number, rows), now)

    def _drop_unwanted(self, number: int, lease: int) -> None:
        """Remove what an interrupted run was about to hand over, and nobody will ask for: its
        result, and its log, unless it has run too long, which is told with its log."""
        piece = self._core.slots.held.get(lease)
        if piece is not None:
            what = [outcome.RESULT]
            if self._core.slots[number].ending is not Kind.TIMED_OUT:
                what.append(outcome.LOG)
            task = key(piece.session, piece.counter(lease))
            self._children[number].drop(task, lease, what)

    def _discard(self, lease: int, body: bytes, now: float) -> None:
        """A slot found that an input is not whole: it is not here any more, nor with the holder
        whose file it is, too."""
        why, name = outcome.parse_astray(body)
        piece = self._core.slots.held.get(lease)
        given = piece.inputs.get(lease) if piece is not None else None
        for ref in map(outcome.parse_ref, [] if given is None else given.refs()):
            if ref.key == name:
                self._log(why, "input lost")
                lost = [self._results.id]
                if self._results.discard(ref) and ref.holder != self._results.id:
                    lost.append(ref.holder)
                self._core.slots.backlog.arrivals.gone(ref.task, ref.lease)
                self._core.handle(events.Missed(ref, why, lost), now)
                return

    def _log_output(self, lease: int, body: bytes) -> None:
        piece = self._core.slots.held.get(lease)
        if piece is not None:
            self._log.keep_output(show(piece.session, piece.counter(lease)), lease, body)

    def _bury(self, first: Child, now: float) -> None:
        """A process is dead: what its slots answered counts, what they had not read is as good as
        new."""
        crew = self._core.slots[first.number].crew
        how, unread = "", []
        remains: dict[int, bytes] = {}
        for slot in crew.slots:
            number, child = slot.number, self._children[slot.number]
            self._hear_slot(number, child, now)
            mine = self._take_back(child)
            unread += mine
            held, line = self._core.slots.held, slot.line
            at = None if line.first in mine else line.first
            if at is not None:
                remains[at] = self._remains(child, at)
            child.clear({lease: held[lease] for lease in line})
            del self._children[number]
            self._poller.remove(child.pair.fileno())
            if child.is_first:
                self._wards.remove(child.pid)
                child.complain(self._log, last=True)
            child.close()
            why = next((each.ending for each in crew.slots if each.ending is not None), None)
            how = how_it_ended(child.process.returncode, by_us=why is not None)
            by_us = "" if why is None else f"; it was ended: {why.name.lower().replace('_', ' ')}"
            about = {"slot": number, "slot_pid": child.pid, "how": how + by_us, "lease": at}
            self._log(f"slot {number}, process {child.pid}, {how}{by_us}", "slot died", **about)
        self._core.handle(events.SlotExited(crew.number, how, unread, remains), now)

    def _remains(self, child: Child, lease: int) -> bytes:
        """What is left of what a dead slot ran, if it had begun: an outcome without a rest."""
        note = child.slate.read()
        if note.lease != lease:
            return b""
        log = last_words(child.output, note.at)
        remains = outcome.body(note.begun, max(0.0, time.time() - note.begun), log, b"")
        self._log_output(lease, remains)
        return remains

    def _take_back(self, child: Child) -> list[int]:
        """What a slot has not read: the leases of the tasks, oldest first."""
        leases, digests = child.take_back()
        for digest in digests:
            self._core.slots.unlearn(digest, child.number)
        return leases

    def _hand_out(self, turn: events.WorkerTurn, now: float) -> bool:
        """Give slots what they are to run; whether the disk had no room for some of it, which waits
        then, here or elsewhere."""
        stalled = False
        unknown: set[tuple[int, bytes]] = set()
        for number, digest in turn.functions:
            try:
                self._children[number].send_function(self._core.functions[digest])
            except OSError as error:
                if error.errno not in DISK_FULL:
                    raise
                self._core.slots.unlearn(digest, number)
                unknown.add((number, digest))
        for number, piece, low, high in turn.tasks:
            sent = low
            if (number, piece.function) not in unknown:
                inline = self._core.settings.inline_bytes
                env = self._devices_of(number, piece)
                sent = self._children[number].send_tasks(piece, low, high, inline, env)
            if sent < high:
                stalled = True
                reason = f"no room in {self._results.incoming}"
                self._say_stalled(reason)
                leases = list(range(piece.lease + sent, piece.lease + high))
                self._core.handle(events.Stalled(reason, number, leases), now)
        return stalled

    def _devices_of(self, number: int, piece: Piece) -> dict[str, str]:
        """The variables that name the GPUs of what a slot is given. They say already that there are
        none, unless a task brings its own."""
        devices = self._core.slots[number].crew.devices
        return environment_of(devices) if devices or devices == () and piece.options else {}

    def _start(self, number: int, now: float) -> None:
        slots, mark = self._core.slots, self._wards.mark
        try:
            children = Child.start(
                number,
                slots.threads,
                self._results.incoming,
                self._results.id,
                len(slots),
                mark,
                self._memory_max,
                environment_of(()) if slots.feeding.devices else {},
            )
        except OSError as error:  # the machine has no process or descriptor left: for now
            how = f"could not be started: {error.strerror}"
            self._log(f"slot {number} {how}", "slot not started", slot=number)
            self._core.handle(events.SlotExited(number, how, []), now)
            return
        self._wards.add(children[0].pid)
        for child in children:
            if self._log.as_json:
                about = {"slot": child.number, "slot_pid": child.pid}
                self._log(f"slot {child.number}", "slot started", **about)
            self._children[child.number] = child
            self._poller.add(child.pair)

    def _kill(self, number: int, lease: int, now: float) -> None:
        """End what runs `lease`, and nothing else: freeze, look, decide."""
        child = self._children.get(number)
        if child is None or not child.freeze():
            return
        self._hear_slot(number, child, now)
        if self._core.slots[number].line.first != lease:
            self._core.slots.spared(number)
        elif self._core.slots.struck(number, now):
            child.interrupt(lease)
        else:
            child.signal(signal.SIGKILL)
        child.thaw()

    def tend(self, now: float) -> None:
        """Look after what slots write, and after the warden."""
        self._wards.start()
        if now >= self._thin_at:
            self._thin_at = now + THIN_EVERY_S
            for child in self._children.values():
                thin(child.output)
            for child in self._processes():
                child.complain(self._log)

    def close(self) -> None:
        """End them all."""
        for child in self._processes():
            child.signal(signal.SIGKILL)
        for child in self._processes():
            child.process.wait()
            child.complain(self._log, last=True)
        for child in self._children.values():
            child.close()
        self._wards.close()
