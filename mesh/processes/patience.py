"""Patience: how long a worker goes on without a router, and that it says so meanwhile.

Silence is counted from the last that was heard. It is pure: it is told what time it is.
"""

from __future__ import annotations

from collections.abc import Callable

#: Who started a worker by hand would like to know by then why nothing happens. Routers that are
#: there are heard more often, and one that is started again is back before, mostly.
TELL_AFTER_S = 5.0


class Patience:
    """See the module.

    Args:
        lasts_s: after so many seconds of silence it ends; None: never, its owner sees to that.
        first_s: the same as long as no router has let it in; None: no less.
        say: told once in each silence that is not over soon, if it comes to an end some time. With
            `first_s`, whoever waits hears of the end.
    """

    def __init__(
        self, lasts_s: float | None, first_s: float | None, say: Callable[[str], None]
    ) -> None:
        self._lasts_s, self._first_s, self._say = lasts_s, first_s, say
        self._heard_at = 0.0
        self._is_told = False

    def heard(self, now: float) -> None:
        """The router has said something; or it begins."""
        self._heard_at, self._is_told = now, False

    def rest(self, seconds: float) -> None:
        """This process was stopped for so long: no silence of the router's."""
        self._heard_at += seconds

    def welcomed(self) -> None:
        """A router has let it in."""
        self._first_s = None

    def ended(self, now: float, why: Callable[[], str]) -> str | None:
        """Why it is at an end, if it is. `why` says what came of the router's addresses."""
        silent_s = now - self._heard_at
        lasts_s = self._first_s or self._lasts_s
        if lasts_s is None:
            return None
        if silent_s > lasts_s:
            return f"no router has answered for {silent_s:.0f} s: {why()}"
        if silent_s > TELL_AFTER_S and self._first_s is None and not self._is_told:
            self._is_told = True
            self._say(f"waits for a router, {lasts_s:g} s at most: {why()}")
        return None
