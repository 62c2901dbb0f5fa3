"""The router's core where it meets single peers: links, silence, acknowledgements, bad input."""

from __future__ import annotations

from typing import Any

import pytest
import shapes
from fakes.wire import on_wire
from fakes.world import World
from hypothesis import given
from hypothesis import strategies as st
from lone_router import C1, W1, W2, F, LoneRouter

from mesh.core import rights
from mesh.core.events import Committed, Found, Garbled, Gone, Tick
from mesh.core.intake import Answers
from mesh.core.ledger import RECORD
from mesh.core.news import NEWS_BYTES_MAX
from mesh.core.peers import ACK_DELAY_S
from mesh.protocol import messages as m
from mesh.protocol.link import Envelope
from mesh.protocol.outcome import body
from mesh.task import Kind, key


def kinds(sent: list) -> list[tuple[str, type]]:
    return [(name, type(message)) for name, message in sent]


# -- greetings -------------------------------------------------------------------------------


def test_who_was_never_greeted_is_asked_to_say_hello():
    lone = LoneRouter()

    sent = lone.heard("x", Envelope(7, 3, 0, m.Beat()))

    assert kinds(sent) == [("x", m.Resync)]
    assert lone.sent[0][1].session == 7, "else it would not be taken"


def test_a_greeting_that_comes_twice_is_answered_twice_and_changes_nothing():
    lone = LoneRouter()
    lone.hello(C1)
    lone.submit(C1, 0)

    assert kinds(lone.hello(C1)) == [(C1, m.Welcome)]

    lone.numbers[C1] = [1, 2]
    assert lone.say(C1, m.Beat()) == [], "the link goes on"


def test_a_late_copy_of_an_older_greeting_is_nothing():
    lone = LoneRouter()
    lone.hello(C1, session=5, id="new")

    assert lone.hello(C1, session=4, id="old") == []

    assert [peer.id for peer in lone.core.peers.by_id.values()] == [b"new"]


def test_a_newer_greeting_replaces_the_connection():
    lone = LoneRouter()
    lone.hello(C1, session=1, id="a")
    lone.hello(C1, session=2, id="b")

    assert kinds(lone.heard("a", Envelope(1, 1, 0, m.Ask(1, "status", {})))) == [("a", m.Resync)]
    assert kinds(lone.say("b", m.Ask(1, "status", {}))) == [("b", m.Tell)]


def test_a_session_belongs_to_the_process_that_began_it():
    lone = LoneRouter()
    lone.hello(C1)

    [(_, error)] = lone.hello(C1, id="thief", incarnation=b"2")

    assert (error.kind, "thief" in lone.core.peers.by_id) == ("SessionTaken", False)


@pytest.mark.parametrize(
    "fields",
    [
        {"version_min": m.VERSION_MAX + 1, "version_max": m.VERSION_MAX + 2},
        {"version_min": m.VERSION_MIN - 1, "version_max": m.VERSION_MIN - 1},
        {"role": "broker"},
        {"who": "short"},
        {"who": "ünïcödé!"},
    ],
    ids=str,
)
def test_a_greeting_that_cannot_be_taken_is_told_why_and_leaves_nothing(fields: dict[str, Any]):
    lone = LoneRouter()

    sent = lone.hello(C1, **fields)

    assert kinds(sent) == [(C1, m.Error)]
    assert not lone.core.peers.by_id and not lone.core.fleet.workers


