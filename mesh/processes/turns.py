"""Turns: the tasks that threads of one process run at once have one environment, one folder, and
one version of each module that came with them.

Those belong to a process. So a task that has others waits for its turn, until the process has
nobody left who minds; who comes later waits behind it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from ..protocol.parcel import Source
from .surroundings import Surroundings

#: Environment, folder asked for, folder of the function.
Place = tuple[dict[str, str], "str | None", str]


class Turns:
    """Those of a process, whose tasks run in `surroundings`."""

    def __init__(self, surroundings: Surroundings) -> None:
        self._surroundings = surroundings
        self._changed = threading.Condition()
        self._line: list[object] = []  # who waits
        self._place: Place | None = None  # of all that are here
        self._here: dict[object, dict[str, Source]] = {}
        self._entered: set[object] = set()  # those of them that the surroundings were taken for

    def take(
        self, who: object, place: Place, sources: dict[str, Source], gives_up: Callable[[], bool]
    ) -> None:
        """Wait until a task may run here; or until it `gives_up`, which is asked at each `wake`."""
        with self._changed:
            self._line.append(who)
            self._changed.wait_for(
                lambda: gives_up() or (self._line[0] is who and self._has_room(place, sources))
            )
            self._line.remove(who)
            self._place = place
            self._here[who] = sources
            self._changed.notify_all()

    def _has_room(self, place: Place, sources: dict[str, Source]) -> bool:
        if not self._here:
            return True
        return place == self._place and not any(
            name in sources and sources[name].digest != source.digest
            for each in self._here.values()
            for name, source in each.items()
        )

    @property
    def sources(self) -> dict[str, Source]:
        """What came with all tasks that are here."""
        with self._changed:
            return {name: each for here in self._here.values() for name, each in here.items()}

    def wake(self) -> None:
        """Somebody may give up."""
        with self._changed:
            self._changed.notify_all()

    def enter(self, who: object, *place: Any) -> None:
        """Take the surroundings, if no other has.

        Raises:
            OSError: the folder is not there.
        """
        with self._changed:
            if not self._entered:
                self._surroundings.enter(*place)
            self._entered.add(who)

    def leave(self, who: object) -> None:
        """A task has ended, or does not run here after all."""
        with self._changed:
            self._entered.discard(who)
            if not self._entered:
                self._surroundings.leave()
            self._here.pop(who, None)
            self._changed.notify_all()


class Turn:
    """The surroundings of one thread, `who`, in its turn."""

    def __init__(self, turns: Turns, who: object) -> None:
        self._turns, self._who = turns, who

    def enter(self, env: dict[str, str], cwd: str | None, home: str) -> None:
        """See `Turns.enter`."""
        self._turns.enter(self._who, env, cwd, home)

    def leave(self) -> None:
        """See `Turns.leave`."""
        self._turns.leave(self._who)
