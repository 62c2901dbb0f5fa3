"""Need: what one task asks of a worker, when that is more than a slot."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..options import option, show_seconds, show_size

#: What each worker has, and each task takes: slots.
CPUS = "cpus"

#: Asked for by memory=, in bytes; not asked of a worker that does not know how much it has.
MEM = "mem"

#: Given by index, through the environment.
GPU = "gpu"


class Need:
    """See the module. Tasks whose needs are equal queue together.

    Attributes:
        amounts: name → how many; CPUs among them.
        time_s: how long its worker must stay for it, at least; 0: no matter.
    """

    __slots__ = ("_key", "amounts", "time_s")

    def __init__(self, amounts: dict[str, int], time_s: float = 0.0) -> None:
        self.amounts = amounts
        self.time_s = time_s
        self._key = (*sorted(amounts.items()), time_s)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Need) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def __str__(self) -> str:
        parts = [show(name, count) for name, count in self.amounts.items()]
        if self.time_s:
            parts.append(f"{show_seconds(self.time_s)} of time")
        return ", ".join(parts)

    @property
    def cpus(self) -> int:
        """How many slots' worth it takes."""
        return self.amounts[CPUS]


def need_of(options: Mapping[str, Any]) -> Need | None:
    """What a task with these sparse options asks for; None if that is a slot and nothing else."""
    if not options or options.keys().isdisjoint(("cpus", "resources", "memory", "time_request")):
        return None
    amounts = {CPUS: option(options, "cpus"), **option(options, "resources")}
    memory = option(options, "memory")
    if memory is not None:
        amounts[MEM] = memory
    return Need(amounts, option(options, "time_request") or 0.0)


def show(name: str, count: int) -> str:
    """An amount as people see it: ``gpu=2``."""
    return f"{name}={show_size(count) if name == MEM else count}"
