"""The client's core: what it sends, what it waits for, and what it thinks of silence."""

from __future__ import annotations

from typing import Any

import pytest

from mesh.core.client import ACK_AFTER_S, HELLO_AGAIN_S, PAGE_TASKS, ClientCore, pages
from mesh.core.events import Connected, Cut, RouterHeard, Tick
from mesh.protocol import messages as m
from mesh.protocol.link import Envelope

SETTINGS = {"heartbeat_s": 2.0}


class LoneClient:
    """A client's core alone; the router is whoever calls `hear`."""

    def __init__(self, router_timeout_s: float = 60.0) -> None:
        self.now = 1000.0
        self.core = ClientCore("cccccccc", b"1", router_timeout_s, self.now)
        self.number = 0

    def turn(self, event: Any = None) -> Any:
        if event is not None:
            self.core.handle(event, self.now)
        return self.core.settle(self.now)

    def hear(self, message: m.Message, *, ack: int = 0, session: int | None = None) -> Any:
        self.number += message.SEQUENCED
        session = self.core.link.session if session is None else session
        return self.turn(RouterHeard(Envelope(session, self.number, ack, message)))

    def welcome(self, birth: bytes = b"b") -> Any:
        self.number = 0
        return self.hear(m.Welcome("mesh", birth, 1, 1, SETTINGS))

    def tick(self, seconds: float) -> Any:
        self.now += seconds
        return self.turn(Tick())


def joined(**options: float) -> LoneClient:
    lone = LoneClient(**options)
    lone.turn(Connected())
    lone.welcome()
    return lone


def sent(turn: Any) -> list[m.Message]:
    return [envelope.message for envelope in turn.sends]


def order(number: int) -> m.Group:
    return m.Group(number, 1, None)


# -- sending ---------------------------------------------------------------------------------


def test_nothing_is_said_before_the_welcome_but_hello():
    lone = LoneClient()
    lone.core.send(order(0), 10, lone.now)

    assert sent(lone.turn()) == []
    assert [type(message) for message in sent(lone.turn(Connected()))] == [m.Hello]
    assert sent(lone.welcome()) == [order(0)]


def test_hello_is_said_again_until_it_is_answered():
    lone = LoneClient()
    lone.turn(Connected())

    assert sent(lone.tick(HELLO_AGAIN_S / 2)) == []
    assert [type(message) for message in sent(lone.tick(HELLO_AGAIN_S))] == [m.Hello]


def test_without_a_connection_it_does_not_say_hello():
    lone = LoneClient()

    assert sent(lone.tick(10 * HELLO_AGAIN_S)) == []


def test_what_was_not_recorded_is_sent_again_in_order_before_what_is_new():
    lone = joined()
    for number in range(3):
        lone.core.send(order(number), 10, lone.now)
    lone.hear(m.Beat(), ack=1)
    lone.turn(Cut())
    lone.core.send(order(3), 10, lone.now)

    lone.turn(Connected())

    assert sent(lone.welcome()) == [order(1), order(2), order(3)]


def test_what_is_recorded_is_released_once():
    lone = joined()
    for number in range(3):
        lone.core.send(order(number), 10, lone.now)

    assert lone.hear(m.Beat(), ack=2).recorded_bytes == 20
    assert lone.hear(m.Beat(), ack=2).recorded_bytes == 0
    assert lone.core.unrecorded
    assert lone.hear(m.Beat(), ack=3).recorded_bytes == 10
    assert not lone.core.unrecorded


def test_an_acknowledgement_of_an_older_session_releases_nothing():
    lone = joined()
    lone.core.send(order(0), 10, lone.now)
    old = lone.core.link.session
    lone.turn(Connected())
    lone.welcome()

    assert lone.hear(m.Beat(), ack=1, session=old).recorded_bytes == 0
    assert lone.hear(m.Beat(), ack=1).recorded_bytes == 10


def test_an_acknowledgement_that_comes_with_a_gap_is_not_forgotten():
    lone = joined()
    lone.core.send(order(0), 10, lone.now)
    lone.turn()

    lone.number += 1  # a message is lost
    turn = lone.hear(m.Tell(9, None, None), ack=1)

    assert turn.recorded_bytes == 10
    assert [type(message) for message in sent(turn)] == [m.Hello]


def test_a_question_is_asked_again_until_it_is_answered():
    lone = joined()
    lone.core.send(m.Ask(1, "status", {}), 0, lone.now)
    lone.core.send(m.Ask(2, "status", {}), 0, lone.now)
    lone.hear(m.Beat(), ack=2)
    assert lone.hear(m.Tell(1, None, "fine")).answers == [(1, None, "fine")]

    lone.turn(Connected())

    assert sent(lone.welcome()) == [m.Ask(2, "status", {})]
    lone.hear(m.Tell(2, None, "fine"))
    lone.turn(Connected())
    assert sent(lone.welcome()) == []


