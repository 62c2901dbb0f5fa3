"""The router's shell: a store whose commits come later, and in order."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from mesh.core.events import (
    Committed,
    Found,
    Garbled,
    Gone,
    Heard,
    Slice,
    Stalled,
)
from mesh.core.ledger import RECORD
from mesh.core.router import RouterCore
from mesh.protocol import messages as m
from mesh.protocol.codec import DecodeError, decode
from mesh.protocol.inputs import split
from mesh.protocol.outcome import parse, with_store
from mesh.store.records import Records
from mesh.task import Kind, key, show, unkey

from .wire import Frames, name_of
from .words import describe, describe_write

if TYPE_CHECKING:
    from .world import World


BIRTH = b"0123456789abcdef"


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
