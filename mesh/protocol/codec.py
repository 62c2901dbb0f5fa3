"""Frames ⇄ envelopes, within limits.

The first frame is one msgpack array, ``[version, command, session, sequence, ack, *fields]``. Blobs
of FRAME_BYTES and more leave a nil in it and travel as frames of their own behind it, in order.
Surplus trailing fields are ignored (a newer peer may send more; rows have exactly their columns),
missing or ill-shaped ones are a `DecodeError`, which costs its sender a reply and nobody else
anything. Blobs are not decoded.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgpack

from . import messages
from .link import Envelope
from .messages import FIELDS, MESSAGES, VERSION_MAX, VERSION_MIN, Message
from .shape import NUMBER_MAX

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

#: Which column of a message's rows, its first field, holds blobs.
_BLOBS: dict[type[Message], int] = {
    messages.Submit: 5,
    messages.Outcomes: 3,
    messages.Tasks: 5,
    messages.Done: 4,
    messages.Inputs: 4,
}

#: In these the last field is a blob.
_LAST_IS_BLOB = (messages.Function, messages.Relay, messages.Printed)

#: A message's own fields begin here in its header.
FIRST = 5


#: A name may hold what `os.listdir` made of a file name that isn't UTF-8.
TEXT_ERRORS = "surrogatepass"

#: These are understood in every version: they settle which one is spoken.
_ANY_VERSION = (messages.Hello.COMMAND, messages.Error.COMMAND)


_pack = msgpack.Packer(use_bin_type=True, unicode_errors=TEXT_ERRORS).pack


class DecodeError(ValueError):
    """What came is not a message of this protocol; the text says why."""


def encode(envelope: Envelope) -> list[Any]:
    """The frames of `envelope`."""
    message = envelope.message
    cls = type(message)
    header: list[Any] = [
        VERSION_MAX, cls.COMMAND, envelope.session, envelope.sequence, envelope.ack,
    ]  # fmt: skip
    for name, _ in FIELDS[cls]:
        header.append(getattr(message, name))
    frames: list[Any] = [b""]
    column = _BLOBS.get(cls)
    if column is not None:
        inline = 0
        for row in header[FIRST]:
            inline += sum(map(len, row[column]))
        if inline >= FRAME_BYTES:  # else none of them can be large
            limit = FRAME_BYTES if inline < CROWDED_BYTES else CROWDED_FRAME_BYTES
            header[FIRST] = [_without_large(row, column, frames, limit) for row in header[FIRST]]
    elif cls in _LAST_IS_BLOB and len(header[-1]) >= FRAME_BYTES:
        frames.append(header[-1])
        header[-1] = None
    frames[0] = _pack(header)
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
    if type(header) is not list or len(header) < FIRST:
        raise DecodeError("the header is not an array of 5 or more")
    for number in header[:FIRST]:
        if type(number) is not int or not 0 <= number <= NUMBER_MAX:
            raise DecodeError("the header does not begin with five numbers")
    version, command, session, sequence, ack = header[:FIRST]
    if not VERSION_MIN <= version <= VERSION_MAX and command not in _ANY_VERSION:
        raise DecodeError(f"protocol version {version}, this side speaks {VERSION_MAX}")
    cls = MESSAGES.get(command)
    if cls is None:
        raise DecodeError(f"unknown command {command}")
    shape = FIELDS[cls]
    body = header[FIRST : FIRST + len(shape)]
    if len(body) < len(shape):
        raise DecodeError(f"{cls.__name__} has {len(body)} of {len(shape)} fields")
    try:
        _restore_large(cls, body, iter(frames[1:]))
    except (StopIteration, TypeError, LookupError, AttributeError):
        raise DecodeError(f"{cls.__name__} lacks a frame") from None
    for (name, check), value in zip(shape, body):  # they are as many
        if not check(value):
            raise DecodeError(f"{cls.__name__}.{name} has a wrong shape")
    return Envelope(session, sequence, ack, cls(*body))


def _restore_large(cls: type[Message], body: list[Any], frames: Iterator[Any]) -> None:
    column = _BLOBS.get(cls)
    if column is not None:
        for row in body[0]:
            blobs = row[column]
            if None in blobs:
                row[column] = [next(frames) if blob is None else blob for blob in blobs]
    elif cls in _LAST_IS_BLOB and body[-1] is None:
        body[-1] = next(frames)
