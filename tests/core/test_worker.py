"""The worker's core: when it begins tasks, what it keeps, and how it goes."""

from __future__ import annotations

import math
from typing import Any

import pytest
from fakes.world import World

from mesh.core import pace
from mesh.core.events import (
    Arrived,
    Committed,
    Connected,
    Listed,
    Missed,
    Owned,
    RouterHeard,
    SlotAnswered,
    SlotExited,
    SlotReady,
    Stalled,
    TakenBack,
    Tick,
    Weighed,
)
from mesh.core.gathering import ON_WAY_BYTES_MAX
from mesh.core.guard import WEIGH_EVERY_S
from mesh.core.reporting import REPORT_S
from mesh.core.slots import RESTART_PAUSE_S, START_FAILURES_MAX
from mesh.core.term import LAST_ROUND_S
from mesh.core.worker import LAST_ACK_S, STALL_S, WorkerCore
from mesh.protocol import messages as m
from mesh.protocol.link import Envelope
from mesh.protocol.outcome import LOG_STORED, Ref, body, parse, parse_failure, refs_in
from mesh.protocol.stores import GOES, STAYS
from mesh.task import Kind, key

C1 = "cccccccc"
F = b"f" * 16


class LoneWorker:
    """A worker's core alone, joined and with its slots ready."""

    def __init__(self, slots: int = 1, tasks_max: int | None = None) -> None:
        self.now = 1000.0
        self.core = WorkerCore("wwwwwwww", b"1", slots, "host", tasks_max)
        self.number = 0
        self.turn(Connected())
        self.hear(m.Welcome("mesh", b"b", 1, 1, {}))
        for number in range(slots):
            self.turn(SlotReady(number, 100 + number))
        self.hear(m.Function(F, "sim:f", b"code", b"V"))

    def turn(self, event: Any = None) -> Any:
        if event is not None:
            self.core.handle(event, self.now)
        turn = self.core.settle(self.now)
        self.core.check()
        while turn.list_behind is not None:
            self.core.handle(Listed([], None), self.now)  # its store is empty
            more = self.core.settle(self.now)
            turn.sends += more.sends
            turn.stop, turn.list_behind = more.stop, more.list_behind
        return turn

    def hear(self, message: m.Message, *, ack: int = 0) -> Any:
        self.number += message.SEQUENCED
        session = self.core.link.session
        return self.turn(RouterHeard(Envelope(session, self.number, ack, message)))

    def hear_welcome(self) -> Any:
        self.number = 0
        return self.hear(m.Welcome("mesh", b"b", 1, 1, {}))

    def tasks(self, lease: int, count: int, **options: Any) -> Any:
        return self.hear(m.Tasks([[C1, lease, lease, F, options, [b"x"] * count]]))

    def tick(self, seconds: float) -> Any:
        self.now += seconds
        return self.turn(Tick())


def said(turn: Any, kind: type) -> list[Any]:
    return [envelope.message for envelope in turn.sends if type(envelope.message) is kind]


def test_hello_says_what_is_in_hand():
    lone = LoneWorker()
    lone.tasks(7, 2)

    [hello] = said(lone.turn(Connected()), m.Hello)

    assert hello.held == [[7, C1, 7], [8, C1, 8]]
    assert (hello.about["slots"], hello.about["window"]) == (1, len(hello.about["running"]))


def test_it_begins_nothing_while_the_router_may_have_given_it_up():
    lone = LoneWorker(slots=2)
    lone.tasks(1, 3)

    # It was stopped for a while: what it holds may run elsewhere by now.
    lone.now += 10.1
    turn = lone.turn(SlotExited(0, "was killed by SIGKILL", [1]))
    assert not turn.tasks
    assert [row[0] for row in said(turn, m.Hello)[0].held] == [2], "the one that has begun"
    assert not lone.turn(SlotReady(0, 200)).tasks
    assert not lone.tick(0.0).tasks


def test_what_came_before_it_was_stopped_is_not_begun_after():
    lone = LoneWorker(slots=2)
    tasks = m.Tasks([[C1, 1, 1, F, {}, [b"x"] * 2]])
    lone.core.handle(
        RouterHeard(Envelope(lone.core.link.session, lone.number + 1, 0, tasks)), lone.now
    )
    lone.now += 10.1  # amid the turn

    assert not lone.core.settle(lone.now).tasks
    assert said(lone.tick(0.0), m.Hello)[0].held == [], "what it has not begun is given out anew"


def end(lone: LoneWorker, lease: int, body: bytes) -> list[Any]:
    """A slot has answered, and the router is told; what begins then."""
    began = lone.turn(SlotAnswered(0, [(lease, Kind.VALUE, body, 1.0, False)])).tasks
    return began + lone.tick(0.01).tasks


