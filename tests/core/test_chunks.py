"""The state machine of who fetches: whom it asks for what, and what it makes of the answers."""

from __future__ import annotations

import random
from collections import Counter

from mesh.core.chunks import (
    BUSY_S_MAX,
    BY_ROUTER,
    CHUNKS_MAX,
    RELAYED_CHUNKS,
    REST_S_MAX,
    SILENT_S,
    Chunks,
    Request,
    Way,
)
from mesh.protocol.outcome import Ref
from mesh.protocol.transfer import CHUNK_BYTES, WINDOW_CHUNKS
from mesh.task import key

A, B = "aaaaaaaa", "bbbbbbbb"
TO_A, TO_B = Way(A, "ipc://a"), Way(B, "ipc://b")
PLACES = {A: ["ipc://a"], B: ["ipc://b"]}
PATIENCE_S = 60.0


class Lone:
    """Chunks, and a clock."""

    def __init__(self, *, can_relay: bool = False) -> None:
        self.now = 100.0
        self.chunks = Chunks(PATIENCE_S, random.Random(1).random, can_relay=can_relay)
        self.open: list[Request] = []
        self.asked: Counter[Way] = Counter()
        self._size: dict[int, int] = {}

    def begin(self, chunks: int, *stores: str, number: int = 1) -> int:
        size = chunks * CHUNK_BYTES - 1
        ref = Ref(key("cccccccc", number), 7, 0, size, 0, stores[0].encode())
        token = self.chunks.begin(ref, self.now)
        self._size[token] = size
        self.chunks.place(token, stores, PLACES)
        return token

    def ask(self) -> list[Request]:
        new = list(self.chunks.requests(self.now))
        self.open += new
        self.asked.update(request.way for request in new)
        return new

    def answer(self, request: Request) -> bool:
        if request in self.open:
            self.open.remove(request)
        get = request.get
        total = self._size.get(get.token, 0)
        size = min(CHUNK_BYTES, total - get.offset)
        return self.chunks.take(get.token, request.way, get.offset, size, total, self.now)

    def run(self, *tokens: int) -> None:
        """Until all is there."""
        while not all(self.chunks.is_whole(token) for token in tokens):
            self.ask()
            assert self.open, "nothing is on its way"
            self.answer(self.open[0])


def test_a_window_of_chunks_is_on_its_way_and_each_is_asked_for_once():
    lone = Lone()
    token = lone.begin(20, A)
    assert len(lone.ask()) == WINDOW_CHUNKS
    assert not lone.ask()
    lone.run(token)
    assert lone.asked == {TO_A: 20}


