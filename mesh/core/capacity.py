"""Capacity: what a worker has, and what of it is in use by tasks that ask for it.

Tasks that ask for nothing count by their number alone, and may wait at their worker. What a task
has asked for is its own from the moment that its worker is given it until it has ended.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from ..options import show_seconds
from .ledger import Given
from .need import CPUS, MEM, Need, show


class Capacity:
    """The capacity of one worker.

    Attributes:
        has: name → how many there are; CPUs are slots.
        used: the same of those in use.
        by_lease: what each lease has of it.
        ends_at: when the worker will be gone, as far as it knows: nothing may last longer.
        is_over: whether that was when it was last looked.
    """

    __slots__ = ("by_lease", "ends_at", "has", "is_over", "used")

    def __init__(self) -> None:
        self.has: dict[str, int] = {}
        self.used: dict[str, int] = {}
        self.by_lease: dict[int, Need] = {}
        self.ends_at = math.inf
        self.is_over = False

    def told(self, slots: int, about: dict[str, Any], news: dict[str, Any], now: float) -> None:
        """Take in what the worker says of itself: all of it, and the `news` in that."""
        self.has = {**about.get("resources", {}), CPUS: slots}
        if "ends_s" in news:
            ends_s = news["ends_s"]
            self.ends_at = math.inf if ends_s is None else now + ends_s
        self.is_over = now >= self.ends_at

    def take(self, lease: int, need: Need) -> None:
        """A lease has what it needs."""
        self.by_lease[lease] = need
        for name, count in need.amounts.items():
            self.used[name] = self.used.get(name, 0) + count

    def give_back(self, leases: Iterable[int]) -> None:
        """These leases need nothing any more."""
        for lease in leases:
            need = self.by_lease.pop(lease, None)
            if need is not None:
                for name, count in need.amounts.items():
                    self.used[name] -= count

    @property
    def surplus(self) -> int:
        """How many slots are taken beyond one for each task."""
        return self.used.get(CPUS, 0) - len(self.by_lease) if self.by_lease else 0

    def could(self, need: Need) -> bool:
        """Whether there is enough, were nothing in use."""
        has = self.has
        return all(
            count <= has.get(name, 0) or name == MEM and MEM not in has
            for name, count in need.amounts.items()
        )

    def fitting(self, need: Need, now: float) -> int:
        """For how many tasks that need this there is enough now, for as long as they take."""
        if now + need.time_s > self.ends_at:
            return 0
        has, used = self.has, self.used
        return min(
            (has.get(name, 0) - used.get(name, 0)) // count
            for name, count in need.amounts.items()
            if name != MEM or MEM in has
        )

    def shortage(self, need: Need) -> float:
        """How much of what is needed is in use by others: the sum of the shares."""
        free = {name: self.has.get(name, 0) - self.used.get(name, 0) for name in need.amounts}
        return sum(max(count - free[name], 0) / count for name, count in need.amounts.items())

    def lacks(self, need: Need, now: float) -> str | None:
        """What there will never be enough of, in words; None if there may be."""
        for name, count in need.amounts.items():
            if count > self.has.get(name, 0) and (name != MEM or MEM in self.has):
                has = show(name, self.has.get(name, 0)).partition("=")[2]
                return f"has {has} of {show(name, count)}"
        if now + need.time_s > self.ends_at:
            left = f"{show_seconds(max(self.ends_at - now, 0.0))} left"
            return f"{left} of {show_seconds(need.time_s)}" if need.time_s else left
        return None

    def shown(self) -> dict[str, dict[str, int]]:
        """For people and programs: by name how much there is, and how much of it is in use by what
        has asked for it."""
        return {
            name: {"has": count, "used": self.used.get(name, 0)} for name, count in self.has.items()
        }

    def left_s(self, now: float) -> float | None:
        """How long the worker stays; None: it knows of no end."""
        return None if self.ends_at == math.inf else round(max(self.ends_at - now, 0.0), 3)

    def busy(self, need: Need) -> list[str]:
        """Of what is needed, the names of which too much is in use now."""
        return [
            name
            for name, count in need.amounts.items()
            if count > self.has.get(name, 0) - self.used.get(name, 0) and name in self.has
        ]

    def check(self, leases: dict[int, Given]) -> None:
        """Raise AssertionError unless what is in use is what these leases need."""
        needs = {lease: block.need for lease, (block, _, _) in leases.items() if block.need}
        assert needs == self.by_lease, (needs, self.by_lease)
        for name, used in self.used.items():
            assert used == sum(need.amounts.get(name, 0) for need in needs.values()), name
