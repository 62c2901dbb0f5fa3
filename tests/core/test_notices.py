"""What clients are told without having asked."""

from __future__ import annotations

from lone_router import C1, W1, LoneRouter

from mesh.core.events import Gone
from mesh.core.notices import NO_WORKER, NO_WORKER_S
from mesh.protocol import messages as m

OTHER = "dddddddd"


def notices(sent: list) -> list[tuple[str, str, int]]:
    return [(who, each.kind, each.about["queued"]) for who, each in sent if type(each) is m.Event]


def after(lone: LoneRouter, seconds: float) -> list[tuple[str, str, int]]:
    """What is told within some time, in which everybody is heard of."""
    told = []
    for _ in range(int(seconds)):
        for who in (C1, OTHER):
            lone.say(who, m.Beat())
        told += notices(lone.tick(1))
    return told


def mesh() -> LoneRouter:
    lone = LoneRouter()
    lone.hello(C1)
    lone.hello(OTHER)
    return lone


def test_who_waits_without_a_worker_is_told_once():
    lone = mesh()
    lone.submit(C1, 0, 3)

    assert after(lone, NO_WORKER_S - 1) == []
    assert after(lone, 60) == [(C1, NO_WORKER, 3)], "and who waits for nothing is not"


def test_a_worker_without_slots_is_none():
    lone = mesh()
    lone.hello(W1, about={"slots": 0, "window": 0})
    lone.submit(C1, 0)

    assert after(lone, NO_WORKER_S + 2) == [(C1, NO_WORKER, 1)]


def test_who_submits_later_is_told_too():
    lone = mesh()
    lone.submit(C1, 0)
    after(lone, NO_WORKER_S + 2)
    lone.submit(OTHER, 0, 2)

    assert after(lone, 2) == [(OTHER, NO_WORKER, 2)]


def test_who_waits_for_anothers_task_is_told_as_well():
    lone = mesh()
    lone.submit(C1, 0)
    lone.say(OTHER, m.Watch([[C1, 0, 1]]))

    assert sorted(after(lone, NO_WORKER_S + 2)) == [(C1, NO_WORKER, 1), (OTHER, NO_WORKER, 1)]


def test_when_a_worker_was_there_meanwhile_it_is_a_new_occasion():
    lone = mesh()
    lone.submit(C1, 0, 30)
    after(lone, NO_WORKER_S + 2)

    lone.hello(W1)
    assert after(lone, 3) == []
    lone.do(Gone(W1.encode()))

    assert [row[:2] for row in after(lone, 30)] == [(C1, NO_WORKER)]


def test_an_empty_mesh_has_nothing_to_tell():
    assert after(mesh(), 30) == []