def test_it_begins_nothing_while_too_much_of_its_outcomes_is_not_recorded():
    lone = LoneWorker()
    body = bytes(64 * 1024)
    lone.tasks(1, 4096)
    done = 1
    while end(lone, done, body):
        done += 1

    assert 0 <= done * len(body) - ON_WAY_BYTES_MAX <= 2 * len(body)
    assert lone.hear(m.Beat(), ack=lone.core.link.sent).tasks, "recorded: it goes on"


def test_what_is_told_to_the_next_router_is_not_awaited_from_the_last_one():
    lone = LoneWorker()
    lone.tasks(1, 4)
    for lease, size in ((1, 1), (2, 1), (3, ON_WAY_BYTES_MAX)):
        end(lone, lease, bytes(size))
    lone.turn(Connected())
    lone.number = 0
    again = said(lone.hear(m.Welcome("mesh", b"b", 2, 1, {})), m.Done)
    lone.tasks(5, 1)
    assert sum(len(message.runs[0][1]) for message in again) == 3
    assert not end(lone, 4, b"")

    assert lone.hear(m.Beat(), ack=len(again)).tasks


def test_what_a_stopped_worker_finds_in_its_socket_is_of_before():
    lone = LoneWorker()
    lone.tasks(1, 2)
    session = lone.core.link.session

    lone.now += 10.1  # meanwhile came what would have been in time
    lone.number += 1
    more = m.Tasks([[C1, 3, 3, F, {}, [b"x"]]])
    turn = lone.turn(RouterHeard(Envelope(session, lone.number, 0, more)))
    assert [row[0] for row in said(turn, m.Hello)[0].held] == [1]
    assert not lone.turn(RouterHeard(Envelope(session, lone.number, 0, m.Beat()))).tasks
    assert not lone.turn(SlotAnswered(0, [(1, Kind.VALUE, b"", 0.1, False)])).tasks

    lone.number = 0
    assert not lone.hear(m.Welcome("mesh", b"b", 1, 1, {})).tasks, "the rest went elsewhere"
    assert [low for _, _, low, _ in lone.tasks(4, 1).tasks] == [0]


def test_a_worker_that_has_said_nothing_for_long_has_been_given_up():
    """However lately it has heard its router: that counts what has come from here."""
    lone = LoneWorker()
    lone.tasks(1, 2)

    lone.now += 9.9
    lone.hear(m.Beat())  # answered by nobody: the loop is stopped before its turn ends
    lone.core._last_sent = 1000.0
    lone.now += 0.2
    turn = lone.turn(SlotAnswered(0, [(1, Kind.VALUE, b"", 0.1, False)]))

    assert said(turn, m.Hello) and not turn.tasks


def test_what_the_router_said_before_a_stop_is_no_news_of_it():
    lone = LoneWorker()
    lone.tasks(1, 3)
    beat = RouterHeard(Envelope(lone.core.link.session, lone.number, 0, m.Beat()))

    lone.now += 10.1
    [hello] = said(lone.turn(beat), m.Hello)
    assert hello.held == [[1, C1, 1]], "what has not begun may have begun elsewhere"
    assert not lone.turn(SlotAnswered(0, [(1, Kind.VALUE, b"v", 0.1, False)])).tasks

    lone.number = 0
    turn = lone.hear(m.Welcome("mesh", b"b", 1, 1, {}))
    assert ([each.runs[0][2] for each in said(turn, m.Done)], turn.tasks) == ([[1]], [])


def test_a_function_that_is_new_gets_one_task_at_a_time():
    lone = LoneWorker(slots=2)

    turn = lone.tasks(1, 5)

    assert [(slot, high - low) for slot, _, low, high in turn.tasks] == [(0, 1), (1, 1)]
    assert turn.functions == [(0, F), (1, F)]


def test_a_slot_that_does_not_start_is_tried_again_after_a_pause_and_not_for_ever():
    lone = LoneWorker()
    starts = 0
    stopped = None

    for _ in range(2 * START_FAILURES_MAX):
        stopped = lone.turn(SlotExited(0, "exited with code 1", [])).stop or stopped
        starts += len(lone.tick(RESTART_PAUSE_S + 0.1).starts)

    assert 1 < starts <= START_FAILURES_MAX
    assert stopped == "slots do not start: the last one exited with code 1"
    assert lone.core.failed


