"""How bytes of a stored result are asked for and served, peer to peer.

    GET    op u8 · token u64 · task id (16 bytes) · lease u64 · number u16 · offset u64 · length u32
    CHUNK  op u8 · token u64 · offset u64 · total u64, then the bytes as a frame of their own
    LOST   op u8 · token u64, then the reason (utf-8) as a frame of its own
    BUSY   op u8 · token u64 · offset u64
    AWAY   op u8 · token u64 · offset u64: the router's, of what it was to relay

A fetcher asks for chunks; each request is a credit, so at most WINDOW_CHUNKS are on their way to
it, whatever the size. Requests are idempotent: after a cut the missing chunks are asked for again.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from ..task import SESSION_CHARS
from .codec import DecodeError

GET, CHUNK, LOST, BUSY, AWAY = 1, 2, 3, 4, 5

#: The ways by which the bytes of a result come to who needs them.
WAYS = ("local", "direct", "relayed")
LOCAL, DIRECT, RELAYED = 0, 1, 2

#: One chunk: large enough for bulk speed, small enough that heartbeats are never behind one.
CHUNK_BYTES = 512 * 1024

#: Chunks on their way at once: 10 came within 16 % of an unlimited window (zguide, ch. 7).
WINDOW_CHUNKS = 8

_GET = struct.Struct("<BQ16sQHQI")
_CHUNK = struct.Struct("<BQQQ")
_LOST = struct.Struct("<BQ")
_LATER = struct.Struct("<BQQ")


class Get(NamedTuple):
    """A request for one chunk."""

    token: int
    task: bytes
    lease: int
    number: int
    offset: int
    length: int


def pack_get(get: Get) -> bytes:
    """The bytes of a request."""
    return _GET.pack(GET, *get)


def parse_get(raw: bytes) -> Get:
    """The request in `raw`.

    Raises:
        DecodeError: it is none, names no task, or asks for too much.
    """
    if len(raw) != _GET.size or raw[0] != GET:
        raise DecodeError(f"a request of {len(raw)} bytes, expected {_GET.size}")
    get = Get(*_GET.unpack(raw)[1:])
    if not get.task[:SESSION_CHARS].isascii():
        raise DecodeError(f"{get.task!r} is no task id")
    if not 0 < get.length <= CHUNK_BYTES:
        raise DecodeError(f"a chunk of {get.length} bytes, at most {CHUNK_BYTES}")
    return get


def pack_chunk(token: int, offset: int, total: int) -> bytes:
    """The head of a chunk."""
    return _CHUNK.pack(CHUNK, token, offset, total)


def pack_lost(token: int) -> bytes:
    """The head of "I do not have it"."""
    return _LOST.pack(LOST, token)


def pack_later(op: int, token: int, offset: int) -> bytes:
    """The head of BUSY or AWAY: this chunk does not come now."""
    return _LATER.pack(op, token, offset)


def parse_reply(raw: bytes) -> tuple[int, int, int, int]:
    """(op, token, offset, total) of a reply's head; what it does not have is 0.

    Raises:
        DecodeError: it is none.
    """
    if len(raw) == _CHUNK.size and raw[0] == CHUNK:
        op, token, offset, total = _CHUNK.unpack(raw)
        return op, token, offset, total
    if len(raw) == _LOST.size and raw[0] == LOST:
        op, token = _LOST.unpack(raw)
        return op, token, 0, 0
    if len(raw) == _LATER.size and raw[0] in (BUSY, AWAY):
        op, token, offset = _LATER.unpack(raw)
        return op, token, offset, 0
    raise DecodeError(f"a reply of {len(raw)} bytes")
