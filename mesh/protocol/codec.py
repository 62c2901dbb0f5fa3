"""Frames ⇄ envelopes, within limits.

The first frame is one msgpack array, ``[version, command, session, sequence, ack, *fields]``. Blobs
of FRAME_BYTES and more leave a nil in it and travel as frames of their own behind it, in order.
Surplus trailing elements are ignored (a newer peer may send more), missing or ill-shaped ones are
a `DecodeError`, which costs its sender a reply and nobody else anything. Blobs are not decoded.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgpack

from . import messages
from .link import Envelope
from .messages import FIELDS, MESSAGES, VERSION_MAX, VERSION_MIN, Message

#: A blob of this size or more has a frame of its own: below, ZeroMQ's cost per frame (2-5 µs)
#: outweighs the copy into the header.
FRAME_BYTES = 16 * 1024

#: With this much in the header already, smaller blobs have frames of their own too, so that a
#: worker's whole window of tasks fits one message.
CROWDED_BYTES = 1024 * 1024
CROWDED_FRAME_BYTES = 256

#: The largest regular message: 8192 outcomes of less than CROWDED_FRAME_BYTES, with their columns.
HEADER_BYTES_MAX = 8 * 1024 * 1024

#: A message has at most a worker's window of blobs; more frames are an attack or a bug.
FRAMES_MAX = 16384

#: Where the blobs are: message class → (row field or None, index of the blob or list of blobs).
_BLOBS: dict[type[Message], tuple[str, int]] = {
    messages.Submit: ("blocks", 5),
    messages.Outcomes: ("runs", 3),
    messages.Tasks: ("pieces", 5),
    messages.Done: ("runs", 4),
}


#: A name may hold what `os.listdir` made of a file name that isn't UTF-8.
TEXT_ERRORS = "surrogatepass"

#: These are understood in every version: they settle which one is spoken.
_ANY_VERSION = (messages.Hello.COMMAND, messages.Error.COMMAND)


class DecodeError(ValueError):
    """What came is not a message of this protocol; the text says why."""


def encode(envelope: Envelope) -> list[Any]:
    """The frames of `envelope`."""
    message = envelope.message
    cls = type(message)
    body = [getattr(message, name) for name in FIELDS[cls]]
    frames: list[Any] = [b""]
    where = _BLOBS.get(cls)
    if where is not None:
        column = where[1]
        inline = sum(sum(map(len, row[column])) for row in body[0])
        limit = FRAME_BYTES if inline < CROWDED_BYTES else CROWDED_FRAME_BYTES
        body[0] = [_without_large(row, column, frames, limit) for row in body[0]]
    elif cls is messages.Function and len(body[3]) >= FRAME_BYTES:
        frames.append(body[3])
        body[3] = None
    frames[0] = msgpack.packb(
        [
            VERSION_MAX,
            cls.COMMAND,
            envelope.session,
            envelope.sequence,
            envelope.ack,
            *body,
        ],
        use_bin_type=True,
        unicode_errors=TEXT_ERRORS,
    )
    return frames


def _without_large(row: list[Any], column: int, frames: list[Any], limit: int) -> list[Any]:
    blobs = row[column]
    if max(map(len, blobs), default=0) < limit:
        return row
    kept = []
    for blob in blobs:
        if len(blob) < limit:
            kept.append(blob)
        else:
            kept.append(None)
            frames.append(blob)
    return [*row[:column], kept, *row[column + 1 :]]


def decode(frames: list[Any]) -> Envelope:
    """The envelope in `frames`.

    Raises:
        DecodeError: it is none, or beyond the limits.
    """
    if not frames or len(frames) > FRAMES_MAX:
        raise DecodeError(f"{len(frames)} frames, expected 1 to {FRAMES_MAX}")
    if len(frames[0]) > HEADER_BYTES_MAX:
        raise DecodeError(f"a header of {len(frames[0])} bytes, at most {HEADER_BYTES_MAX}")
    try:
        header = msgpack.unpackb(
            frames[0], raw=False, strict_map_key=False, unicode_errors=TEXT_ERRORS
        )
    except Exception as error:  # msgpack raises half a dozen unrelated classes on bad input
        raise DecodeError(f"not msgpack: {error}") from None
    if type(header) is not list or len(header) < 5:
        raise DecodeError("the header is not an array of 5 or more")
    version, command, session, sequence, ack = header[:5]
    if not all(type(n) is int and 0 <= n < 2**63 for n in header[:5]):
        raise DecodeError("the header does not begin with five numbers")
    if not VERSION_MIN <= version <= VERSION_MAX and command not in _ANY_VERSION:
        raise DecodeError(f"protocol version {version}, this side speaks {VERSION_MAX}")
    cls = MESSAGES.get(command)
    if cls is None:
        raise DecodeError(f"unknown command {command}")
    body = header[5 : 5 + len(cls.SHAPE)]
    if len(body) < len(cls.SHAPE):
        raise DecodeError(f"{cls.__name__} has {len(body)} of {len(cls.SHAPE)} fields")
    try:
        _restore_large(cls, body, iter(frames[1:]))
    except (StopIteration, TypeError, LookupError, AttributeError):
        raise DecodeError(f"{cls.__name__} lacks a frame") from None
    for name, check, value in zip(FIELDS[cls], cls.SHAPE, body, strict=True):
        if not check(value):
            raise DecodeError(f"{cls.__name__}.{name} has a wrong shape")
    return Envelope(session, sequence, ack, cls(*body))


def _restore_large(cls: type[Message], body: list[Any], frames: Iterator[Any]) -> None:
    where = _BLOBS.get(cls)
    if where is not None:
        for row in body[0]:
            blobs = row[where[1]]
            if None in blobs:
                row[where[1]] = [next(frames) if blob is None else blob for blob in blobs]
    elif cls is messages.Function and body[3] is None:
        body[3] = next(frames)