def test_a_worker_of_another_python_is_refused_with_the_next_step():
    lone = LoneRouter()
    lone.core.peers.runs = {"python": "3.11.2"}
    about = {"slots": 1, "window": 1, "versions": {"python": "3.12.1"}}

    [(_, error)] = lone.hello(W1, about=about)

    assert error.kind == "VersionMismatch" and not lone.core.fleet.workers
    assert "runs Python 3.11 (3.11.2 at its router), and you run 3.12.1" in error.text
    assert "Start this one with Python 3.11" in error.text
    # Also if it asks for what its key does not let it be: `mesh doctor` on a worker's host does.
    hello = m.Hello("client", C1, b"1", m.VERSION_MIN, m.VERSION_MAX, about, [])
    asked = rights.refusal(hello, None, "worker", lone.core.peers.runs)
    assert asked is not None and (asked.kind, asked.text) == (error.kind, error.text)
    about["versions"] = {"python": "3.11.9"}
    assert m.Welcome in [type(message) for _, message in lone.hello(W1, about=about)]
    asked = rights.refusal(hello, None, "worker", lone.core.peers.runs)
    assert asked is not None and asked.kind == "AccessDenied"


def test_a_client_of_another_python_may_look_and_submits_nothing():
    lone = LoneRouter()
    lone.core.peers.runs = {"python": "3.11.2"}
    assert kinds(lone.hello(C1, about={"versions": {"python": "3.9.7"}})) == [(C1, m.Welcome)]

    assert kinds(lone.say(C1, m.Ask(1, "status", {}))) == [(C1, m.Tell)]
    for message in (
        m.Function(F, "sim:f", b"code", b"V"),
        m.Submit([[0, F, {}, None, 0, [b"x"], None, None, None]]),
        m.Put([[1, bytes([Kind.VALUE]), b"x", 0]]),
    ):
        [(_, error)] = lone.say(C1, message)
        assert (type(error), error.kind) == (m.Error, "VersionMismatch")
    assert not sum(lone.core.ledger.counts) and not lone.core.ledger.functions


def test_garbage_is_answered_and_forgotten():
    lone = LoneRouter()

    [(name, error)] = lone.do(Garbled(b"x", "not msgpack"))

    assert (name, error.text) == ("x", "not understood: not msgpack")
    assert not lone.core.peers.by_id


# -- acknowledgements ------------------------------------------------------------------------


def test_nothing_is_acknowledged_before_it_is_committed():
    lone = LoneRouter()
    lone.hello(C1)
    lone.submit(C1, 0)

    assert lone.tick(1) == []

    lone.do(Committed(lone.ticket))
    lone.tick(2 * ACK_DELAY_S)
    assert [envelope.ack for _, envelope in lone.sent] == [2]


def test_what_needs_no_disk_is_acknowledged_with_what_was_before_it():
    lone = LoneRouter()
    lone.hello(C1)
    lone.submit(C1, 0)

    lone.say(C1, m.Ask(1, "status", {}))
    assert [envelope.ack for _, envelope in lone.sent] == [0]

    lone.do(Committed(lone.ticket))
    lone.tick(2 * ACK_DELAY_S)
    assert [envelope.ack for _, envelope in lone.sent] == [3]


def test_an_acknowledgement_rides_on_the_next_message():
    lone = LoneRouter()
    lone.hello(C1)
    lone.submit(C1, 0)
    lone.do(Committed(lone.ticket))

    lone.say(C1, m.Ask(1, "status", {}))

    assert [(type(e.message), e.ack) for _, e in lone.sent] == [(m.Tell, 2)]


def test_what_was_heard_in_one_session_is_not_acknowledged_in_the_next():
    lone = LoneRouter()
    lone.hello(C1)
    lone.submit(C1, 0)
    ticket = lone.ticket

    # The same connection opens a new session, in which nothing was said yet.
    lone.hello(C1, session=2)
    lone.do(Committed(ticket))
    lone.tick(3)

    assert {envelope.ack for _, envelope in lone.sent} == {0}


def test_messages_behind_one_that_waits_for_the_store_wait_in_line():
    lone = LoneRouter()
    lone.hello(C1)
    lone.say(C1, m.Function(F, "sim:f", b"code", b"V"))
    lone.say(C1, m.Submit([[0, F, {}, None, 0, [b"x"], ["a"], [b"m"], None]]))
    lone.submit(C1, 1)
    assert [write[0] for write in lone.writes] == ["function", "counts"]

    [(token, what, (names, blocks, _))] = lone.lookups
    lone.do(Found(token, Answers({}, set(), {})))

    assert (what, names, blocks) == ("submitted", ["a"], [])
    assert [write[2] for write in lone.writes if write[0] == "block"] == [0, 1]


