"""A task's life: the table, cell by cell, and the rules it obeys."""

from __future__ import annotations

import itertools

import pytest

from mesh.core.life import TRANSITIONS, Cause, step
from mesh.task import ENDED, STATE_OF, SUCCESS, Kind, State

WAITING, QUEUED, RUNNING, DONE, FAILED, CANCELLED, EXPIRED = State
CAUSES = list(Cause)

#: Row by row what each state becomes by a cause; "-" is what does not happen.
TABLE = """
           WAITING   QUEUED    RUNNING   DONE FAILED CANCELLED EXPIRED
RELEASED   QUEUED    -         -         -    -      -         -
DISPATCHED RUNNING   RUNNING   -         -    -      -         -
RETURNED   -         -         QUEUED    -    -      -         -
LOST       -         -         QUEUED    -    -      -         -
RETRIED    -         -         WAITING   -    -      -         -
ISOLATED   -         -         WAITING   -    -      -         -
SUCCEEDED  DONE      DONE      DONE      -    -      -         -
FAILED     FAILED    FAILED    FAILED    -    -      -         -
CANCELLED  CANCELLED CANCELLED CANCELLED -    -      -         -
EXPIRED    EXPIRED   EXPIRED   -         -    -      -         -
HELD       -         WAITING   -         -    -      -         -
"""


def cells() -> list[tuple[State, Cause, State | None]]:
    head, *rows = [line.split() for line in TABLE.strip().splitlines()]
    return [
        (State[state], Cause[row[0]], None if cell == "-" else State[cell])
        for row in rows
        for state, cell in zip(head, row[1:], strict=True)
    ]


@pytest.mark.parametrize(
    ("state", "cause", "after"), cells(), ids=lambda each: getattr(each, "name", "-")
)
def test_every_cause_in_every_state(state: State, cause: Cause, after: State | None):
    assert step(state, cause) is after
    assert step(int(state), cause) is after, "a state may come as the byte it is kept in"


def test_the_table_here_is_whole():
    assert {(state, cause) for state, cause, _ in cells()} == set(itertools.product(State, Cause))


def test_an_ended_task_never_changes_again():
    assert [state for state, _ in TRANSITIONS if state >= ENDED] == []


def test_a_success_ends_every_task_that_can_run():
    assert {step(state, Cause.SUCCEEDED) for state in (WAITING, QUEUED, RUNNING)} == {DONE}


def test_every_state_can_be_reached_and_every_open_one_left():
    reached = {WAITING, QUEUED, *TRANSITIONS.values()}

    assert reached == set(State)
    assert {state for state, _ in TRANSITIONS} == {WAITING, QUEUED, RUNNING}


def test_every_open_state_can_be_cancelled():
    assert {state for state, cause in TRANSITIONS if cause is Cause.CANCELLED} == {
        WAITING,
        QUEUED,
        RUNNING,
    }


@pytest.mark.parametrize("kind", sorted(set(Kind) - {Kind.ASTRAY}))  # which counts as nothing
def test_every_way_a_run_ends_leads_to_an_end(kind: Kind):
    assert STATE_OF[kind] >= ENDED
    assert (STATE_OF[kind] is DONE) is (kind in SUCCESS)