def test_slots_that_cannot_be_started_at_one_moment_are_tried_again_however_many_they_are():
    many = 2 * START_FAILURES_MAX
    lone = LoneWorker(slots=many)

    for how in ("was killed by SIGKILL", "could not be started: no process"):
        for number in range(many):
            lone.core.handle(SlotExited(number, how, []), lone.now)
        turn = lone.turn()

    assert (turn.starts, turn.stop) == ([], None)
    assert len(lone.tick(RESTART_PAUSE_S + 0.1).starts) == many


def test_a_slot_that_dies_of_a_task_is_replaced_at_once():
    lone = LoneWorker()
    lone.tasks(1, 1)

    turn = lone.turn(SlotExited(0, "was killed by SIGSEGV", []))

    assert turn.starts == [0]
    [done] = said(turn, m.Done)
    assert done.runs[0][:4] == [C1, [1], [1], bytes([Kind.SLOT_LOST])]


def test_a_slot_that_is_dead_is_not_ended_for_whatever_reasons_it_was_to_be():
    lone = LoneWorker(tasks_max=1)
    lone.tasks(1, 1)
    assert lone.hear(m.Kill([1])).kills == [(0, 1)]
    assert lone.core.slots.struck(0, lone.now)

    # It answers its interrupt, was its process's last task, and is dead, all in one turn.
    lone.core.handle(SlotAnswered(0, [(1, Kind.ERROR, b"", 0.1, False)]), lone.now)
    turn = lone.turn(SlotExited(0, "exited with code 0", []))

    assert turn.retire == [] and turn.starts == [0]


def test_what_waits_for_a_deadline_does_not_keep_it_awake():
    lone = LoneWorker()
    lone.tasks(1, 1, time_limit=5.0)
    assert lone.core.deadline(lone.now) <= lone.now + 5

    turn = lone.tick(5.1)

    assert turn.kills == [(0, 1)]
    assert lone.core.deadline(lone.now) > lone.now, "it is being killed: there is nothing to do"


def test_what_uses_more_memory_than_it_may_is_killed():
    lone = LoneWorker()
    lone.tasks(1, 1, memory=1000)

    assert lone.tick(WEIGH_EVERY_S).weigh == [(0, 1, 1000)]
    assert lone.turn(Weighed(0, 1, 1000)).kills == [], "just as much as it may"
    assert lone.tick(WEIGH_EVERY_S + 0.01).weigh == [(0, 1, 1000)]
    assert lone.turn(Weighed(0, 1, 1001)).kills == [(0, 1)]
    assert lone.turn(Weighed(0, 1, 1001)).kills == [], "once"

    [done] = said(lone.turn(SlotExited(0, "was killed by SIGKILL", [])), m.Done)
    assert done.runs[0][3] == bytes([Kind.OUT_OF_MEMORY])


def test_what_a_dead_slot_had_printed_is_in_the_outcome():
    lone = LoneWorker()
    lone.tasks(1, 1)

    remains = {1: body(1700.0, 2.5, b"last words\n", b"")}
    [done] = said(lone.turn(SlotExited(0, "was killed by SIGSEGV", [], remains)), m.Done)

    found = parse(done.runs[0][4][0])
    assert (found.begun, found.took_s, found.log) == (1700.0, 2.5, b"last words\n")
    assert "took its slot down" in parse_failure(found.rest)[0].message


def test_a_log_that_was_stored_by_what_was_interrupted_is_told_once_it_is_safe():
    lone = LoneWorker()
    lone.tasks(1, 1, time_limit=1.0)
    assert lone.tick(1.0).kills == [(0, 1)]
    assert lone.core.slots.struck(0, lone.now)
    ref = Ref(key(C1, 1), 1, 1, 100, 7, b"w" * 8).packed
    said_by_it = body(1700.0, 1.0, ref, b"\x80", LOG_STORED)

    turn = lone.turn(SlotAnswered(0, [(1, Kind.VALUE, said_by_it, 1.0, True)]))
    [(ticket, kind, stored)] = turn.store
    assert kind == Kind.TIMED_OUT and said(turn, m.Done) == []
    [done] = said(lone.turn(Committed(ticket)), m.Done)
    assert done.runs[0][3] == bytes([Kind.TIMED_OUT])
    assert done.runs[0][4] == [stored] and refs_in(kind, stored)[0].size == 100


def test_a_limit_of_memory_does_not_keep_it_awake_for_the_next_task():
    lone = LoneWorker()
    lone.tasks(1, 1, memory=1000)
    lone.turn(SlotAnswered(0, [(1, Kind.VALUE, b"", 0.01, False)]))

    lone.tasks(2, 1, time_limit=60.0)
    lone.tick(WEIGH_EVERY_S)

    assert lone.core.deadline(lone.now) > lone.now


