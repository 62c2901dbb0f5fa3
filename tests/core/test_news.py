"""What a client is told, and what happens when it does not read."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from lone_router import C1, W1, LoneRouter

from mesh.core.events import Committed, Found
from mesh.core.ledger import RECORD
from mesh.core.news import NEWS_BYTES_MAX, NEWS_WINDOW_BYTES, PAGE_TASKS, News
from mesh.protocol import messages as m
from mesh.task import Kind

BODY = bytes(4096)

#: More of these than a window holds.
MANY = 3 * NEWS_WINDOW_BYTES // len(BODY)


def told(sent: list) -> list[int]:
    """The tasks of which a client hears."""
    return [
        counter
        for who, message in sent
        if who == C1 and type(message) is m.Outcomes
        for run in message.runs
        for counter in run[1]
    ]


class Store:
    """Answers the router's lookups as the store would."""

    def __init__(self, lone: LoneRouter) -> None:
        self.lone = lone
        self.asked: list[int] = []

    def answer(self) -> list[int]:
        """Of which tasks is the client told now?"""
        heard: list[int] = []
        while self.lone.lookups:
            token, what, spans = self.lone.lookups.pop(0)
            assert what == "outcomes"
            counters = [c for _, first, count in spans for c in range(first, first + count)]
            self.asked.append(len(counters))
            record = RECORD.pack(Kind.VALUE, 7, W1.encode()) + BODY
            heard += told(self.lone.do(Found(token, [(C1, c, record, None) for c in counters])))
        return heard


def finish_all(lone: LoneRouter, count: int) -> list[int]:
    """Have `count` tasks run while the client does not read; of which it is told."""
    heard: list[int] = []
    for first in range(0, count, 256):
        size = min(256, count - first)
        lone.submit(C1, first, size)
        held = lone.core.fleet.workers[W1].held
        leases, counters = list(held), [block.first + i for block, i, _ in held.values()]
        ended = [C1, counters, leases, bytes([Kind.VALUE]) * size, [BODY] * size]
        heard += told(lone.say(W1, m.Done([ended], 256)))
        lone.do(Committed(lone.ticket))
    return heard


def test_who_does_not_read_is_sent_a_window_and_hears_the_rest_as_it_reads_on():
    lone = LoneRouter()
    lone.hello(C1)
    lone.hello(W1, about={"slots": 256, "window": 256})
    store = Store(lone)

    heard = finish_all(lone, MANY)

    on_way = len(heard) * len(BODY)
    assert NEWS_WINDOW_BYTES - NEWS_BYTES_MAX <= on_way <= NEWS_WINDOW_BYTES + NEWS_BYTES_MAX
    assert lone.lookups == [], "and until it reads, the store is not asked either"

    peer = lone.core.peers.by_who["client", C1]
    while len(heard) < MANY:
        lone.say(C1, m.Beat(), ack=peer.link.sent)
        before = len(heard)
        heard += store.answer()
        assert len(heard) > before, "it reads, and hears nothing"
    assert sorted(heard) == list(range(MANY)), "each once"
    assert max(store.asked) <= PAGE_TASKS + 256
    lone.say(C1, m.Beat(), ack=peer.link.sent)
    assert not lone.core.peers.behind and not lone.lookups


def test_who_reads_is_told_at_once_and_the_store_is_never_asked():
    lone = LoneRouter()
    lone.hello(C1)
    lone.hello(W1, about={"slots": 256, "window": 256})
    peer = lone.core.peers.by_who["client", C1]
    heard: list[int] = []

    for _ in range(3):
        lone.say(C1, m.Beat(), ack=peer.link.sent)
        first = len(heard)
        lone.submit(C1, first, 256)
        held = lone.core.fleet.workers[W1].held
        ended = [C1, list(range(first, first + 256)), list(held), bytes(256), [BODY] * 256]
        heard += told(lone.say(W1, m.Done([ended], 256)))

    assert heard == list(range(3 * 256)) and not lone.lookups


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 3000), st.integers(1, 700))))
def test_what_is_owed_comes_out_once_and_whole(spans: list[tuple[str, int, int]]):
    news = News()
    wanted = {(s, c) for s, first, count in spans for c in range(first, first + count)}
    for session, first, count in spans:
        news.owe(session, range(first, first + count))

    taken: list[tuple[str, int]] = []
    while news.is_behind:
        page = [(s, c) for s, first, count in news.take_owed() for c in range(first, first + count)]
        assert 0 < len(page) < PAGE_TASKS + 256
        taken += page

    assert len(taken) == len(set(taken)) and set(taken) == wanted
