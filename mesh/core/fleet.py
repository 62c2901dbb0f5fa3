"""The workers as the router sees them: what each holds, how much more it takes, who is next.

Credit is a *window*: how many leases a worker will hold at once, told anew with every message that
changes it. The router fills windows and never exceeds them, so no queue elsewhere needs a
high-water mark. Placement first gives every idle slot one task, then shares the rest evenly,
so that few tasks spread over many hosts and many tasks travel in long runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .block import Block
from .peers import Peer

#: After a recall that brought nothing the next one waits: what a worker holds has begun.
RECALL_PAUSE_S = 0.05


class Worker:
    """One worker: one incarnation of one store.

    Attributes:
        who: the id of its store; what a ref's holder names.
        held: lease → (block, index), in the order they were given.
        window: how many leases it takes at once.
        functions: the digests it has been sent.
        peer: its connection, or None while it is away.
    """

    __slots__ = (
        "about",
        "away_since",
        "functions",
        "held",
        "incarnation",
        "peer",
        "recall_after",
        "recalled",
        "slots",
        "who",
        "window",
    )

    def __init__(self, who: str, incarnation: bytes, about: dict[str, Any]) -> None:
        self.who = who
        self.incarnation = incarnation
        self.about = about
        self.slots = int(about.get("slots", 0))
        self.window = int(about.get("window", self.slots))
        self.held: dict[int, tuple[Block, int]] = {}
        self.functions: set[bytes] = set()
        self.peer: Peer | None = None
        self.away_since: float | None = None
        self.recalled = False  # a RECALL is on its way
        self.recall_after = 0.0

    @property
    def room(self) -> int:
        """How many more leases it takes now."""
        return self.window - len(self.held) if self.peer is not None else 0

    @property
    def idle_slots(self) -> int:
        """Slots that have nothing to run."""
        return min(self.slots - len(self.held), self.room)


class Fleet:
    """All workers, by store id."""

    def __init__(self) -> None:
        self.workers: dict[str, Worker] = {}

    def __iter__(self) -> Iterator[Worker]:
        return iter(self.workers.values())

    def shares(self, ready: int) -> Iterator[tuple[Worker, int]]:
        """Who gets how many of `ready` tasks, most urgent first. Read room anew each time."""
        idle = [worker for worker in self if worker.idle_slots > 0]
        for worker in sorted(idle, key=lambda w: len(w.held)):
            share = min(worker.idle_slots, ready)
            if share <= 0:
                return
            ready -= share
            yield worker, share
        roomy = sorted((w for w in self if w.room > 0), key=lambda w: w.room)
        for nth, worker in enumerate(roomy):
            share = min(worker.room, -(-ready // (len(roomy) - nth)))
            if share <= 0:
                return
            ready -= share
            yield worker, share

    def recall(self, now: float) -> tuple[Worker, int] | None:
        """From whom to take back how many tasks, when some slot idles and nothing is ready."""
        idle = sum(max(w.idle_slots, 0) for w in self)
        if not idle:
            return None
        busiest = max(self, key=lambda w: len(w.held) - w.slots)
        spare = len(busiest.held) - busiest.slots
        if spare <= 0 or busiest.recalled or busiest.peer is None or now < busiest.recall_after:
            return None
        busiest.recalled = True
        return busiest, max(min(spare, idle), spare // 2)

    def returned(self, worker: Worker, count: int, now: float) -> None:
        """A recall was answered."""
        worker.recalled = False
        if not count:
            worker.recall_after = now + RECALL_PAUSE_S
