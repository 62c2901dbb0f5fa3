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
