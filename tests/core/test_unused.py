"""Functions that no task calls any more are forgotten, and no other."""

from __future__ import annotations

from typing import Any

from lone_router import C1, W1
from test_pruning import LOST_AFTER_S, Mesh

from mesh.client.outbox import INTRODUCED_MAX, Outbox
from mesh.core.events import Stalled
from mesh.core.unused import BLOCKS_MAX, IDLE_S
from mesh.protocol import messages as m
from mesh.protocol.functions import Packed
from mesh.protocol.messages import FUNCTION_KNOWN_S
from mesh.protocol.outcome import body
from mesh.task import Kind

OLD, NEW = b"o" * 16, b"n" * 16


class Calling(Mesh):
    """A mesh whose client calls several functions."""

    def send(self, function: bytes) -> None:
        self.say(C1, m.Function(function, "sim:f", b"code", b"V"))
        self.store()

    def call(self, function: bytes, *, ends: bool = True) -> None:
        """A task of it is submitted, and ends or runs on."""
        first, self.next = self.next, self.next + 1
        self.say(C1, m.Submit([[first, function, {}, None, 0, [b"x"], None, None, None]]))
        self.store()
        held = self.core.fleet.workers[W1].held
        leases = [lease for lease, (block, _, _) in held.items() if block.first == first]
        if ends:
            raw = body(1.0, 1.0, b"", b"v")
            self.say(W1, m.Done([[C1, [first], leases, bytes([Kind.VALUE]), [raw]]], 300))
            self.store()

    def age(self, seconds: float) -> None:
        """Time passes; nobody is silent for too long."""
        end = self.now + seconds
        while self.now < end:
            self.read()
            self.say(W1, m.Beat())
            self.tick(LOST_AFTER_S / 2)
            self.store()

    @property
    def functions(self) -> set[bytes]:
        """Those that memory knows: no others than the store."""
        assert self.records.restore().functions == self.core.ledger.functions
        return set(self.core.ledger.functions)


def test_a_function_goes_when_no_block_refers_to_it_and_nobody_speaks_of_it():
    mesh = Calling(ttl_s=100.0)
    mesh.send(OLD)
    mesh.call(OLD)
    mesh.send(NEW)

    mesh.age(IDLE_S - 100)
    assert mesh.functions == {OLD, NEW}, "tasks of it may be on their way"
    for _ in range(2):
        mesh.call(NEW)
        mesh.age(IDLE_S - 100)

    assert mesh.functions == {NEW}
    assert OLD not in mesh.core.fleet.workers[W1].functions
    mesh.age(2 * IDLE_S)
    assert mesh.functions == set()
    mesh.send(NEW)
    mesh.call(NEW)
    assert mesh.done == 1 and mesh.functions == {NEW}


def test_it_stays_while_a_block_refers_to_it():
    mesh = Calling()
    for function in (OLD, NEW):
        mesh.send(function)
    mesh.call(OLD)
    mesh.call(NEW, ends=False)

    mesh.age(4 * IDLE_S)

    assert mesh.functions == {OLD, NEW}


def test_all_blocks_are_looked_at_however_many():
    mesh = Calling()
    mesh.send(NEW)
    mesh.send(OLD)
    for _ in range(2 * BLOCKS_MAX):
        mesh.call(NEW)
    mesh.call(OLD)

    mesh.age(3 * IDLE_S)

    assert mesh.functions == {OLD, NEW}


def test_what_is_called_while_it_is_looked_for_stays():
    mesh = Calling()
    mesh.send(OLD)
    mesh.core.unused.tick(mesh.now + IDLE_S + 1)
    mesh.settle()
    assert mesh.lookups[-1][1] == "functions"

    mesh.say(C1, m.Submit([[0, OLD, {}, None, 0, [b"x"], None, None, None]]))
    mesh.store()

    assert mesh.functions == {OLD} and mesh.core.ledger.blocks.find(C1, 0) is not None


def test_while_nothing_can_be_recorded_nothing_goes():
    mesh = Calling()
    mesh.send(OLD)
    mesh.age(IDLE_S - 100)
    mesh.do(Stalled("the disk is full"))
    mesh.core.unused.tick(mesh.now)
    mesh.core.stall.end()

    mesh.age(IDLE_S - 100)
    assert mesh.functions == {OLD}
    mesh.age(2 * IDLE_S)
    assert mesh.functions == set()


def test_a_client_sends_a_function_again_that_it_has_not_used_for_long(monkeypatch: Any):
    now = 0.0
    monkeypatch.setattr("mesh.client.outbox.time.monotonic", lambda: now)
    outbox = Outbox(lambda: None, 1.0)

    def sent(digest: bytes) -> bool:
        outbox.add(Packed(digest, "f", b"c", b"V"), {}, b"x", b"", None, None, lambda counter: None)
        return any(type(message) is m.Function for message, _ in outbox.take())

    assert [sent(OLD), sent(OLD)] == [True, False]
    now += FUNCTION_KNOWN_S
    assert not sent(OLD)
    now += FUNCTION_KNOWN_S + 1
    assert [sent(OLD), sent(OLD)] == [True, False]
    for n in range(INTRODUCED_MAX):
        assert sent(n.to_bytes(16, "big"))
    assert sent(OLD) and len(outbox._introduced) <= INTRODUCED_MAX
