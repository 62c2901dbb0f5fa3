"""What the router keeps of arguments: those of open tasks, and no more than it has room for."""

from __future__ import annotations

import weakref
from typing import Any

from mesh.core.events import Slice
from mesh.processes.payloads import CACHE_BYTES, Payloads
from mesh.store.records import TABLES, Records
from mesh.store.tables import MemoryTables
from mesh.task import key

C1 = "cccccccc"
HEADER = [1, b"f" * 16, {}, None, 0, None, 0, b"", 0.0]


def block(first: int, payload: Any) -> tuple[Any, ...]:
    """The write of a block of one task."""
    return ("block", C1, first, HEADER, {}, [payload], None)


def payloads() -> tuple[Payloads, Records]:
    records = Records(MemoryTables(TABLES), bytes(16), "mesh")
    return Payloads(records), records


def test_of_a_block_that_has_ended_nothing_is_kept():
    kept, _ = payloads()
    payload = memoryview(b"x")
    seen = weakref.ref(payload)
    kept.add([block(0, payload)], 1)
    del payload
    kept.trim(1)
    assert kept.of_tasks(Slice(key(C1, 0), 0, 1)) == [b"x"]

    kept.add([("close", key(C1, 0), 0.0)], 2)

    assert seen() is None


def test_beyond_its_limit_it_keeps_what_is_not_on_disk_and_reads_the_rest_again():
    kept, records = payloads()
    seen = []
    for n in range(2):
        payload = memoryview(bytes([n]) * CACHE_BYTES)
        seen.append(weakref.ref(payload))
        if n == 0:
            records.apply([block(n, bytes(payload))])
        kept.add([block(n, payload)], n + 1)
        del payload

    kept.trim(1)

    assert seen[0]() is None and seen[1]() is not None
    for n in range(2):
        [payload] = kept.of_tasks(Slice(key(C1, n), 0, 1))
        assert payload[0] == n and len(payload) == CACHE_BYTES
