"""How a client leaves content with a home worker whose folder it cannot write to: in parts, to the
worker's data port, or by way of the router.

    PART   op u8 · token u64 · task id (16 bytes) · lease u64 · offset u64 · total u64, then the
           bytes as a frame of their own
    HELD   op u8 · token u64 · offset u64
    FULL   op u8 · token u64, then the reason (utf-8) as a frame of its own
    BUSY   op u8 · token u64 · offset u64: the router's, which passes on too much already
    AWAY   op u8 · token u64 · offset u64: the router's, which does not reach the worker

Each part is answered, and at most WINDOW_CHUNKS are on their way, whatever the size. A part may be
sent again: after a cut those are that were not answered. What is left so is said in a PUT.
"""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

from ..task import SESSION_CHARS
from .codec import DecodeError
from .transfer import CHUNK_BYTES

PART, HELD, FULL, BUSY, AWAY = 16, 17, 18, 19, 20

_PART = struct.Struct("<BQ16sQQQ")
_OF_PART = struct.Struct("<BQQ")
_FULL = struct.Struct("<BQ")


class Part(NamedTuple):
    """Where the bytes beside it belong."""

    token: int
    task: bytes
    lease: int
    offset: int
    total: int


def pack_part(part: Part) -> bytes:
    """The head of a part."""
    return _PART.pack(PART, *part)


def is_part(frames: list[Any]) -> bool:
    """Whether these are the frames of a part, or would be."""
    return len(frames) == 2 and len(frames[0]) == _PART.size and frames[0][0] == PART


def parse_part(frames: list[Any]) -> tuple[Part, Any]:
    """The part in `frames`, and its bytes.

    Raises:
        DecodeError: it names no task, or its bytes are too many, or beyond the whole.
    """
    head, content = frames
    part = Part(*_PART.unpack(head)[1:])
    if not part.task[:SESSION_CHARS].isascii():
        raise DecodeError(f"{part.task!r} is no task id")
    if not 0 < len(content) <= CHUNK_BYTES or part.offset + len(content) > part.total:
        raise DecodeError(f"a part of {len(content)} bytes at {part.offset} of {part.total}")
    return part, content


def pack_answer(op: int, token: int, offset: int) -> bytes:
    """The head of HELD, that part is here; of BUSY or AWAY, it did not come through."""
    return _OF_PART.pack(op, token, offset)


def pack_full(token: int) -> bytes:
    """The head of "there is no room for it"."""
    return _FULL.pack(FULL, token)


def is_answer(head: bytes) -> bool:
    """Whether this is the head of an answer to a part, or would be."""
    return bool(head) and head[0] in (HELD, FULL, BUSY, AWAY)


def parse_answer(raw: bytes) -> tuple[int, int, int]:
    """(op, token, offset) of an answer's head.

    Raises:
        DecodeError: it is none.
    """
    if len(raw) == _OF_PART.size and raw[0] in (HELD, BUSY, AWAY):
        op, token, offset = _OF_PART.unpack(raw)
        return op, token, offset
    if len(raw) == _FULL.size and raw[0] == FULL:
        op, token = _FULL.unpack(raw)
        return op, token, 0
    raise DecodeError(f"an answer of {len(raw)} bytes")
