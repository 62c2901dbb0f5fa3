"""The worker's core: what its tasks print goes to who listens, while they run.

Nothing of it is certain, and nothing waits for it: of what a router does not take in time no more
is sent, and who listens sees by the positions what it lacks.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ..protocol import messages as m
from .events import Printed

if TYPE_CHECKING:
    from .worker import WorkerCore

#: What runs is looked at so often: as quickly as eyes follow.
LOOK_EVERY_S = 0.25

#: So much is on its way at once, unacknowledged.
ON_WAY_BYTES_MAX = 2 * 1024 * 1024


class Tails:
    """For `core`."""

    def __init__(self, core: WorkerCore) -> None:
        self._core = core
        self._spans: list[list[Any]] = []
        self._new: list[list[Any]] = []  # who listens to these has heard nothing of them yet
        self._look_at = math.inf

    def take_listen(self, message: m.Listen, now: float) -> None:
        """These tasks are listened to from now on."""
        self._new += [span for span in message.spans if span not in self._spans]
        self._spans = message.spans
        self._look_at = now if self._spans else math.inf

    def forget(self) -> None:
        """Another router is greeted, or the same anew: it says who listens."""
        self._spans, self._new = [], []
        self._look_at = math.inf

    def is_heard(self, lease: int) -> bool:
        """Whether somebody listens to what runs under this lease."""
        return self._is_in(self._spans, lease)

    def is_new(self, lease: int) -> bool:
        """Whether somebody has just begun to, and is to hear all of it."""
        return bool(self._new) and self._is_in(self._new, lease)

    def _is_in(self, spans: list[list[Any]], lease: int) -> bool:
        piece = self._core.slots.held.get(lease)
        return piece is not None and covers(spans, piece.session, piece.counter(lease))

    def looked(self) -> None:
        """What there was to read has been read."""
        self._new = []

    def order(self, now: float) -> None:
        """Have the shell look, if it is time to."""
        if now >= self._look_at and self._core.slots.held:
            self._look_at = now + LOOK_EVERY_S
            self._core.slots.orders.look = True

    def deadline(self) -> float:
        """When it is time to look; never while nothing runs."""
        return self._look_at if self._core.slots.held else math.inf

    def printed(self, event: Printed, now: float) -> None:
        """Tell what a task has printed, unless too much is on its way."""
        piece = self._core.slots.held.get(event.lease)
        if piece is None or self._core.welcome is None:
            return
        unacked = (each for _, each in self._core.link.unacked)
        if sum(len(each.text) for each in unacked if type(each) is m.Printed) < ON_WAY_BYTES_MAX:
            task = piece.session, piece.counter(event.lease)
            told = m.Printed(*task, event.lease, event.begun, event.at, event.text)
            self._core.send(told, now)


def covers(spans: list[list[Any]], session: str, counter: int) -> bool:
    """Whether a task is in one of `spans`."""
    return any(
        whose == session and first <= counter < first + count for whose, first, count in spans
    )
