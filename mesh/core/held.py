"""Held: what a worker's store has said that it holds, as the records know it."""

from __future__ import annotations

import math
from typing import NamedTuple

from ..protocol.outcome import Ref, refs_in
from .ledger import RECORD

#: What a lease of a task has left: the task's id, the lease.
Kept = tuple[bytes, int]


class Held(NamedTuple):
    """What a store has said that it holds, as the records know it."""

    task: bytes
    lease: int
    record: bytes | None  # None if they do not name that store
    is_lost: bool = False
    is_put: bool = False
    is_moved: bool = False  # another store has it by now
    is_taken: bool = False  # by a block whose record is there
    is_fetched: bool = False  # by a client
    rerun: bool = True  # whether it could be made again
    ended_s: float = math.inf  # the router's age when its block had ended, if it is known to have
    heard_s: float = 0.0  # of its client, once that is gone: up to when it had heard all

    @property
    def refs(self) -> list[Ref]:
        """What of it is stored."""
        assert self.record is not None, "it is with another store"
        return refs_in(self.record[0], self.record[RECORD.size :])
