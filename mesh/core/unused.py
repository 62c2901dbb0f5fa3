"""Unused: functions that no task calls any more are forgotten.

Every now and then those are looked for of which neither a client nor a block has spoken for long:
the store goes through the headers of all blocks, some at a time. A function stays while a block
refers to it, however long ago that has ended: its result may be made again. A client sends a
function again that it has not used for a while (FUNCTION_KNOWN_S), and long before that one may go.
While nothing can be recorded the time stands still: what is in line may be as old.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..protocol.messages import FUNCTION_KNOWN_S

if TYPE_CHECKING:
    from .router import RouterCore

#: So long after it was last sent or called a function may go: twice what clients rely on.
IDLE_S = 2 * FUNCTION_KNOWN_S

#: Blocks that the store looks at in one step: about a millisecond of its thread.
BLOCKS_MAX = 512

#: Looking takes at most this part of the time.
BUSY_PART = 0.1


class Unused:
    """Forgets functions of `core`."""

    def __init__(self, core: RouterCore, now: float) -> None:
        self._core = core
        self._spoken_of: dict[bytes, float] = {}
        self._floor = now  # of those that are not in there
        self._next_at = now + IDLE_S
        self._began_at = now
        self._suspects: set[bytes] = set()
        self._is_looking = False

    def touch(self, function: bytes, now: float) -> None:
        """A client has sent this one, or a task of it."""
        self._spoken_of[function] = now

    def tick(self, now: float) -> None:
        """Begin to look, if it is time."""
        if self._core.stall.why is not None:
            self._floor = now
            self._spoken_of.clear()
        if now < self._next_at or self._is_looking or self._core.stall.why is not None:
            return
        functions = self._core.ledger.functions
        self._suspects = {each for each in functions if self._idle_s(each, now) > IDLE_S}
        if not self._suspects:
            self._next_at = now + IDLE_S
            return
        self._is_looking, self._began_at = True, now
        self._look(b"")

    def _idle_s(self, function: bytes, now: float) -> float:
        return now - self._spoken_of.get(function, self._floor)

    def _look(self, behind: bytes) -> None:
        self._core.lookups.ask("functions", (behind, BLOCKS_MAX), self._found)

    def _found(self, answer: tuple[set[bytes], bytes | None], now: float) -> None:
        """Which functions the next blocks are calls of, and where to go on."""
        used, behind = answer
        self._suspects -= used
        if behind is not None and self._suspects:
            self._look(behind)
            return
        self._is_looking = False
        self._next_at = now + max(IDLE_S, (now - self._began_at) / BUSY_PART)
        gone = [each for each in self._suspects if self._idle_s(each, now) > IDLE_S]
        self._suspects = set()
        if not gone or self._core.stall.why is not None:
            return
        for function in gone:
            del self._core.ledger.functions[function]
            self._spoken_of.pop(function, None)
        for worker in self._core.fleet:
            worker.functions.difference_update(gone)
        self._core.ledger.writes.append(("unused", gone))