@pytest.mark.parametrize("sent_before", [False, True])
def test_a_question_that_nobody_waits_for_any_more_is_not_asked_later(sent_before: bool):
    lone = joined()
    if not sent_before:
        lone.turn(Cut())
    lone.core.send(m.Ask(1, "stop", {}), 0, lone.now)
    lone.core.send(m.Ask(2, "status", {}), 0, lone.now)

    lone.core.forget(1)
    lone.turn(Connected())

    assert sent(lone.welcome()) == [m.Ask(2, "status", {})]
    assert lone.hear(m.Tell(1, None, "late")).answers == [(1, None, "late")]


def test_spans_are_cut_into_pages_that_the_router_takes():
    spans = [
        ("a" * 8, 0, PAGE_TASKS - 1),
        ("b" * 8, 7, 3),
        ("c" * 8, 0, 0),
        ("d" * 8, 0, PAGE_TASKS),
    ]

    found = list(pages(spans))

    assert found == [
        [["a" * 8, 0, PAGE_TASKS - 1], ["b" * 8, 7, 1]],
        [["b" * 8, 8, 2], ["d" * 8, 0, PAGE_TASKS - 2]],
        [["d" * 8, PAGE_TASKS - 2, 2]],
    ]
    assert list(pages([])) == []


# -- hearing ---------------------------------------------------------------------------------


def test_news_are_handed_on_in_order():
    lone = joined()

    news = lone.hear(m.Outcomes([["cccccccc", [1, 2], b"\0\2", [b"v", b"f"]]])).news
    known = lone.hear(
        m.Known([["cccccccc", 3, "dddddddd", 7, 1], ["eeeeeeee", 4, "dddddddd", 8, 0]])
    ).known

    assert news == [("cccccccc", [1, 2], b"\0\2", [b"v", b"f"])]
    assert known == [
        ("cccccccc", 3, "dddddddd", 7, True),
        ("eeeeeeee", 4, "dddddddd", 8, False),
    ]


def test_news_are_acknowledged_though_nothing_is_to_be_said():
    lone = joined()
    lone.hear(m.Outcomes([]))

    [beat] = lone.tick(2 * ACK_AFTER_S).sends

    assert (type(beat.message), beat.ack) == (m.Beat, 1)


def test_a_second_welcome_asks_to_watch_and_another_birth_is_told():
    lone = joined()

    lone.turn(Connected())
    again = lone.welcome()
    lone.turn(Connected())
    reborn = lone.welcome(b"another")

    assert (again.welcomed, again.reborn) == (True, False)
    assert (reborn.welcomed, reborn.reborn) == (True, True)


def test_settings_of_a_newer_router_are_taken_as_far_as_they_are_known():
    lone = LoneClient()
    lone.turn(Connected())

    lone.hear(m.Welcome("mesh", b"b", 1, 1, {"heartbeat_s": 0.5, "colour": "blue"}))

    assert lone.core.settings.heartbeat_s == 0.5


# -- silence ---------------------------------------------------------------------------------


def test_silence_is_suspected_once_and_then_forgiven():
    lone = joined()

    told = [lone.tick(0.5).suspected_s for _ in range(40)]
    assert [seconds for seconds in told if seconds is not None] == [pytest.approx(5.5)]

    lone.hear(m.Beat())
    told = [lone.tick(0.5).suspected_s for _ in range(40)]
    assert len([seconds for seconds in told if seconds is not None]) == 1


def test_silence_that_lasts_is_the_end():
    lone = joined(router_timeout_s=60.0)

    assert lone.tick(59).gone_s is None
    assert lone.tick(2).gone_s == pytest.approx(61)


def test_a_router_that_is_not_there_is_missed_too():
    lone = LoneClient(router_timeout_s=5.0)

    assert lone.tick(6).gone_s == pytest.approx(6)


def test_time_in_which_the_client_did_not_read_does_not_count():
    lone = joined(router_timeout_s=60.0)
    lone.now += 300

    lone.core.rest(300)

    assert lone.turn(Tick()).gone_s is None


def test_the_idle_say_that_they_are_alive_however_often_they_are_woken():
    lone = joined()
    beats = 0

    for _ in range(10_000):
        due = lone.core.deadline(lone.now)
        lone.now += 0.001
        turn = lone.turn(Tick() if lone.now >= due else None)
        beats += sum(type(message) is m.Beat for message in sent(turn))

    assert 3 <= beats <= 6