def test_a_weight_that_comes_too_late_hits_nobody():
    lone = LoneWorker()
    lone.tasks(1, 1, memory=1000)
    lone.tick(WEIGH_EVERY_S)
    lone.turn(SlotAnswered(0, [(1, Kind.VALUE, b"v", 0.1, False)]))
    lone.tasks(2, 2, memory=5000)

    assert lone.turn(Weighed(0, 1, 2000)).kills == []


def test_without_room_on_its_disk_it_gives_back_what_has_not_begun_and_takes_nothing():
    lone = LoneWorker()
    lone.tasks(7, 3)

    turn = lone.turn(Stalled("no room"))

    [returned] = said(turn, m.Returned)
    assert (sorted(returned.leases), returned.window) == ([8, 9], 0)
    assert list(lone.core.slots.held) == [7]

    lone.turn(Stalled("no room"))
    [again] = said(lone.tick(STALL_S), m.Done)
    assert (again.runs, again.window > 0) == ([], True), "it is tried again"
    lone.tasks(10, 1)
    assert set(lone.core.slots.held) == {7, 10}


def test_what_could_not_be_handed_to_its_slot_is_given_back():
    lone = LoneWorker()
    lone.tasks(7, 1)

    turn = lone.turn(Stalled("no room", 0, [7]))

    assert [each.leases for each in said(turn, m.Returned)] == [[7]]
    assert not lone.core.slots.held and not lone.core.slots[0].line


def test_a_worker_that_is_refused_goes():
    lone = LoneWorker()
    lone.turn(Connected())

    turn = lone.turn(
        RouterHeard(Envelope(2, 0, 0, m.Error("VersionMismatch", "this router speaks 2")))
    )

    assert turn.stop == "refused by the router: this router speaks 2"
    assert lone.core.failed


def test_a_worker_whose_greeting_is_not_understood_goes():
    lone = LoneWorker()
    lone.turn(Connected())

    turn = lone.turn(RouterHeard(Envelope(0, 0, 0, m.Error("MeshError", "not understood: what?"))))

    assert turn.stop == "refused by the router: not understood: what?"


def test_told_to_leave_now_it_forgets_what_runs():
    lone = LoneWorker()
    lone.tasks(1, 3)

    turn = lone.hear(m.Leave(0))

    assert turn.stop == "the mesh was stopped"
    assert [type(envelope.message) for envelope in turn.sends][-1] is m.Bye


def test_what_has_not_ended_in_time_is_interrupted_and_given_back():
    lone = LoneWorker()
    lone.tasks(1, 3)
    begun = lone.core.slots[0].line.first

    assert lone.hear(m.Leave(2.5)).take_back == [0]
    turn = lone.turn(TakenBack(0, []))
    assert [message.leases for message in said(turn, m.Returned)] == [[2, 3]]
    assert not lone.tick(2.0).kills

    lone.now = lone.core.deadline(lone.now)
    while not (turn := lone.turn(Tick())).kills:
        lone.now = lone.core.deadline(lone.now)
    assert (turn.kills, turn.stop) == ([(0, begun)], None)
    assert lone.now - 1000.0 == 2.5

    assert lone.core.slots.struck(0, lone.now), "interrupted first, so that it may clean up"
    turn = lone.turn(SlotAnswered(0, [(1, Kind.ERROR, b"KeyboardInterrupt", 2.5, False)]))
    assert [message.leases for message in said(turn, m.Returned)] == [[1]]
    assert not said(turn, m.Done)
    assert (last_words(turn)[-1], turn.stop) == (m.Bye, "the mesh was stopped")


def test_a_slot_that_dies_of_its_interrupt_has_lost_nothing():
    lone = LoneWorker()
    lone.tasks(1, 1)
    lone.hear(m.Leave(1.0))
    lone.turn(TakenBack(0, []))
    assert lone.tick(1.0).kills == [(0, 1)]
    lone.core.slots.struck(0, lone.now)

    turn = lone.turn(SlotExited(0, "was killed by SIGKILL", []))

    assert [message.leases for message in said(turn, m.Returned)] == [[1]]
    assert not said(turn, m.Done)


def test_what_ends_by_itself_at_the_last_moment_counts():
    lone = LoneWorker()
    lone.tasks(1, 1)
    lone.hear(m.Leave(1.0))
    assert lone.tick(1.0).kills == [(0, 1)]

    # The shell stops the slot, and finds that it has answered
    lone.core.handle(SlotAnswered(0, [(1, Kind.VALUE, b"v", 0.1, False)]), lone.now)
    lone.core.slots.spared(0)
    turn = lone.turn()

    assert said(turn, m.Done) and not said(turn, m.Returned)


