"""The messages about what tasks print while they run.

Nothing is said of it unless somebody listens, and all of it may be lost: what a task printed comes
with its outcome once more, whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .message import Message
from .shape import is_blob, is_int, is_seconds, is_session, rows


@dataclass(slots=True)
class Listen(Message):
    """client → router, router → worker. From now on it wants to hear what these tasks print while
    they run, and of no others: rows of [session, first, count]. Reply: PRINTED, in time."""

    COMMAND = 64
    SEQUENCED = False
    SHAPE = (rows(is_session, is_int, is_int),)

    spans: list[list[Any]]


@dataclass(slots=True)
class Printed(Message):
    """worker → router, router → client. What the run of a task that began at `begun` (unix time)
    under `lease` has printed, from byte `at` on. May be lost. No reply."""

    COMMAND = 65
    SHAPE = (is_session, is_int, is_int, is_seconds, is_int, is_blob)

    session: str
    counter: int
    lease: int
    begun: float
    at: int
    text: Any
