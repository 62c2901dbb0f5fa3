"""Ready: what may run now: a queue of the tasks that ask for a slot, and one for each other need.

Tasks that ask for the same are given out in one order; those that ask for something else pass them
while they wait for a worker that has it.
"""

from __future__ import annotations

from .block import Block
from .need import Need
from .queue import Queue


class NeedQueue(Queue):
    """The tasks of one need.

    Attributes:
        fresh: whether any worker with room may do; otherwise those that have changed since.
        waits_since: since when nothing of it was given out; None: nobody has looked.
    """

    def __init__(self, need: Need) -> None:
        super().__init__()
        self.need = need
        self.fresh = True
        self.waits_since: float | None = None


class Ready:
    """All queues.

    Attributes:
        plain: of the tasks that ask for a slot and nothing else.
        needs: of the others; none of them is empty.
        unable: those of them that no worker could ever run, of those there are.
        turns: the others, and `plain`, in the order in which they were last given something.
    """

    def __init__(self) -> None:
        self.plain = Queue()
        self.needs: dict[Need, NeedQueue] = {}
        self.unable: dict[NeedQueue, None] = {}
        self.turns: dict[Queue, None] = {self.plain: None}

    def push(self, block: Block, low: int, high: int, *, first: bool = False) -> None:
        """Queue tasks [low, high) of `block`; `first` for what comes back after a loss."""
        if block.need is None:
            self.plain.push(block, low, high, first=first)
            return
        queue = self.needs.get(block.need)
        if queue is None:
            queue = self.needs[block.need] = NeedQueue(block.need)
            self.turns[queue] = None
        queue.push(block, low, high, first=first)

    def served(self, queue: Queue) -> None:
        """`queue` has its turn: the next is after all others."""
        del self.turns[queue]
        self.turns[queue] = None

    def emptied(self, queue: Queue) -> None:
        """Nothing is left in `queue`."""
        if isinstance(queue, NeedQueue):
            del self.needs[queue.need]
            self.turns.pop(queue, None)
            self.unable.pop(queue, None)

    def set_aside(self, queue: NeedQueue) -> None:
        """No worker could run what is in `queue`."""
        del self.turns[queue]
        self.unable[queue] = None

    def bring_back(self, queue: NeedQueue) -> None:
        """Some worker could, after all."""
        del self.unable[queue]
        queue.fresh = True
        self.turns[queue] = None
