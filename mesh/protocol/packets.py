"""What a worker and its slots say to each other, one packet a message over a private socket pair.

    worker → slot   FUNCTION  number u32, by-path u8, payload
                    TASKS     function number u32, inline bytes u32, id of the first task (16
                              bytes), then per task: lease u64, by-path u8, length u32, payload
    slot → worker   READY     pid u32
                    OUTCOMES  per task: lease u64, kind u8, stored u8, seconds f32,
                              length u32, body
                    STUCK     why, as text

A SOCK_SEQPACKET keeps packets whole and in order, and what the slot has not read stays with the
kernel: the worker, which keeps a duplicate of the slot's end, can take exactly that back. What is
too big for a packet goes through a file whose path travels instead (by-path).

Slots import this module: nothing but struct.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

FUNCTION, TASKS, READY, OUTCOMES, STUCK = 1, 2, 3, 4, 5

#: A packet must fit the kernel's default socket buffer (208 KiB) beside others.
PACKET_BYTES_MAX = 96 * 1024

#: A payload beyond this travels by path.
PAYLOAD_BYTES_MAX = 32 * 1024

_FUNCTION = struct.Struct("<BIB")
_TASKS = struct.Struct("<BII16s")
_TASK = struct.Struct("<QBI")
_READY = struct.Struct("<BI")
_OUTCOME = struct.Struct("<QBBfI")
_OUTCOMES = bytes([OUTCOMES])


def pack_function(number: int, by_path: bool, payload: Any) -> bytes:
    """The code behind a function's number."""
    return _FUNCTION.pack(FUNCTION, number, by_path) + payload


def parse_function(packet: bytes) -> tuple[int, bool, memoryview]:
    """(number, by path, payload)."""
    _, number, by_path = _FUNCTION.unpack_from(packet)
    return number, bool(by_path), memoryview(packet)[_FUNCTION.size :]


def pack_tasks(
    number: int, inline_bytes: int, first: bytes, tasks: list[tuple[int, bool, Any]]
) -> bytes:
    """Consecutive tasks of one function, from the id `first` on: (lease, by path, payload) each. A
    result larger than `inline_bytes` stays with the worker."""
    parts: list[Any] = [_TASKS.pack(TASKS, number, inline_bytes, first)]
    for lease, by_path, payload in tasks:
        parts.append(_TASK.pack(lease, by_path, len(payload)))
        parts.append(payload)
    return b"".join(parts)


def parse_tasks(packet: bytes) -> tuple[int, int, bytes, Iterator[tuple[int, bool, memoryview]]]:
    """The function's number, how large a result may be inline, the first task's id, and (lease, by
    path, payload) of each task."""
    _, number, inline_bytes, first = _TASKS.unpack_from(packet)
    return number, inline_bytes, first, _each_task(memoryview(packet))


def _each_task(view: memoryview) -> Iterator[tuple[int, bool, memoryview]]:
    at, end = _TASKS.size, len(view)
    while at < end:
        lease, by_path, length = _TASK.unpack_from(view, at)
        at += _TASK.size
        yield lease, bool(by_path), view[at : at + length]
        at += length


def leases_of(packet: bytes) -> list[int]:
    """The leases of the tasks in a packet that was taken back; none in a FUNCTION."""
    return [lease for lease, _, _ in parse_tasks(packet)[3]] if packet[0] == TASKS else []


def paths_of(packet: bytes) -> list[str]:
    """The files that a packet which was taken back speaks of."""
    if packet[0] == FUNCTION:
        _, by_path, payload = parse_function(packet)
        return [bytes(payload).decode()] if by_path else []
    return [bytes(path).decode() for _, by_path, path in parse_tasks(packet)[3] if by_path]


def pack_ready(pid: int) -> bytes:
    """A slot has started."""
    return _READY.pack(READY, pid)


def parse_ready(packet: bytes) -> int:
    """The pid of the slot that has started."""
    return int(_READY.unpack(packet)[1])


def pack_stuck(why: str) -> bytes:
    """What a slot runs has ended, and its result waits."""
    return bytes([STUCK]) + why.encode()


def parse_stuck(packet: bytes) -> str:
    """Why a result waits."""
    return packet[1:].decode()


def pack_outcome(lease: int, kind: int, stored: bool, took_s: float, body: bytes) -> bytes:
    """How one task ended: a part of OUTCOMES."""
    return _OUTCOME.pack(lease, kind, stored, took_s, len(body)) + body


def pack_outcomes(outcomes: list[bytes]) -> bytes:
    """How some tasks of one packet ended, in their order."""
    return b"".join([_OUTCOMES, *outcomes])


def parse_outcomes(packet: bytes) -> list[tuple[int, int, bytes, float, bool]]:
    """(lease, kind, body, seconds, stored) of each."""
    rows = []
    at, end, head = 1, len(packet), _OUTCOME.size
    unpack = _OUTCOME.unpack_from
    while at < end:
        lease, kind, stored, took_s, length = unpack(packet, at)
        at += head
        rows.append((lease, kind, packet[at : at + length], took_s, stored != 0))
        at += length
    return rows