def test_a_client_that_dials_anew_while_the_store_is_asked_sends_again_what_waited():
    lone = LoneRouter()
    lone.hello(C1)
    lone.say(C1, m.Function(F, "sim:f", b"code", b"V"))
    named = m.Submit([[0, F, {}, None, 0, [b"x"], ["a"], [b"m"], None]])
    lone.say(C1, named)

    lone.hello(C1, session=2)
    lone.say(C1, named)
    for token, _, _ in lone.lookups:
        lone.do(Found(token, Answers({}, set(), {})))

    assert [write[2] for write in lone.writes if write[0] == "block"] == [0]


# -- silence ---------------------------------------------------------------------------------


def test_who_is_silent_for_too_long_is_given_up():
    lone = LoneRouter(lost_after_s=10.0)
    lone.hello(C1)
    lone.hello(W1)

    lone.tick(9.9)
    assert len(lone.core.peers.by_id) == 2

    lone.tick(0.2)
    assert not lone.core.peers.by_id and not lone.core.fleet.workers


def test_time_in_which_the_router_did_not_read_does_not_count():
    lone = LoneRouter(lost_after_s=10.0)
    lone.hello(W1)

    lone.now += 60
    lone.core.peers.rest(60)
    lone.do(Tick())

    assert list(lone.core.fleet.workers) == [W1]


def test_the_idle_hear_a_beat_however_busy_the_router_is_with_others():
    lone = LoneRouter(heartbeat_s=2.0)
    lone.hello(C1)
    lone.hello("dddddddd")
    heard: list[float] = []

    # As its loop does it: a tick when one is due, and else the next message.
    while lone.now < 1010:
        due = lone.core.deadline(lone.now)
        lone.now += 0.001
        lone.core.handle(Tick(), lone.now) if lone.now >= due else None
        sent = lone.say("dddddddd", m.Beat())
        heard += [lone.now for name, _ in sent if name == C1]

    assert len(heard) >= 4


def test_a_worker_whose_connection_broke_has_its_time_to_come_back():
    lone = LoneRouter(lost_after_s=10.0)
    lone.hello(W1, id="a")

    lone.do(Gone(b"a"))
    lone.tick(1)
    lone.tick(9)
    assert list(lone.core.fleet.workers) == [W1]

    lone.tick(2)
    assert not lone.core.fleet.workers


def test_who_waited_for_slots_and_is_gone_is_forgotten():
    lone = LoneRouter()
    for session in range(1, 9):
        lone.hello(C1, session=session)
        assert lone.say(C1, m.Ask(session, "slots", {"count": 1})) == []

    sent = lone.hello(W1, about={"slots": 1, "window": 1, "running": [{"pid": 7, "task": None}]})

    assert [each for each in sent if each[0] == C1] == [(C1, m.Tell(8, None, 1))]
    assert lone.core.desk._want_slots == []


def test_each_time_that_its_connection_breaks_it_has_its_time_anew():
    lone = LoneRouter(lost_after_s=10.0)
    lone.hello(W1)

    for session in range(2, 10):
        lone.do(Gone(W1.encode()))
        lone.tick(4)
        assert list(lone.core.fleet.workers) == [W1]
        lone.hello(W1, session=session)


def test_a_mesh_that_ends_does_not_look_out_for_what_would_be_due():
    lone = LoneRouter()
    lone.hello(C1)
    lone.hello(W1)
    lone.say(C1, m.Function(F, "sim:f", b"code", b"V"))
    lone.say(C1, m.Submit([[0, F, {"retries": 3}, None, 0, [b"x"] * 2, None, None, None]]))
    lease = next(iter(lone.core.fleet.workers[W1].held))
    lone.say(W1, m.Done([[C1, [0], [lease], bytes([Kind.ERROR]), [b"e"]]], 2))

    lone.core.stop(3600.0, lone.now)
    lone.tick(5)

    assert lone.core.deadline(lone.now) > lone.now, "its loop would not sleep again"


