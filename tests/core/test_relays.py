"""What passes through the router: to whom, and never too much of it."""

from __future__ import annotations

from typing import Any

from lone_router import C1, W1, W2, W3, LoneRouter

from mesh.core.events import Gone
from mesh.core.relays import ANSWER_S, ON_WAY_MAX, ON_WAY_TO_ONE_MAX
from mesh.protocol import messages as m
from mesh.protocol import transfer, upload
from mesh.task import key

OTHERS = [f"{letter}" * 8 for letter in "defghijk"]


def get(offset: int = 0) -> bytes:
    return transfer.pack_get(transfer.Get(5, key(C1, 0), 7, 0, offset, transfer.CHUNK_BYTES))


def part() -> bytes:
    return upload.pack_part(upload.Part(6, key(C1, 0), 0, 0, 200))


class Wire(LoneRouter):
    def __init__(self) -> None:
        super().__init__(heartbeat_s=1000.0, lost_after_s=5000.0)
        for name in (C1, W1, W2, W3, *OTHERS):
            self.hello(name)

    def ask(self, who: str, store: str = W1) -> list[tuple[str, Any]]:
        return relayed(self.say(who, m.Relay(store, 0, get(), b"")))

    def send(self, who: str, store: str = W1) -> list[tuple[str, Any]]:
        return relayed(self.say(who, m.Relay(store, 0, part(), b"p" * 100)))

    def answer(self, who: str, number: int) -> list[tuple[str, Any]]:
        head = transfer.pack_chunk(5, 0, 100)
        return relayed(self.say(who, m.Relay("", number, head, b"x" * 100)))

    def read(self, who: str, number: int) -> None:
        assert not self.say(who, m.Relay("", number, b"", b""))


def relayed(answers: list) -> list[tuple[str, Any]]:
    return [(name, message) for name, message in answers if type(message) is m.Relay]


def ops(answers: list[tuple[str, Any]]) -> list[tuple[str, int]]:
    return [(name, message.head[0]) for name, message in answers]


def test_a_request_and_its_answer_pass_as_they_are():
    wire = Wire()
    for asker in (C1, W2):
        [(holder, passed)] = wire.ask(asker)
        assert (holder, passed.store, passed.head) == (W1, "", get())
        [(back, answer)] = wire.answer(W1, passed.number)
        assert (back, answer.store, answer.content) == (asker, W1, b"x" * 100)
        assert answer.head == transfer.pack_chunk(5, 0, 100)
        wire.read(asker, answer.number)
        assert not wire.core.relays


def test_a_part_passes_to_a_store_and_is_answered():
    wire = Wire()
    [(holder, passed)] = wire.send(C1)
    assert (holder, passed.store, passed.head, passed.content) == (W1, "", part(), b"p" * 100)
    held = upload.pack_answer(upload.HELD, 6, 0)
    [(back, answer)] = relayed(wire.say(W1, m.Relay("", passed.number, held, b"")))
    assert (back, answer.store, answer.head) == (C1, W1, held)
    wire.read(C1, answer.number)
    assert not wire.core.relays


def test_a_part_that_does_not_come_through_is_sent_back_to_be_sent_again():
    wire = Wire()
    assert [each.head for _, each in wire.send(C1, "zzzzzzzz")] == [
        upload.pack_answer(upload.AWAY, 6, 0)
    ]
    for _ in range(ON_WAY_TO_ONE_MAX):
        wire.send(C1)
    assert [each.head for _, each in wire.send(C1)] == [upload.pack_answer(upload.BUSY, 6, 0)]


def test_a_worker_sends_no_parts():
    wire = Wire()
    assert not wire.send(W2)
    assert not wire.core.relays


def test_a_part_takes_room_for_as_long_as_its_worker_may_not_have_read_it():
    wire = Wire()
    wire.send(C1)
    wire.tick(ANSWER_S + 1)
    assert wire.core.relays
    wire.tick(5000.0)
    assert not wire.core.relays


def test_a_store_that_is_not_there_is_away():
    wire = Wire()
    assert ops(wire.ask(C1, "zzzzzzzz")) == [(C1, transfer.AWAY)]
    wire.do(Gone(W1.encode()))
    [(asker, message)] = wire.ask(C1)
    assert transfer.parse_reply(message.head) == (transfer.AWAY, 5, 0, 0)
    assert (asker, message.store, message.number) == (C1, W1, 0)


def test_so_many_are_on_their_way_to_one_until_it_has_read_them():
    wire = Wire()
    numbers = [wire.ask(C1)[0][1].number for _ in range(ON_WAY_TO_ONE_MAX)]
    assert ops(wire.ask(C1)) == [(C1, transfer.BUSY)]
    wire.answer(W1, numbers[0])
    assert ops(wire.ask(C1)) == [(C1, transfer.BUSY)], "it may lie in this process still"
    wire.read(C1, numbers[0])
    assert ops(wire.ask(C1)) == [(W1, transfer.GET)]


def test_so_many_are_on_their_way_in_all():
    wire = Wire()
    asked = [wire.ask(who) for who in OTHERS for _ in range(ON_WAY_TO_ONE_MAX)]
    counts = [ops(each)[0][1] for each in asked]
    assert counts.count(transfer.GET) == ON_WAY_MAX == len(wire.core.relays)
    assert counts.count(transfer.BUSY) == len(counts) - ON_WAY_MAX


def test_only_who_was_asked_answers_and_once():
    wire = Wire()
    [(_, passed)] = wire.ask(C1)
    assert not wire.answer(W2, passed.number)
    assert not wire.answer(W1, passed.number + 1)
    assert wire.answer(W1, passed.number)
    assert not wire.answer(W1, passed.number)
    wire.read(W2, passed.number)
    assert len(wire.core.relays) == 1, "who has not asked has read nothing"


def test_who_is_gone_leaves_nothing():
    wire = Wire()
    wire.ask(C1)
    wire.do(Gone(C1.encode()))
    assert not wire.core.relays
    wire.ask(W2)
    [(asker, message)] = relayed(wire.do(Gone(W1.encode())))
    assert (asker, message.head[0]) == (W2, transfer.AWAY)
    assert not wire.core.relays


def test_a_holder_that_does_not_answer_takes_no_room_for_ever():
    wire = Wire()
    for _ in range(ON_WAY_TO_ONE_MAX):
        wire.ask(C1)
    wire.tick(ANSWER_S)
    assert not wire.core.relays


def test_what_is_no_request_is_not_passed_on():
    wire = Wire()
    assert not relayed(wire.say(C1, m.Relay(W1, 0, b"garbage", b"")))
    assert not relayed(wire.say(C1, m.Relay("", 77, b"garbage", b"")))
