"""The journal: what happened to which task, under which lease, on which worker, as plain rows.

The cores note; a shell that was told to keep a journal takes the rows after each turn and writes
them down. Nothing depends on it: while it is off, nothing is noted.
"""

from __future__ import annotations

import math
from typing import Any


class Journal:
    """Rows since the last `take`. `on` says whether anybody wants them."""

    __slots__ = ("_rows", "on")

    def __init__(self) -> None:
        self.on = False
        self._rows: list[dict[str, Any]] = []

    def note(self, event: str, **about: Any) -> None:
        """`event` has happened. `session`, `first` and `count` name tasks, `lease` is that of the
        first of them: a row stands for all. A `body` is that of an outcome, for the shell to read:
        in it is when a run began."""
        if self.on:
            self._rows.append({"event": event} | about)

    def drain(self, is_first: bool, within_s: float, **about: Any) -> None:
        """Whoever keeps this journal is to leave when what runs has ended, `within_s` seconds at
        most; unless `is_first` it was to before, and now has less time for it."""
        limit_s = None if within_s == math.inf else within_s  # which JSON has no word for
        self.note("drain began" if is_first else "drain hurried", within_s=limit_s, **about)

    def take(self) -> list[dict[str, Any]]:
        """The rows, oldest first; they are gone from here."""
        rows, self._rows = self._rows, []
        return rows
