"""Restored: what a store brings back to the core of a router that starts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ..task import State
from .block import Block
from .input import Record

#: What a worker was known to run: its incarnation, and rows of session, counter, lease, since when.
Begun = tuple[bytes, list[tuple[str, int, int, float]]]


@dataclass(slots=True)
class Restored:
    """What a store brings back at start."""

    mesh: str
    birth: bytes
    epoch: int
    blocks: list[Block] = field(default_factory=list)
    sessions: dict[str, int] = field(default_factory=dict)  # the highest counter recorded
    functions: dict[bytes, tuple[str, bytes]] = field(default_factory=dict)  # name, code digest
    roster: dict[str, dict[str, Any]] = field(default_factory=dict)  # workers that were present
    inputs: dict[bytes, Record] = field(default_factory=dict)  # of open tasks, as far as ended
    begun: dict[str, Begun] = field(default_factory=dict)  # what each of them was known to run
    ended: list[int] = field(default_factory=lambda: [0] * (len(State) + 1))  # `Ledger.counts`
    gone: set[str] = field(default_factory=set)  # stores that were declared gone
    age_s: float = 0.0  # how long routers have served this store
