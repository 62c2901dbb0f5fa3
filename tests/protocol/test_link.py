"""The link: what makes messages certain."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.protocol import messages as m
from mesh.protocol.link import Envelope, Gap, Link


def pair() -> tuple[Link, Link]:
    """A dialling side and a router's, their first session open."""
    peer, router = Link(keeps=True), Link(keeps=False)
    peer.open()
    router.open(peer.session)
    return peer, router


def order(number: int) -> m.Kill:
    return m.Kill([number])


def test_messages_are_numbered_from_one_and_beats_are_not():
    peer, _ = pair()

    sent = [peer.stamp(each) for each in (order(0), m.Beat(), order(1), m.Beat())]

    assert [envelope.sequence for envelope in sent] == [1, 1, 2, 2]
    assert {envelope.session for envelope in sent} == {1}


def test_a_message_is_taken_once():
    peer, router = pair()
    envelope = peer.stamp(order(0))

    assert router.accept(envelope)
    assert not router.accept(envelope)
    assert router.received == 1


def test_a_missing_message_is_a_gap_and_changes_nothing():
    peer, router = pair()
    peer.stamp(order(0))

    with pytest.raises(Gap):
        router.accept(peer.stamp(order(1)))

    assert router.received == 0


def test_a_lost_tail_is_noticed_by_the_next_beat():
    peer, router = pair()
    router.accept(peer.stamp(order(0)))
    peer.stamp(order(1))

    with pytest.raises(Gap):
        router.accept(peer.stamp(m.Beat()))


def test_an_error_in_no_session_is_heard_by_the_dialling_side_alone():
    peer, router = pair()
    error = m.Error("MeshError", "not understood")

    assert peer.accept(Envelope(0, 0, 0, error))
    assert not router.accept(Envelope(0, 0, 0, error))
    assert not peer.accept(Envelope(0, 0, 0, m.Beat()))
    assert not peer.accept(Envelope(7, 0, 0, error))


def test_what_is_acknowledged_is_let_go():
    peer, router = pair()
    for number in range(3):
        router.accept(peer.stamp(order(number)))

    router.record(2)
    peer.accept(router.stamp(m.Beat()))

    assert [number for number, _ in peer.unacked] == [3]


def test_an_acknowledgement_means_recorded_not_received():
    peer, router = pair()
    router.accept(peer.stamp(order(0)))

    peer.accept(router.stamp(m.Beat()))

    assert len(peer.unacked) == 1


def test_an_acknowledgement_never_goes_back():
    _, router = pair()

    router.record(5)
    router.record(3)

    assert router.recorded == 5


def test_an_acknowledgement_is_owed_until_something_carries_it():
    peer, router = pair()
    router.accept(peer.stamp(order(0)))
    assert not router.owes_ack

    router.record(1)
    assert router.owes_ack

    router.stamp(order(0))
    assert not router.owes_ack


def test_a_repeated_message_still_brings_its_acknowledgement():
    peer, router = pair()
    router.accept(peer.stamp(order(0)))
    first = router.stamp(order(0))
    peer.accept(first)

    assert not peer.accept(Envelope(first.session, first.sequence, 1, first.message))

    assert not peer.unacked


def test_the_dialling_side_sends_again_what_was_not_acknowledged():
    peer, router = pair()
    for number in range(3):
        router.accept(peer.stamp(order(number)))
    router.record(1)
    peer.accept(router.stamp(m.Beat()))

    again = peer.open()

    assert again == [order(1), order(2)]
    assert peer.session == 2
    assert [peer.stamp(each).sequence for each in again] == [1, 2]


def test_the_router_keeps_nothing_for_a_peer():
    _, router = pair()

    router.stamp(order(0))

    assert not router.unacked
    assert router.open(2) == []


def test_a_message_of_an_older_session_is_fenced():
    peer, router = pair()
    late, late_answer = peer.stamp(order(0)), router.stamp(order(0))
    peer.open()
    router.open(peer.session)
    peer.stamp(order(1))

    assert not router.accept(late)
    assert not peer.accept(Envelope(late_answer.session, late_answer.sequence, 9, order(0)))

    assert router.received == 0
    assert len(peer.unacked) == 1, "nor does its acknowledgement count"


MOVES = ["send", "carry", "carry", "record", "answer", "hear", "lose", "repeat", "reopen"]


@given(st.lists(st.sampled_from(MOVES), max_size=60))
def test_whatever_the_wire_does_nothing_is_let_go_that_is_not_recorded(moves: list[str]):
    # Given a wire that loses, repeats and delivers late
    peer, router = pair()
    there: deque[Envelope] = deque()
    back: deque[Envelope] = deque()
    sent = 0
    taken: list[int] = []
    recorded: set[int] = set()

    def reopen() -> None:
        there.extend([peer.stamp(each) for each in peer.open()])
        router.open(peer.session)
        taken.clear()

    def carry() -> None:
        envelope = there.popleft()
        try:
            if router.accept(envelope):
                taken.append(envelope.message.leases[0])
        except Gap:
            reopen()

    # When orders are sent over it
    for move in moves:
        if move == "send":
            there.append(peer.stamp(order(sent)))
            sent += 1
        elif move == "carry" and there:
            carry()
        elif move == "record":
            router.record(router.received)
            recorded.update(taken)
        elif move == "answer":
            back.append(router.stamp(m.Beat()))
        elif move == "hear" and back:
            peer.accept(back.popleft())
        elif move == "lose":
            (there or back or deque([None])).popleft()
        elif move == "repeat" and there:
            there.append(there[0])
        elif move == "reopen":
            reopen()

        # Then what the peer lets go of is recorded, and what is taken came in order, once
        kept = {message.leases[0] for _, message in peer.unacked}
        assert set(range(sent)) - kept <= recorded
        assert taken == sorted(set(taken))

    reopen()
    while there:
        carry()
    assert set(taken) | recorded == set(range(sent))
