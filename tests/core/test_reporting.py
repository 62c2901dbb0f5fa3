"""When a worker says that it is there."""

from __future__ import annotations

from typing import Any

from test_worker import LoneWorker

from mesh.core.reporting import REPORT_S
from mesh.protocol import messages as m


def quiet_worker() -> LoneWorker:
    """One that has said all there was to say."""
    lone = LoneWorker()
    lone.now += REPORT_S
    lone.turn()
    return lone


def beats(turn: Any) -> int:
    return sum(type(each.message) is m.Beat for each in turn.sends)


def test_a_worker_answers_a_heartbeat_when_its_own_is_due_soon() -> None:
    lone = quiet_worker()
    heartbeat_s = lone.core.settings.heartbeat_s

    lone.now += heartbeat_s / 4
    assert not beats(lone.hear(m.Beat())), "it has just spoken"
    lone.now += heartbeat_s / 2
    assert beats(lone.hear(m.Beat())) == 1
    assert not beats(lone.hear(m.Beat())), "so it has now"


def test_an_answer_takes_the_place_of_its_own_heartbeat() -> None:
    lone = quiet_worker()
    heartbeat_s = lone.core.settings.heartbeat_s
    its_own = answers = 0
    for quarter in range(1, 41):
        its_own += beats(lone.tick(heartbeat_s / 4 * 0.99))
        if quarter % 4 == 0:
            answers += beats(lone.hear(m.Beat()))
    assert (its_own, answers) == (0, 10)


def test_an_answer_brings_what_is_new_along() -> None:
    lone = quiet_worker()
    lone.now += lone.core.settings.heartbeat_s
    lone.core.keeping.stored(3, 30)
    [said] = [each.message for each in lone.hear(m.Beat()).sends]
    assert type(said) is m.Report and said.about["stored_bytes"] == 30


def test_who_speaks_in_its_own_time_comes_to_answer() -> None:
    """Its heartbeat and the router's are as long, and begin at different moments."""
    lone = quiet_worker()
    heartbeat_s = lone.core.settings.heartbeat_s
    lone.now += heartbeat_s / 2
    lone.core.send(m.Done([], 1), lone.now)  # as when a task has ended
    lone.turn()
    lone.tick(heartbeat_s / 4)
    assert not beats(lone.hear(m.Beat())), "it has just spoken"
    its_own = answers = 0
    for _ in range(10):
        its_own += beats(lone.tick(heartbeat_s * 0.6)) + beats(lone.tick(heartbeat_s * 0.39))
        lone.now += heartbeat_s * 0.02
        answers += beats(lone.hear(m.Beat()))
    assert (its_own, answers) == (0, 10)


def test_who_is_told_much_and_says_nothing_still_says_that_it_is_there() -> None:
    lone = quiet_worker()
    heartbeat_s, since, longest = lone.core.settings.heartbeat_s, lone.now, 0.0
    for _ in range(100):
        said = beats(lone.tick(heartbeat_s / 10))
        lone.hear(m.Keys({}))
        if said:
            longest, since = max(longest, lone.now - since), lone.now
    assert 0 < longest <= 2 * heartbeat_s


def test_a_router_that_says_nothing_hears_of_it_each_heartbeat() -> None:
    lone = quiet_worker()
    heartbeat_s = lone.core.settings.heartbeat_s
    said = sum(beats(lone.tick(heartbeat_s / 2 * 1.01)) for _ in range(9))
    assert said == 4
