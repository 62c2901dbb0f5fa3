"""A task's life as a table: every state, every cause, and nothing else.

    submitted ──▶ QUEUED ──dispatched──▶ RUNNING ──succeeded──▶ DONE
        │           ▲ ▲                  │ │ │ └────failed────▶ FAILED
        ▼           │ └── returned, lost ┘ │ └───cancelled────▶ CANCELLED
     WAITING ───released                   │   (also from WAITING and QUEUED)
        ▲                                  │
        └─────────── retried, isolated ────┘

Rule 1: what is not in the table does not happen; `step` returns None for it, and the caller
treats it as late news. Rule 2: the first success wins, from any state that has not ended: a worker
that was given up may come back with the result. Rule 3: an ended task never changes again.
"""

from __future__ import annotations

from enum import IntEnum

from ..task import State


class Cause(IntEnum):
    """What can happen to a task."""

    RELEASED = 0  #: what it waited for is there
    DISPATCHED = 1  #: a worker has been given a lease
    RETURNED = 2  #: its worker gave it back unrun: counts as nothing
    LOST = 3  #: its slot or worker died, and its cap allows another run
    RETRIED = 4  #: the user's code raised, and `retries` allow another run after a pause
    ISOLATED = 5  #: its worker died as often as is allowed: it waits for one of its own
    SUCCEEDED = 6
    FAILED = 7
    CANCELLED = 8
    EXPIRED = 9
    HELD = 10  #: an input of it is not there after all


_S, _C = State, Cause

TRANSITIONS: dict[tuple[State, Cause], State] = {
    (_S.WAITING, _C.RELEASED): _S.QUEUED,
    (_S.WAITING, _C.DISPATCHED): _S.RUNNING,  # no: it ran all the time, says its worker
    (_S.WAITING, _C.SUCCEEDED): _S.DONE,
    (_S.WAITING, _C.CANCELLED): _S.CANCELLED,
    (_S.WAITING, _C.EXPIRED): _S.EXPIRED,
    (_S.WAITING, _C.FAILED): _S.FAILED,
    (_S.QUEUED, _C.DISPATCHED): _S.RUNNING,
    (_S.QUEUED, _C.HELD): _S.WAITING,
    (_S.QUEUED, _C.SUCCEEDED): _S.DONE,
    (_S.QUEUED, _C.FAILED): _S.FAILED,  # as an input of it did
    (_S.QUEUED, _C.CANCELLED): _S.CANCELLED,
    (_S.QUEUED, _C.EXPIRED): _S.EXPIRED,
    (_S.RUNNING, _C.RETURNED): _S.QUEUED,
    (_S.RUNNING, _C.LOST): _S.QUEUED,
    (_S.RUNNING, _C.RETRIED): _S.WAITING,
    (_S.RUNNING, _C.ISOLATED): _S.WAITING,
    (_S.RUNNING, _C.SUCCEEDED): _S.DONE,
    (_S.RUNNING, _C.FAILED): _S.FAILED,
    (_S.RUNNING, _C.CANCELLED): _S.CANCELLED,
}


def step(state: int, cause: Cause) -> State | None:
    """The state after `cause`, or None where the table has no such step."""
    return TRANSITIONS.get((State(state), cause))