def last_words(turn: Any) -> list[type]:
    """What a worker says that leaves, besides reports."""
    said = [type(envelope.message) for envelope in turn.sends]
    return [each for each in said if each is not m.Report]


def test_it_goes_when_its_last_outcome_is_recorded():
    lone = LoneWorker()
    lone.tasks(1, 1)
    lone.core.leave("told to", math.inf, lone.now)

    turn = lone.turn(SlotAnswered(0, [(1, Kind.VALUE, b"v", 0.1, False)]))
    assert (last_words(turn), turn.stop) == ([m.Done, m.Returned], None)
    assert lone.hear(m.Beat()).stop is None

    turn = lone.hear(m.Beat(), ack=lone.core.link.sent)
    assert (last_words(turn), turn.stop) == ([m.Bye], "told to")


@pytest.mark.parametrize("router", ["silent", "away"])
def test_it_does_not_wait_for_ever_for_its_last_outcome_to_be_recorded(router: str):
    lone = LoneWorker()
    lone.tasks(1, 1)
    lone.core.leave("told to", math.inf, lone.now)
    lone.turn(SlotAnswered(0, [(1, Kind.VALUE, b"v", 0.1, False)]))
    if router == "away":
        lone.turn(Connected())

    started = lone.now
    turn = None
    while turn is None or turn.stop is None:
        lone.now = lone.core.deadline(lone.now) + 0.001
        turn = lone.turn(Tick())
        assert lone.now < started + LAST_ACK_S + 0.1

    assert lone.now >= started + LAST_ACK_S
    assert last_words(turn) == ([m.Bye] if router == "silent" else [])


def test_time_in_which_it_was_stopped_is_no_time_to_be_heard():
    lone = LoneWorker()
    lone.tasks(1, 1)
    lone.core.leave("told to", math.inf, lone.now)
    lone.turn(SlotAnswered(0, [(1, Kind.VALUE, b"v", 0.1, False)]))

    lone.now += LAST_ACK_S + 1
    lone.core.rest(LAST_ACK_S + 1)
    assert lone.turn(Tick()).stop is None
    turn = lone.hear(m.Beat(), ack=lone.core.link.sent)
    assert (last_words(turn), turn.stop) == ([m.Bye], "told to")


def test_a_router_that_comes_back_meanwhile_is_told():
    lone = LoneWorker()
    lone.tasks(1, 1)
    lone.core.leave("told to", math.inf, lone.now)
    lone.turn(SlotAnswered(0, [(1, Kind.VALUE, b"v", 0.1, False)]))

    lone.now += LAST_ACK_S / 2
    lone.turn(Connected())
    lone.number = 0
    assert last_words(lone.hear(m.Welcome("mesh", b"b", 2, 1, {})))[-1] is m.Done

    turn = lone.hear(m.Beat(), ack=lone.core.link.sent)
    assert (last_words(turn), turn.stop) == ([m.Bye], "told to")


def test_told_to_leave_without_a_router_it_finishes_what_runs_and_no_more():
    lone = LoneWorker()
    lone.tasks(1, 3)
    lone.turn(Connected())  # and nobody answers

    lone.core.leave("told to", math.inf, lone.now)
    assert lone.turn().stop is None

    lone.turn(SlotExited(0, "exited with code 0", []))
    assert lone.tick(LAST_ACK_S).stop == "told to"


def test_without_a_router_to_work_for_it_goes_when_what_runs_has_ended():
    lone = LoneWorker()
    lone.tasks(1, 3)

    lone.core.give_up("no router")
    assert lone.turn().stop is None

    assert lone.turn(SlotAnswered(0, [(1, Kind.VALUE, b"v", 0.1, False)])).stop == "no router"


# -- packets ---------------------------------------------------------------------------------


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> World:
    """A mesh whose worker has learnt that tasks are tiny."""
    monkeypatch.setattr(pace, "PEAK_FIRST_S", 0.0)
    world = World()
    world.add_worker("wwwwwwww", 1)
    world.add_client(C1)
    world.dial("wwwwwwww")
    world.dial(C1)
    go_on(world)
    world.clients[C1].submit([b"ok"])
    go_on(world)
    finish(world, 1)
    return world


def go_on(world: World) -> None:
    worker = world.workers["wwwwwwww"]
    for _ in range(6):
        world.settle()
        for wire in world.wires.values():
            while wire.up:
                world.deliver_up(wire.name)
            while wire.down:
                world.deliver_down(wire.name)
        if world.router.wanted:
            world.router.commit()
        world.router.tell()
        for number, process in list(worker.slots.items()):
            if process.dead is not None:
                worker.bury(number)
            elif not process.ready:
                worker.slot_ready(number)
        world.advance(0.01)


