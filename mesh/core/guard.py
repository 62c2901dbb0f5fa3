"""Guard: what may end a task from outside, its own limits of time and memory.

It knows which slots run tasks that have any, and says which of them are over. A task with a limit
is alone in its slot, so that ending the slot ends nothing else.
"""

from __future__ import annotations

from collections.abc import Callable

from ..options import show_size
from ..task import Kind
from .backlog import Piece
from .slot import Slot

#: A run that is to end is interrupted; who has not ended after so long gets SIGTERM, and SIGKILL
#: after as long again: with all its process group.
GRACE_S = 1.0

#: The memory of a slot is looked at this often: two lines of /proc for each process of the task.
WEIGH_EVERY_S = 0.1


class Guard:
    """Watches over the slots of a worker. `running` gives the piece of a lease."""

    def __init__(self, running: Callable[[int], Piece]) -> None:
        self._running = running
        self._watched: dict[int, Slot] = {}
        self._weigh_at: dict[int, float] = {}
        self._harsher_at: dict[int, list[float]] = {}  # of those that were interrupted

    def watch(self, slot: Slot, piece: Piece) -> None:
        """`slot` was given a task of `piece`."""
        if not piece.limited:
            return
        self._watched[slot.number] = slot
        if piece.memory is not None:
            self._weigh_at[slot.number] = slot.began
        else:
            self._weigh_at.pop(slot.number, None)  # of the task before: it would never be looked at

    def forget(self, number: int) -> None:
        """The slot's process is gone."""
        self._unwatch(number)
        self._harsher_at.pop(number, None)

    def _unwatch(self, number: int) -> None:
        self._watched.pop(number, None)
        self._weigh_at.pop(number, None)

    def struck(self, number: int, now: float) -> None:
        """What runs in the slot was interrupted."""
        self._harsher_at[number] = [now + GRACE_S, now + 2 * GRACE_S]

    def harsher(self, now: float) -> list[tuple[int, bool]]:
        """The slots that an interrupt did not end in time, and whether it is their last chance."""
        found: list[tuple[int, bool]] = []
        for number, steps in self._harsher_at.items():
            if steps and steps[0] <= now:
                del steps[0]
                found.append((number, not steps))
        return found

    def overdue(self, now: float) -> list[tuple[Slot, int]]:
        """The slots that run a task beyond its time limit, with its lease."""
        found: list[tuple[Slot, int]] = []
        for number, slot in list(self._watched.items()):
            lease = slot.line.first
            if lease is None or not self._running(lease).limited:
                self._unwatch(number)
                continue
            limit = self._running(lease).time_limit
            if limit is not None and slot.ending is None and now >= slot.began + limit:
                found.append((slot, lease))
        return found

    def to_weigh(self, now: float) -> list[tuple[int, int, int]]:
        """The slots whose memory is to be looked at now, with the lease that each runs, and its
        limit."""
        found: list[tuple[int, int, int]] = []
        for number, at in self._weigh_at.items():
            lease = self._watched[number].line.first
            limit = None if lease is None else self._running(lease).memory
            if at <= now and lease is not None and limit is not None:
                self._weigh_at[number] = now + WEIGH_EVERY_S
                found.append((number, lease, limit))
        return found

    def is_too_big(self, slot: Slot, lease: int, size: int) -> bool:
        """Whether `lease` still runs in `slot`, and uses more memory than it may."""
        if slot.line.first != lease or slot.ending is not None:
            return False
        limit = self._running(lease).memory
        return limit is not None and size > limit

    def deadline(self) -> float:
        """When there is something to look at."""
        due = float("inf")
        for number, slot in self._watched.items():
            lease = slot.line.first
            if lease is None or slot.ending is not None:
                continue
            limit = self._running(lease).time_limit
            if limit is not None:
                due = min(due, slot.began + limit)
            due = min(due, self._weigh_at.get(number, due))
        for steps in self._harsher_at.values():
            due = min(due, steps[0] if steps else due)
        return due


def obituary(task: str, how: str, slot: Slot, piece: Piece, host: str) -> tuple[Kind, str, str]:
    """How a task ended whose slot died under it: kind, class of the error, text. It was ended by
    the worker (`slot.ending` says why), or took the slot down itself."""
    where = f"on {host}, process {slot.pid}"
    if slot.ending is Kind.CANCELLED:
        return Kind.CANCELLED, "CancelledError", f"{task} was cancelled {where}"
    if slot.ending is Kind.TIMED_OUT:
        text = f"{task} ran longer than its time_limit of {piece.time_limit:g} s {where}"
        return Kind.TIMED_OUT, "TaskTimeout", f"{text}, and was stopped: it {how}"
    if slot.ending is Kind.OUT_OF_MEMORY and piece.memory is not None:
        text = (
            f"{task} used {show_size(slot.size)} {where}, and was stopped: it {how}; its limit is"
        )
        return Kind.OUT_OF_MEMORY, "TaskOutOfMemory", f"{text} memory={show_size(piece.memory)}"
    return Kind.SLOT_LOST, "WorkerLost", f"{task} took its slot down: it {how} {where}"
