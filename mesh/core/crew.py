"""Crew: the slots of one process, and what they share: it is ended, counted and given GPUs as a
whole. A crew of one is a slot with a process to itself."""

from __future__ import annotations

from .slot import Slot


class Crew:
    """The crew of process `number` among those of a worker that have so many `threads`.

    Attributes:
        slots: its slots, one for each thread.
        left: how many more tasks it takes before another process has its place; None: no end.
        devices: the GPUs that it was given, perhaps none; None: it has had no task yet, or they are
            given to nobody.
        is_full: its process has said that it is to be replaced.
        is_solitary: what began in it last has the process to itself, for as long as it runs.
    """

    __slots__ = ("devices", "is_full", "is_solitary", "left", "number", "slots")

    def __init__(self, number: int, threads: int, left: int | None) -> None:
        self.number = number
        self.left = left
        self.devices: tuple[str, ...] | None = None
        self.is_full = False
        self.is_solitary = False
        self.slots = [Slot(number * threads + nth, self) for nth in range(threads)]

    @property
    def is_idle(self) -> bool:
        """Whether none of its slots has a task."""
        return not any(slot.line for slot in self.slots)

    @property
    def is_spent(self) -> bool:
        """Whether another process is to have its place."""
        return self.left == 0 or self.is_full

    @property
    def takes(self) -> bool:
        """Whether it takes tasks."""
        return not self.is_spent and (not self.is_solitary or self.is_idle)