def finish(world: World, count: int) -> None:
    worker = world.workers["wwwwwwww"]
    for _ in range(count):
        worker.answer(0, Kind.VALUE, b"v", took_s=0.0)
        worker.hear_slot(0)
        go_on(world)


def line(world: World) -> list[int]:
    return [lease & 0xFF for lease in world.workers["wwwwwwww"].core.slots[0].line]


def test_tiny_tasks_share_a_packet(quick: World):
    quick.clients[C1].submit([b"ok"] * 20)
    go_on(quick)

    assert [len(tasks) for _, tasks in quick.workers["wwwwwwww"].slots[0].unread] == [1, 19]
    assert len(line(quick)) == 20


def test_when_a_packet_kills_its_slot_nobody_is_blamed_and_each_runs_again_alone(quick: World):
    worker = quick.workers["wwwwwwww"]
    quick.clients[C1].submit([b"ok"] * 4)
    go_on(quick)
    finish(quick, 1)
    assert len(worker.slots[0].tasks) == 3, "it has read them as one packet"

    worker.slot_dies(0)
    go_on(quick)

    assert len(line(quick)) == 1, "alone"
    finish(quick, 3)
    assert [task.ended[0] for task in quick.clients[C1].tasks.values()] == [Kind.VALUE] * 5


def test_a_packet_too_big_for_the_pair_can_be_taken_back_in_part(quick: World):
    worker = quick.workers["wwwwwwww"]
    worker.packet_tasks = 2
    quick.clients[C1].submit([b"ok"] * 7)
    go_on(quick)
    finish(quick, 1)
    assert len(worker.slots[0].tasks) == 2, "it has read the first two of six"

    worker.handle(Connected())
    worker.settle()
    worker.handle(RouterHeard(Envelope(worker.core.link.session, 1, 0, m.Recall(9, []))))
    worker.settle()

    assert len(line(quick)) == 2
    assert len(list(worker.core.slots.backlog)) == 4


def test_what_is_wanted_back_by_name_comes_back_unless_it_has_begun(quick: World):
    worker = quick.workers["wwwwwwww"]
    worker.packet_tasks = 2
    client = quick.clients[C1]
    client.submit([b"ok"] * 7)
    go_on(quick)
    finish(quick, 1)
    assert len(worker.slots[0].tasks) == 2, "it has read the first two of six"

    token = client.cancel([(C1, 3, 4)], running=False)
    go_on(quick)

    assert client.answers[token] == (None, {"cancelled": 3, "running": 1, "ended": 0})
    while worker.running:
        finish(quick, 1)
    ends = [task.ended[0] for task in client.tasks.values()]
    assert ends == [Kind.VALUE] * 4 + [Kind.CANCELLED] * 3 + [Kind.VALUE]
    assert sum(worker.runs.values()) == 5


def test_what_a_slot_had_read_when_it_was_cancelled_is_killed_when_its_turn_comes(quick: World):
    worker = quick.workers["wwwwwwww"]
    quick.clients[C1].submit([b"ok"] * 4)
    go_on(quick)
    finish(quick, 1)
    assert len(worker.slots[0].tasks) == 3

    quick.clients[C1].cancel([(C1, 3, 1)], running=True)
    go_on(quick)
    assert worker.slots[0].pid == 100, "the first of the packet runs on"
    finish(quick, 1)

    assert worker.slots[0].pid != 100
    finish(quick, 1)
    ends = [task.ended[0] for task in quick.clients[C1].tasks.values()]
    assert ends == [Kind.VALUE, Kind.VALUE, Kind.VALUE, Kind.CANCELLED, Kind.VALUE]


def test_what_runs_for_longer_than_a_moment_is_told_and_that_it_has_ended():
    lone = LoneWorker()
    lone.tick(REPORT_S)  # of its slot it has told
    assert said(lone.tasks(7, 1), m.Report) == []

    [report] = said(lone.tick(REPORT_S), m.Report)
    assert report.about["running"] == [{"pid": 100, "task": f"{C1}.7"}]
    assert said(lone.tick(REPORT_S), m.Report) == [], "once"

    lone.turn(SlotAnswered(0, [(7, Kind.VALUE, b"v", 0.5, False)]))
    [report] = said(lone.tick(REPORT_S), m.Report)
    assert report.about["running"] == [{"pid": 100, "task": None}]


@pytest.mark.parametrize("is_known", [True, False], ids=["full", "found to be full"])
def test_one_that_is_to_go_at_once_does_not_wait_for_room(is_known: bool):
    lone = LoneWorker()
    lone.tasks(7, 1)
    lone.turn(SlotAnswered(0, [(7, Kind.STORED, b"ref", 0.1, True)]))
    if is_known:
        lone.turn(Stalled("no room"))

    lone.core.leave("told to", 0.0, lone.now)

    if not is_known:
        assert lone.turn().stop is None, "it may be kept within milliseconds"
        lone.core.handle(Stalled("no room"), lone.now)
    assert lone.turn().stop == "told to"


