"""The worker's core: what it says of itself, when that has changed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ..protocol import messages as m
from .events import Dialled, TimeLeft

if TYPE_CHECKING:
    from .worker import WorkerCore

#: Who asks what a worker runs hears of what began or ended so long ago; tiny tasks go untold.
REPORT_S = 0.2


class Reporting:
    """For `core`. `due` is when there is something to say, perhaps."""

    def __init__(self, core: WorkerCore) -> None:
        self._core = core
        self._said: dict[str, Any] = {}
        self.due = math.inf

    def settle(self, now: float, *, has_told: bool) -> None:
        """Say what has changed: of the slots at once, of what they run in a while. How some of that
        ended it `has_told`, perhaps."""
        core = self._core
        news = has_told or core.slots.orders.tasks or core.keeping.is_changed
        if news and self.due == math.inf:
            self.due = now + REPORT_S
        if not core.slots.changed and now < self.due:
            return
        about = self.about()
        if core.slots.changed or about != self._said:
            core.send(m.Report(about), now)
        core.slots.changed = False
        self._said = about
        self.due = math.inf
        core.keeping.is_changed = False

    def tick(self, now: float, silent_s: float, unheard_s: float) -> None:
        """Say that this worker is there, if it has said nothing for a heartbeat; but who was heard
        meanwhile is about to speak, and is answered: see `answer`."""
        heartbeat_s = self._core.settings.heartbeat_s
        if silent_s >= heartbeat_s and max(unheard_s, silent_s - heartbeat_s / 2) >= heartbeat_s:
            self._beat(now)

    def answer(self, now: float, silent_s: float) -> None:
        """The router has nothing to say but that it is there: it hears the same, if that is due
        soon. It says so to many at once, and what comes in answer it takes in at one go; a thousand
        that speak each in its own time would wake it as often."""
        if self._core.welcome is not None and silent_s >= self._core.settings.heartbeat_s / 2:
            self._beat(now)

    def _beat(self, now: float) -> None:
        """With what is new, if anything is: of a thousand that idle the router has nothing to
        read."""
        about = self.about()
        self._core.send(m.Beat() if about == self._said else m.Report(about), now)
        self._said = about

    def time_left(self, event: TimeLeft, now: float) -> None:
        """Who gives it its time has been asked: what begins now may run longer, or not so long."""
        core = self._core
        if core.leaving is None:
            core.term.prolong(now + event.left_s)
            if core.welcome is not None:  # else HELLO says it
                core.send(m.Report(self.about() | {"ends_s": None} | core.term.told(now)), now)

    def dialled(self, event: Dialled, now: float) -> None:
        """It was tried to reach others. A router that has come since does not want to know."""
        if self._core.welcome is not None:
            self._core.send(m.Dialled(event.token, event.came), now)

    def about(self) -> dict[str, Any]:
        """What there is to say."""
        return self._core.slots.report() | self._core.keeping.told()
