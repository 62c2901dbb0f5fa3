"""Quarantine: tasks that were lost with their workers as often as is allowed run alone once more.

A worker takes all that it runs with it when it dies, and who of them ended it cannot be told. So a
task that has reached the cap gets a worker to itself: if that one dies too, the task has done it
and fails; if not, it was innocent. One worker at a time is emptied for this, so that a few such
tasks hold up no more than that.
"""

from __future__ import annotations

from collections import deque

from ..task import State
from .block import Block
from .member import Member
from .need import Need
from .rooms import Rooms

_WAITING = int(State.WAITING)


class Quarantine:
    """The tasks that wait for a worker of their own, and the worker set aside for them, which has
    no room for others in `rooms`.

    Attributes:
        worker: who takes nothing else meanwhile, or None.
        lease: under which a task is alone there; 0 while the worker is being emptied.
    """

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms
        self._waiting: deque[tuple[Block, int]] = deque()
        self.worker: Member | None = None
        self.lease = 0

    def __bool__(self) -> bool:
        """Whether any task waits. Those that have ended or run after all do not."""
        while self._waiting and not _waits(*self._waiting[0]):
            self._waiting.popleft()
        return bool(self._waiting)

    def __contains__(self, task: tuple[Block, int]) -> bool:
        return task in self._waiting

    @property
    def need(self) -> Need | None:
        """What the next one asks for, if there is one, and that is more than a slot."""
        return self._waiting[0][0].need if self._waiting else None

    def add(self, block: Block, i: int) -> None:
        """A task is to run alone, first of all."""
        self._waiting.appendleft((block, i))

    def take(self) -> tuple[Block, int]:
        """The next task: ask first whether there is one."""
        return self._waiting.popleft()

    def set_aside(self, worker: Member) -> None:
        """`worker` is for the next task alone."""
        self.worker, self.lease = worker, 0
        worker.reserved = True
        self._rooms.touch(worker)

    def release(self) -> None:
        """Nobody needs the worker for himself any more, or it is gone."""
        if self.worker is not None:
            self.worker.reserved = False
            self._rooms.touch(self.worker)
        self.worker, self.lease = None, 0


def _waits(block: Block, i: int) -> bool:
    return block.states[i] == _WAITING