def test_news_are_cut_into_messages_of_bounded_size():
    lone = LoneRouter()
    lone.hello(C1)
    lone.hello(W1, about={"slots": 100, "window": 100})
    sent = lone.submit(C1, 0, 20)
    [tasks] = [message for _, message in sent if isinstance(message, m.Tasks)]
    lease = tasks.pieces[0][2]
    body = bytes(NEWS_BYTES_MAX // 4)

    counters, leases = list(range(20)), list(range(lease, lease + 20))
    ended = [C1, counters, leases, bytes([Kind.VALUE]) * 20, [body] * 20]
    sent = lone.say(W1, m.Done([ended], 100))

    news = [message.runs[0] for _, message in sent if isinstance(message, m.Outcomes)]
    assert [counter for run in news for counter in run[1]] == counters
    assert max(sum(map(len, run[3])) for run in news) <= NEWS_BYTES_MAX + len(body)


# -- whatever anybody says -------------------------------------------------------------------

questions = st.sampled_from(
    [
        "status",
        "workers",
        "tasks",
        "resolve",
        "locate",
        "group",
        "count",
        "slots",
        "lost",
        "again",
        "stop",
        "?",
    ]
)
awkward = shapes.values | st.sampled_from(
    [-1, 0, 2**63, "last", "c.9", "c." + "9" * 30, C1, [C1], [[C1, 0, 5]], [[C1, -1, 9]], "x" * 600]
)
about = st.dictionaries(
    st.sampled_from(
        [
            "texts",
            "stores",
            "session",
            "first",
            "spans",
            "count",
            "states",
            "limit",
            "lease",
            "within_s",
        ]
    ),
    awkward | st.lists(awkward, max_size=3),
)
worker_about = st.dictionaries(st.sampled_from(["slots", "window", "running", "data"]), awkward)
said = st.lists(
    st.tuples(
        st.sampled_from([C1, W1]),
        st.one_of(
            shapes.messages,
            shapes.messages,
            st.builds(m.Ask, st.integers(0, 99), questions, about),
            st.builds(m.Report, worker_about),
            st.builds(
                m.Hello,
                st.sampled_from(["client", "worker"]),
                st.sampled_from([C1, W1, "ünïcödé!"]),
                st.just(b"1"),
                st.just(1),
                st.just(1),
                worker_about,
                st.lists(st.tuples(shapes.counters, st.just(C1), shapes.counters).map(list)),
            ),
        ),
        st.booleans(),
    ),
    max_size=12,
)


@given(said)
def test_no_well_formed_message_breaks_the_router_or_its_store(said: list):
    # Given a router with a client, a worker and some tasks
    world = World()
    router = world.router
    numbers = dict.fromkeys([C1, W1, "dddddddd"], 0)

    def go_on() -> None:
        router.settle()
        if router.wanted:
            router.commit()
        router.tell()
        router.settle()

    def send(name: str, message: m.Message) -> None:
        numbers[name] += message.SEQUENCED
        frames = on_wire(Envelope(1, numbers[name], 0, message))
        router.receive(name.encode(), frames)

    send(C1, m.Hello("client", C1, b"1", m.VERSION_MIN, m.VERSION_MAX, {}, []))
    send(
        W1, m.Hello("worker", W1, b"1", m.VERSION_MIN, m.VERSION_MAX, {"slots": 2, "window": 4}, [])
    )
    send(C1, m.Function(F, "sim:f", b"code", b"V"))
    send(C1, m.Submit([[0, F, {}, 0, 0, [b"x"] * 5, ["a", "b", "c", "d", "e"], [b"m"] * 5, None]]))
    go_on()

    # When they say whatever the protocol lets them say
    for name, message, and_settle in said:
        send(name, message)
        if and_settle:
            go_on()
    go_on()
    world.advance(30)
    go_on()

    # Then others are served as before
    send("dddddddd", m.Hello("client", "dddddddd", b"1", m.VERSION_MIN, m.VERSION_MAX, {}, []))
    send("dddddddd", m.Submit([[0, F, {}, None, 0, [b"x"], None, None, None]]))
    go_on()
    assert router.left or world.is_recorded("dddddddd", 0)


def test_who_watched_and_has_gone_is_forgotten_while_the_task_is_open():
    lone = LoneRouter()
    lone.hello(C1)
    lone.submit(C1, 0)
    [block] = lone.core.ledger.blocks

    for n in range(20):
        watcher = f"watcher{n:02}"[-8:]
        lone.hello(watcher)
        lone.say(watcher, m.Watch([[C1, 0, 1]]))
        assert watcher.encode() in block.watchers
        lone.do(Gone(watcher.encode()))

    assert len(block.watchers) <= 2


def test_what_fails_with_several_of_its_block_fails_once():
    """The second takes the first, and both take what nobody has submitted."""
    lone = LoneRouter()
    lone.hello(C1)
    lone.say(C1, m.Function(F, "sim:f", b"code", b"V"))
    nobody, first = key(C1, 99), key(C1, 0)
    row = [0, F, {}, None, 0, [b"x"] * 2, None, None, [nobody, first + nobody]]
    lone.say(C1, m.Submit([row]))
    [(token, _, _)] = lone.lookups

    told = lone.do(Found(token, Answers({}, set(), {nobody: (nobody, None)})))

    [[_, counters, kinds, _]] = told[0][1].runs
    assert (counters, kinds) == ([0, 1], bytes([Kind.UNMET] * 2))


def test_what_comes_with_what_fails_at_once_names_its_cause():
    """Each is a block of its own; the second takes the first, which takes what nobody knows."""
    lone = LoneRouter()
    lone.hello(C1)
    lone.say(C1, m.Function(F, "sim:f", b"code", b"V"))
    nobody, first, second = key(C1, 99), key(C1, 0), key(C1, 1)
    takes = [nobody, first, second + first]
    rows = [[i, F, {}, None, 0, [b"x"], None, None, [ids]] for i, ids in enumerate(takes)]
    lone.say(C1, m.Submit(rows))
    [(token, _, _)] = lone.lookups

    told = lone.do(Found(token, Answers({}, set(), {nobody: (nobody, None)})))

    failures = [body for _, message in told for run in message.runs for body in run[3]]
    assert len(failures) == 3
    assert all(f"its input {C1}.99 is no task".encode() in body for body in failures)


@pytest.mark.parametrize("mark", [b"m", b"another"])
def test_who_takes_an_alias_of_its_own_block_takes_what_that_means(mark: bytes):
    """The first of the block is an older task, or is refused; the second takes it."""
    lone = LoneRouter()
    lone.hello(C1)
    lone.say(C1, m.Function(F, "sim:f", b"code", b"V"))
    first, done = key(C1, 5), RECORD.pack(Kind.VALUE, 7, b"w" * 8) + body(0, 0, b"", b"V")
    row = [5, F, {}, None, 0, [b"x"] * 2, ["a", "b"], [mark, b"m"], [b"", first]]
    lone.say(C1, m.Submit([row]))
    [(token, _, _)] = lone.lookups

    older = {"a": ((W2, 3, "sim:f", b"code", b"m"), done)}
    lone.do(Found(token, Answers(older, set(), {})))

    [[inputs]] = [about[1:] for what, *about in lone.writes if what == "inputs"]
    ended = [row for what, *about in lone.writes if what == "outcomes" for row in about[0]]
    if mark == b"m":
        assert (inputs, ended) == ([b"", key(W2, 3)], [])
    else:
        assert inputs == [b"", first]
        assert [task for task, _ in ended] == [first, key(C1, 6)]
        assert b"is sim:f with other arguments" in ended[1][1], "the first cause is named"
