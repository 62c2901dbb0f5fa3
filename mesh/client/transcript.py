"""Transcript: what one task prints, each byte once.

It comes in pieces while the task runs, and as a log with its outcome.

Pieces may be lost or come twice, and a task may run again: a run is known by when it began, which
pieces and outcome both say.
"""

from __future__ import annotations

from ..protocol import printout


class Transcript:
    """Of one task. `at` is how much of its run's output has been told of."""

    __slots__ = ("_begun", "at")

    def __init__(self) -> None:
        self._begun = 0.0
        self.at = 0

    def hear(self, begun: float, at: int, text: bytes) -> bytes:
        """What is new in a piece; for what is missing before it stands a note."""
        if begun < self._begun:
            return b""  # of a run that was given up
        if begun > self._begun:
            self._begun, self.at = begun, 0
        gap = at - self.at
        self.at = max(self.at, at + len(text))
        return printout.note(gap) + text if gap > 0 else text[-gap:]

    def end(self, begun: float, log: bytes) -> bytes:
        """What is new in the log of the run that the task ended with."""
        return printout.rest_of(log, self.at if begun == self._begun else 0)