def test_all_fetches_share_the_bound_evenly():
    lone = Lone()
    for number in range(10):
        lone.begin(20, A, number=number)
    counts = Counter(request.get.token for request in lone.ask())
    assert sum(counts.values()) == CHUNKS_MAX
    assert set(counts.values()) <= {CHUNKS_MAX // 10, CHUNKS_MAX // 10 + 1}


def test_what_a_cut_has_interrupted_is_resumed():
    lone = Lone()
    token = lone.begin(20, A)
    for request in lone.ask()[:5]:
        lone.answer(request)
    lone.chunks.cut(TO_A.address, lone.now)
    assert not lone.ask(), "it rests"
    lone.open.clear()
    lone.now = lone.chunks.deadline(lone.now)
    assert len(lone.ask()) == 1, "one shows whether it is there again"
    lone.run(token)
    assert lone.asked == {TO_A: 20 + 3}


def test_who_is_silent_rests_and_another_holder_is_asked():
    lone = Lone()
    token = lone.begin(10, A, B)
    late = lone.ask()
    lone.now += SILENT_S
    assert not lone.chunks.silent(lone.now)
    lone.open.clear()
    assert {request.way for request in lone.ask()} == {TO_B}
    assert lone.answer(late[0]), "what comes late counts"
    lone.run(token)
    assert lone.asked[TO_B] <= 10


def test_who_answers_nothing_for_long_is_tried_ever_more_seldom_until_patience_ends():
    lone = Lone()
    token = lone.begin(10, A)
    tries = 0
    begun = lone.now
    while not (failures := lone.chunks.silent(lone.now)):
        tries += bool(lone.ask())
        lone.now = max(lone.chunks.deadline(lone.now), lone.now)
    assert lone.now - begun == PATIENCE_S
    [(failed, reason, lost)] = failures
    assert (failed, lost) == (token, []) and A in reason
    assert PATIENCE_S / (1.5 * REST_S_MAX + SILENT_S) <= tries <= 20


def test_it_comes_back_to_a_holder_that_answers_again():
    lone = Lone(can_relay=True)
    token = lone.begin(100, A)
    lone.ask()
    lone.chunks.cut(TO_A.address, lone.now)
    lone.open.clear()
    relayed = lone.ask()
    assert {request.way for request in relayed} == {Way(A, BY_ROUTER)}
    assert len(relayed) == RELAYED_CHUNKS
    lone.now += REST_S_MAX
    lone.answer(relayed[0])
    [probe] = [request for request in lone.ask() if request.way == TO_A]
    lone.answer(probe)
    assert {request.way for request in lone.ask()} == {TO_A}
    lone.run(token)


def test_a_way_that_has_failed_is_tried_beside_one_that_has_not_and_remembered():
    """Behind a wall nothing comes, and nobody says so: only the first fetch waits for that."""
    lone = Lone(can_relay=True)
    relayed = Way(A, BY_ROUTER)
    token = lone.begin(1, A)
    lone.ask()
    lone.now += SILENT_S
    assert not lone.chunks.silent(lone.now)
    lone.open.clear()
    for number in range(2, 30):
        [asked] = [request for request in lone.ask() if request.way == relayed]
        assert lone.answer(asked) and lone.chunks.is_whole(token)
        lone.chunks.end(token)
        lone.now += 0.3
        token = lone.begin(1, A, number=number)
        assert not lone.chunks.silent(lone.now)
    assert 1 < lone.asked[TO_A] < 10, "ever more seldom"
    late = [request for request in lone.open if request.way == TO_A][-1]
    assert not lone.answer(late), "nobody waits for it"
    assert {request.way for request in lone.ask()} == {TO_A}, "but the wall has fallen"


def test_what_only_waits_for_room_is_not_relayed():
    lone = Lone(can_relay=True)
    tokens = [lone.begin(20, A, number=number) for number in range(3)]
    for request in lone.ask():
        lone.chunks.busy(request.get.token, request.get.offset, lone.now)
    lone.open.clear()
    assert not lone.ask()
    lone.now += BUSY_S_MAX
    assert {request.way for request in lone.ask()} == {TO_A}
    lone.run(*tokens)
    assert set(lone.asked) == {TO_A}


def test_a_busy_holder_is_asked_later_and_another_at_once():
    lone = Lone()
    lone.begin(20, A, B)
    for request in lone.ask():
        lone.chunks.busy(request.get.token, request.get.offset, lone.now)
    lone.open.clear()
    assert {request.way for request in lone.ask()} == {TO_B}


def test_busy_is_not_away():
    lone = Lone()
    lone.begin(1, A)
    until = lone.now + 3 * PATIENCE_S
    while lone.now < until:
        for request in lone.ask():
            lone.chunks.busy(request.get.token, request.get.offset, lone.now)
        assert not lone.chunks.silent(lone.now)
        lone.now = lone.chunks.deadline(lone.now)


def test_it_is_lost_when_all_who_were_named_say_so():
    lone = Lone()
    token = lone.begin(3, A, B)
    lone.ask()
    lone.chunks.lose(token, A, "no such result", lone.now)
    assert not lone.chunks.silent(lone.now)
    assert {request.way for request in lone.ask()} == {TO_B}
    lone.chunks.lose(token, B, "nor here", lone.now)
    assert lone.chunks.silent(lone.now) == [(token, "no such result", [A, B])]


def test_who_gave_what_is_damaged_is_not_asked_again():
    lone = Lone()
    token = lone.begin(3, A, B)
    lone.run(token)
    lone.chunks.spoiled(token, lone.now)
    lone.run(token)
    assert lone.asked == {TO_A: 3, TO_B: 3}
    lone.chunks.spoiled(token, lone.now)
    [(_, reason, lost)] = lone.chunks.silent(lone.now)
    assert lost == [A, B] and "checksum" in reason


def test_what_is_not_of_its_size_is_lost_there():
    lone = Lone()
    token = lone.begin(3, A)
    [request, *_] = lone.ask()
    get = request.get
    assert not lone.chunks.take(token, TO_A, get.offset, CHUNK_BYTES, 5, lone.now)
    assert lone.chunks.silent(lone.now)[0].lost == [A]


def test_nothing_is_taken_twice_nor_of_a_wrong_length():
    lone = Lone()
    token = lone.begin(3, A)
    [first, *_] = lone.ask()
    size = lone.chunks[token].ref.size
    assert not lone.chunks.take(token, TO_A, first.get.offset, 5, size, lone.now)
    assert lone.answer(first)
    assert not lone.answer(first)
    lone.chunks.end(token)
    assert not lone.answer(first)


def test_what_has_ended_leaves_its_room_to_others():
    lone = Lone()
    tokens = [lone.begin(20, A, number=number) for number in range(8)]
    lone.ask()
    for token in tokens[:4]:
        lone.chunks.end(token)
    assert len(lone.ask()) == CHUNKS_MAX // 2
    assert not lone.chunks.silent(lone.now)


def test_a_process_that_stood_still_blames_nobody():
    lone = Lone()
    lone.begin(20, A)
    lone.ask()
    lone.now += 2 * PATIENCE_S
    lone.chunks.rest(2 * PATIENCE_S)
    assert not lone.chunks.silent(lone.now)
    assert len(lone.chunks.asked) == 1


def test_also_what_is_empty_has_to_be_there():
    lone = Lone()
    ref = Ref(key("cccccccc", 1), 7, 0, 0, 0, A.encode())
    token = lone.chunks.begin(ref, lone.now)
    lone.chunks.place(token, [A], PLACES)
    assert not lone.chunks.is_whole(token)
    lone.run(token)
    assert lone.asked == {TO_A: 1}
