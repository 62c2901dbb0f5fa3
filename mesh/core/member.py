"""Member: a worker as the router sees it: what it holds, and how much more it takes.

Plain facts, kept by fleet.py, which decides what follows from them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..protocol import messages as m
from ..task import show
from .capacity import Capacity
from .ledger import Given
from .need import CPUS, Need
from .peers import Peer


@dataclass(slots=True)
class Demand:
    """Somebody wants tasks back that have perhaps begun. `answered(left, now)` is called whenever
    a worker that was asked has answered, or will not; `left` others have not yet."""

    answered: Callable[[int, float], None]
    left: int = 0


class Member:
    """One worker of a fleet: one incarnation of one store.

    Attributes:
        who: the id of its store; what a ref's holder names.
        held: lease → (block, index, since when), in the order they were given.
        strays: what it runs of tasks that were given to another while it was away.
        begun: the leases that its slots were at when it last said so.
        window: how many leases it takes at once.
        functions: the digests it has been sent.
        peer: its connection, or None while it is away.
        recorded: whether the roster has it. Until then it is given nothing: a router that
            restarts waits for the roster alone before what may run is dispatched again.
        capacity: what it has, what of it is in use, and how long it stays.
        reserved: whether it is set aside for a task that must run alone.
        skew_s: how far its clock is ahead of the router's, by what it last said.
        saved_for: what it fills up no more for, with anything else; None: nothing.
        recalled: whether a RECALL is on its way; there is one at a time.
        wanted, asked: demands for the next RECALL, with their leases; those in the one on its way.
    """

    __slots__ = (
        "about",
        "asked",
        "away_since",
        "begun",
        "capacity",
        "functions",
        "held",
        "incarnation",
        "peer",
        "recall_after",
        "recalled",
        "recorded",
        "reserved",
        "skew_s",
        "saved_for",
        "slots",
        "strays",
        "wanted",
        "who",
        "window",
    )

    def __init__(self, who: str, incarnation: bytes, about: dict[str, Any]) -> None:
        self.who = who
        self.incarnation = incarnation
        self.about = about
        self.slots = int(about.get("slots", 0))
        self.window = int(about.get("window", self.slots))
        self.capacity = Capacity()
        self.held: dict[int, Given] = {}
        self.strays: dict[int, Given] = {}
        self.functions: set[bytes] = set()
        self.peer: Peer | None = None
        self.away_since: float | None = None
        self.begun: list[int] = []
        self.recorded = False
        self.reserved = False
        self.saved_for: Need | None = None
        self.recalled = False
        self.wanted: list[tuple[Demand, list[int]]] = []
        self.asked: list[Demand] = []
        self.recall_after = 0.0
        self.skew_s = 0.0

    @property
    def takes(self) -> bool:
        """Whether it takes tasks at all: not while it is away, or leaves, or has no room for what
        becomes of them."""
        return self.peer is not None and self.recorded and self.slots > 0 and self.window > 0

    @property
    def stored_bytes(self) -> int:
        """What its store holds, as far as it has said so."""
        return int(self.about.get("stored_bytes", 0))

    @property
    def load(self) -> int:
        """How many tasks it has; one that takes several slots counts as so many."""
        return len(self.held) + len(self.strays) + self.capacity.surplus

    @property
    def room(self) -> int:
        """How many more leases it takes now."""
        return 0 if self.saved_for is not None else self._open

    @property
    def _open(self) -> int:
        if self.peer is None or not self.recorded or self.reserved or self.capacity.is_over:
            return 0
        return self.window - self.load

    def fitting(self, need: Need, now: float) -> int:
        """How many tasks that ask for this it takes now."""
        if self.saved_for is not None and self.saved_for != need:
            return 0
        most = self._open // need.cpus
        return min(most, self.capacity.fitting(need, now)) if most > 0 else 0

    @property
    def idle_slots(self) -> int:
        """Slots that have nothing to run."""
        return min(self.slots - self.load, self.room)

    @property
    def spare(self) -> int:
        """How many tasks it holds that its slots cannot begin now."""
        capacity = self.capacity
        if not capacity.by_lease:
            return len(self.held) - self.slots
        rest = self.slots - capacity.used[CPUS]
        return len(self.held) - len(capacity.by_lease) - max(rest, 0)

    def compare_clocks(self, about: dict[str, Any], clock_s: float) -> None:
        """It has said the time, and here it is `clock_s`."""
        self.skew_s = about.get("clock_s", clock_s) - clock_s

    def report(self, message: m.Report, now: float) -> list[int]:
        """What it says of itself has changed: the leases that its slots are at now."""
        self.about |= message.about
        self.slots = int(self.about.get("slots", self.slots))
        self.capacity.told(self.slots, self.about, message.about, now)
        running = {slot.get("task") for slot in self.about.get("running", []) if slot.get("task")}
        begun: list[int] = []
        for lease, (block, i, _) in self.held.items() if running else ():
            if show(block.session, block.first + i) in running:
                begun.append(lease)
                if len(begun) == len(running):
                    break  # the oldest run first
        return begun
