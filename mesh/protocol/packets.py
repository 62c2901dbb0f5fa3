"""What a worker and its slots say to each other, one packet a message over a private socket pair.

    worker → slot   FUNCTION  number u32, by-path u8, payload
                    TASKS     function number u32, inline bytes u32, id of the first task (16
                              bytes), length of the context u32, context (see context.py), then
                              per task: lease u64, how u8 (1 by path, 2 with inputs), length u32,
                              payload; with inputs that is their count u32, for each
                              kind u8 (0 a value, 1 a file), length u32, and its value, or
                              size u64, crc32 u32 and path, and then the arguments
    slot → worker   READY     pid u32
                    OUTCOMES  per task: lease u64, kind u8, stored u8, seconds f32,
                              length u32, body
                    STUCK     why, as text
                    FULL      nothing more: the process makes room for another when all that it runs
                              has ended
                    UNBEGUN   function number u32, then of each task lease u64: its function never
                              came, for it was taken back while TASKS was read; or the worker stood
                              still, and they may have begun elsewhere

A SOCK_SEQPACKET keeps packets whole and in order, and what the slot has not read stays with the
kernel: the worker, which keeps a duplicate of the slot's end, can take exactly that back. What is
too big for a packet goes through a file whose path travels instead (by-path).

Slots import this module: nothing but struct.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

FUNCTION, TASKS, READY, OUTCOMES, STUCK, UNBEGUN, FULL = 1, 2, 3, 4, 5, 6, 7

#: How a task's payload comes.
BY_PATH, WITH_INPUTS = 1, 2

#: A packet must fit the kernel's default socket buffer (208 KiB) beside others.
PACKET_BYTES_MAX = 96 * 1024

#: A payload beyond this travels by path.
PAYLOAD_BYTES_MAX = 32 * 1024

_FUNCTION = struct.Struct("<BIB")
_TASKS = struct.Struct("<BII16sI")
_TASK = struct.Struct("<QBI")
_COUNT = struct.Struct("<I")
_UNBEGUN = struct.Struct("<BI")
_LEASE = struct.Struct("<Q")
_INPUT = struct.Struct("<BI")
_A_FILE = 1
_FILE = struct.Struct("<QI")
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


class Head(NamedTuple):
    """What the tasks of a packet have in common: the number of their function, how large a result
    may be that does not stay with the worker, the id of the first task, and their context."""

    number: int
    inline_bytes: int
    first: bytes
    context: bytes


def pack_tasks(head: Head, tasks: list[tuple[int, int, Any]]) -> bytes:
    """Consecutive tasks of one function: (lease, how, payload) each."""
    *common, context = head
    parts: list[Any] = [_TASKS.pack(TASKS, *common, len(context)), context]
    for lease, how, payload in tasks:
        parts.append(_TASK.pack(lease, how, len(payload)))
        parts.append(payload)
    return b"".join(parts)


def parse_tasks(packet: bytes) -> tuple[Head, Iterator[tuple[int, int, memoryview]]]:
    """What they have in common, and (lease, how, payload) of each task."""
    _, number, inline_bytes, first, length = _TASKS.unpack_from(packet)
    begin = _TASKS.size + length
    head = Head(number, inline_bytes, first, packet[_TASKS.size : begin])
    return head, _each_task(memoryview(packet), begin)


def _each_task(view: memoryview, at: int) -> Iterator[tuple[int, int, memoryview]]:
    end = len(view)
    while at < end:
        lease, how, length = _TASK.unpack_from(view, at)
        at += _TASK.size
        yield lease, how, view[at : at + length]
        at += length


class File(NamedTuple):
    """An input that lies in the worker's store."""

    size: int
    crc: int
    path: str


def pack_bundle(inputs: list[Any], arguments: Any) -> bytes:
    """What a task takes, values and `File`s, with its arguments: the payload of its packet."""
    parts: list[Any] = [_COUNT.pack(len(inputs))]
    for each in inputs:
        kind = 0
        if type(each) is File:
            kind = _A_FILE
            each = _FILE.pack(each.size, each.crc) + each.path.encode()
        parts += _INPUT.pack(kind, len(each)), each
    parts.append(arguments)
    return b"".join(parts)


def parse_bundle(bundle: Any) -> tuple[list[Any], memoryview]:
    """The inputs in a bundle, and the arguments."""
    view, at = memoryview(bundle), _COUNT.size
    inputs: list[Any] = []
    for _ in range(_COUNT.unpack_from(view)[0]):
        kind, length = _INPUT.unpack_from(view, at)
        at += _INPUT.size
        found = view[at : at + length]
        at += length
        if kind:
            path = bytes(found[_FILE.size :]).decode()
            size, crc = _FILE.unpack_from(found)
            inputs.append(File(size, crc, path))
        else:
            inputs.append(found)
    return inputs, view[at:]


def leases_of(packet: bytes) -> list[int]:
    """The leases of the tasks in a packet that was taken back; none in a FUNCTION."""
    return [lease for lease, _, _ in parse_tasks(packet)[1]] if packet[0] == TASKS else []


def paths_of(packet: bytes) -> list[str]:
    """The files that a packet which was taken back speaks of."""
    if packet[0] == FUNCTION:
        _, by_path, payload = parse_function(packet)
        return [bytes(payload).decode()] if by_path else []
    return [bytes(path).decode() for _, how, path in parse_tasks(packet)[1] if how & BY_PATH]


def pack_unbegun(number: int, leases: list[int]) -> bytes:
    """These tasks of function `number` were not begun: it never came, or they are late."""
    return _UNBEGUN.pack(UNBEGUN, number) + b"".join(map(_LEASE.pack, leases))


def parse_unbegun(packet: bytes) -> tuple[int, list[int]]:
    """The number of a function, and the leases of tasks that call it, and were not begun."""
    number = _UNBEGUN.unpack_from(packet)[1]
    return number, [lease for (lease,) in _LEASE.iter_unpack(packet[_UNBEGUN.size :])]


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


def pack_full() -> bytes:
    """The process makes room for another one."""
    return bytes([FULL])


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