def test_what_is_not_needed_is_said_to_be_gone_when_it_is():
    lone = LoneWorker()
    rows = [[C1, 7, 70], [C1, 8, 80]]

    turn = lone.hear(m.Drop(rows))
    assert (turn.drop, said(turn, m.Dropped)) == ([(key(C1, 7), 70), (key(C1, 8), 80)], [])

    later = lone.hear(m.Drop([[C1, 9, 90]]))
    assert later.drop_ticket > turn.drop_ticket > 0
    assert said(lone.turn(Committed(turn.drop_ticket)), m.Dropped) == [m.Dropped(rows)]
    assert said(lone.turn(Committed(later.drop_ticket)), m.Dropped) == [m.Dropped([[C1, 9, 90]])]


def test_a_result_that_is_stored_in_the_same_turn_is_told_with_what_is_dropped():
    lone = LoneWorker()
    lone.tasks(1, 1)
    lone.core.handle(
        RouterHeard(Envelope(lone.core.link.session, lone.number + 1, 0, m.Drop([[C1, 7, 70]]))),
        lone.now,
    )

    turn = lone.turn(SlotAnswered(0, [(1, Kind.STORED, b"a ref", 0.1, True)]))
    [(ticket, _, _)] = turn.store
    assert ticket < turn.drop_ticket, "the shell hands them over in this order"

    turn = lone.turn(Committed(turn.drop_ticket))
    assert said(turn, m.Dropped) and said(turn, m.Done)


def test_what_an_earlier_life_stored_is_told_until_it_is_recorded():
    lone = LoneWorker()
    task = key(C1, 3)
    lone.core.recall_untold([(task, 9, Kind.STORED, b"outcome")])

    [hello] = said(lone.turn(Connected()), m.Hello)
    assert hello.held == [[9, C1, 3]]
    turn = lone.hear_welcome()
    [done] = said(turn, m.Done)
    assert done.runs == [[C1, [3], [9], bytes([Kind.STORED]), [b"outcome"]]] and not turn.told

    assert lone.hear(m.Beat(), ack=lone.core.link.sent).told == [(task, 9)]


# -- what its store gives up, and takes over ---------------------------------------------------


class Leaver(LoneWorker):
    """A worker whose store holds results, in pages; it tells each once."""

    def __init__(self, *pages: list[list[Any]]) -> None:
        super().__init__()
        self.pages = list(pages)

    def listed(self, turn: Any, *, is_last: bool = True) -> Any:
        """Its store tells of the next page that was asked for."""
        assert turn.list_behind is not None
        behind = None if is_last else b"behind"
        self.core.handle(Listed(self.pages.pop(0), behind), self.now)
        return self.core.settle(self.now)

    def leave(self, within_s: float = math.inf, **how: Any) -> Any:
        self.core.leave("told to", within_s, self.now, **how)
        return self.core.settle(self.now)


def offered(turn: Any) -> list[list[Any]]:
    offers = [each.message for each in turn.sends if type(each.message) is m.Offer]
    return [row for offer in offers for row in offer.rows]


ROW, OTHER_ROW = [C1, 1, 7], [C1, 2, 8]


def test_it_offers_what_it_holds_and_goes_when_that_is_settled():
    lone = Leaver([ROW], [OTHER_ROW])
    turn = lone.listed(lone.leave(), is_last=False)
    assert (offered(turn), turn.stop) == ([ROW], None)

    lone.core.handle(heard(lone, m.Settled([[*ROW, GOES]])), lone.now)
    turn = lone.listed(lone.core.settle(lone.now))
    assert (offered(turn), turn.stop) == ([OTHER_ROW], None)
    lone.core.handle(heard(lone, m.Settled([[*OTHER_ROW, STAYS]])), lone.now)
    turn = lone.core.settle(lone.now)

    assert (last_words(turn), turn.stop) == ([m.Bye], "told to")
    assert turn.drop == [(key(C1, 1), 7)], "what stays stays"


def heard(lone: LoneWorker, message: m.Message, ack: int = 0) -> RouterHeard:
    lone.number += message.SEQUENCED
    return RouterHeard(Envelope(lone.core.link.session, lone.number, ack, message))


