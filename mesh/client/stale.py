"""Stale: files that were edited after this process had imported them.

A task runs what its client has in memory, as a call here would. Who has edited a file and not
imported it again wants to know that; once for each edit.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Any

from ..protocol.parcel import state_of

#: Files are looked at no more often: a submit costs microseconds, and looking does, too.
LOOK_EVERY_S = 1.0


class Stale:
    """`warn` takes a line that the user should see."""

    def __init__(self, warn: Callable[[str], None]) -> None:
        self._warn = warn
        self._known: dict[str, tuple[Any, Any]] = {}  # module → its spec and its file's state
        self._look_at = 0.0

    def know(self, modules: Iterable[str]) -> None:
        """Something of these modules goes along as it is in memory."""
        for name in modules:
            self._is_edited(name)

    def look(self, now: float) -> None:
        """Warn of what was edited meanwhile."""
        if now < self._look_at or not self._known:
            return
        self._look_at = now + LOOK_EVERY_S
        for name in list(self._known):
            if self._is_edited(name):
                self._warn(
                    f"{self._known[name][0].origin} was edited after it was imported: tasks run "
                    f"what this process has of it; importlib.reload({name}), or start again, and "
                    f"they run what it says now"
                )

    def _is_edited(self, name: str) -> bool:
        """Whether the file of a module is another than when this was last asked, while the module
        is the same: one that is imported again has a new spec."""
        spec = getattr(sys.modules.get(name), "__spec__", None)
        if spec is None or not spec.has_location or not spec.origin:
            return False
        state = state_of(spec.origin)
        known = self._known.get(name)
        self._known[name] = spec, state
        return known is not None and known[0] is spec and known[1] != state
