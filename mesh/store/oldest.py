"""Oldest: what a worker's store has had for longest, by the leases that have made it."""

from __future__ import annotations

import heapq
import struct

from ..protocol.outcome import parse_key
from .tables import Transaction

#: How an entry of the index begins: with its size.
_SIZE = struct.Struct("<Q")

#: Task, lease, and the bytes of all that the lease has stored.
Sized = tuple[bytes, int, int]


def oldest(
    txn: Transaction, behind: tuple[int, bytes], most: int
) -> tuple[list[Sized], list[Sized]]:
    """Copies; and what is the store's own from behind a lease and task on; so many of each at
    most."""
    copied: dict[tuple[int, bytes], int] = {}
    own: dict[tuple[int, bytes], int] = {}
    copies = {name for name, _ in txn.scan("copy")}
    for name, raw in txn.scan("result"):
        task, lease, _ = parse_key(name)
        sizes = copied if name in copies else own
        if sizes is copied or (lease, task) > behind:
            sizes[lease, task] = sizes.get((lease, task), 0) + _SIZE.unpack_from(raw)[0]
    return _first(copied, most), _first(own, most)


def _first(sizes: dict[tuple[int, bytes], int], most: int) -> list[Sized]:
    first = heapq.nsmallest(most, sizes.items())
    return [(task, lease, size) for (lease, task), size in first]