def test_when_its_time_is_over_it_goes():
    lone = Leaver([ROW])
    assert lone.listed(lone.leave(5.0)).stop is None
    lone.now = lone.core.deadline(lone.now)
    while lone.core.settle(lone.now).stop is None:
        lone.core.handle(Tick(), lone.now)
        lone.now = lone.core.deadline(lone.now) + 0.001
        assert lone.now < 1005.1 + LAST_ROUND_S
    assert lone.now >= 1005.0 + LAST_ROUND_S


@pytest.mark.parametrize("how", [{"within_s": 0.0}, {"mesh_ends": True}])
def test_in_haste_and_when_the_mesh_ends_it_offers_nothing(how: dict[str, Any]):
    lone = Leaver()
    turn = lone.leave(**how)
    assert (turn.list_behind, turn.stop) == (None, "told to")


def test_told_that_the_mesh_ends_it_offers_no_more():
    lone = Leaver([ROW])
    assert lone.listed(lone.leave()).stop is None
    lone.core.handle(heard(lone, m.Leave(math.inf)), lone.now)
    assert lone.core.settle(lone.now).stop == "told to"


def test_what_ends_while_it_leaves_is_offered_too():
    lone = Leaver([ROW], [ROW, OTHER_ROW])
    lone.tasks(1, 1)
    turn = lone.leave()
    lone.core.handle(TakenBack(0, []), lone.now)
    turn = lone.listed(turn)
    lone.core.handle(heard(lone, m.Settled([[*ROW, GOES]])), lone.now)
    assert lone.core.settle(lone.now).list_behind is None, "nothing is new"

    lone.core.handle(SlotAnswered(0, [(1, Kind.VALUE, b"v", 0.1, False)]), lone.now)
    assert lone.core.settle(lone.now).list_behind is None, "it is not recorded"
    lone.core.handle(heard(lone, m.Beat(), lone.core.link.sent), lone.now)
    turn = lone.listed(lone.core.settle(lone.now))

    assert offered(turn) == [OTHER_ROW]


def test_on_the_next_connection_it_offers_it_again():
    lone = Leaver([ROW])
    lone.listed(lone.leave())
    lone.core.handle(Connected(), lone.now)
    lone.core.settle(lone.now)
    lone.number = 0
    lone.core.handle(heard(lone, m.Welcome("mesh", b"b", 1, 1, {})), lone.now)
    assert offered(lone.core.settle(lone.now)) == [ROW]


def adopt(*numbers: int) -> m.Adopt:
    refs = [[Ref(key(C1, 1), 7, number, 9, 9, b"vvvvvvvv").packed] for number in numbers]
    return m.Adopt(refs, {"vvvvvvvv": ["ipc://v", "h", "/v"]})


def test_it_adopts_all_that_a_lease_has_stored_and_says_so_when_it_is_its_own():
    lone = LoneWorker()
    orders = lone.hear(adopt(0, 1)).fetch
    assert [(each.ref.number, each.stores) for each in orders] == [
        (n, ["vvvvvvvv"]) for n in (0, 1)
    ]
    assert lone.turn(Arrived(orders[0].ref)).own == []
    [(_, refs)] = lone.turn(Arrived(orders[1].ref)).own
    assert len(refs) == 2

    turn = lone.turn(Owned([[*ROW, "vvvvvvvv", ""]]))

    assert [each.message for each in turn.sends if type(each.message) is m.Adopted] == [
        m.Adopted([[*ROW, "vvvvvvvv", ""]])
    ]


def test_what_does_not_come_it_does_not_adopt_and_nor_does_it_if_it_leaves():
    lone = LoneWorker()
    [order] = lone.hear(adopt(0)).fetch
    turn = lone.turn(Missed(order.ref, "silent", []))
    assert m.Adopted([[*ROW, "vvvvvvvv", "silent"]]) in [each.message for each in turn.sends]
    lone.tasks(1, 1)
    lone.core.leave("told to", math.inf, lone.now)
    turn = lone.hear(adopt(0))
    assert [each.message.rows[0][4] for each in turn.sends if type(each.message) is m.Adopted] == [
        "this worker leaves, too"
    ]


def test_what_an_earlier_life_had_told_and_is_not_there_it_says_once_it_is_welcome():
    core = WorkerCore("wwwwwwww", b"1", 1, "host")
    core.supply.recall_missed([(key(C1, 1), 7)])
    core.handle(Connected(), 0.0)
    assert [type(each.message) for each in core.settle(0.0).sends] == [m.Hello]
    welcome = m.Welcome("mesh", b"b", 1, 1, {})
    core.handle(RouterHeard(Envelope(core.link.session, 0, 0, welcome)), 0.0)
    said = [each.message for each in core.settle(0.0).sends]
    assert m.Lost([[C1, 1, 7, "wwwwwwww"]]) in said
