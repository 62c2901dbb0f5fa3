"""Python objects ⇄ payloads. Imported by clients and slots alone: nobody else decodes user data.

A payload is a pickle (protocol 5) and, if the objects have large buffers (NumPy arrays, bytes
held by `pickle.PickleBuffer`), those buffers out of band, each aligned, behind a table of sizes:

    plain    := pickle                                     (begins with 0x80)
    buffered := 0x01 · count u32 · sizes u64 × count · pickle · buffers, each aligned to 64

Buffers are views into the payload: unpickling copies nothing. Arguments are pickled as
``(args, kwargs)``. What lives in `__main__` or is a lambda goes by value, with cloudpickle.
"""

from __future__ import annotations

import io
import pickle
import struct
from typing import Any

from ..errors import PayloadError

_COUNT = struct.Struct("<BI")
_SIZE = struct.Struct("<Q")
_BUFFERED = 1

#: Buffers are aligned for vector instructions.
ALIGNMENT = 64

#: A smaller buffer goes into the pickle: a table entry and padding would cost more.
BUFFER_BYTES_MIN = 4096

#: ``((), {})`` pickled: the arguments of every call without any.
NO_ARGUMENTS = pickle.dumps(((), {}), protocol=5)


def dump(value: Any) -> list[Any]:
    """`value` as the parts of a payload; `join` makes one of them.

    Raises:
        Exception: whatever pickling raises; the callers say what it was they pickled.
    """
    buffers: list[Any] = []

    def out_of_band(buffer: pickle.PickleBuffer) -> bool:
        try:
            raw = buffer.raw()
        except BufferError:  # not contiguous: the pickle takes a copy
            return True
        if raw.nbytes < BUFFER_BYTES_MIN:
            return True
        buffers.append(raw)
        return False

    try:
        head = pickle.dumps(value, protocol=5, buffer_callback=out_of_band)
        by_value = b"__main__" in head
    except Exception:  # a lambda, a local class: cloudpickle can, or says why it can't
        by_value = True
    if by_value:
        import cloudpickle  # slow to import, and most programs never need it

        buffers.clear()
        stream = io.BytesIO()
        cloudpickle.Pickler(stream, protocol=5, buffer_callback=out_of_band).dump(value)
        head = stream.getvalue()
    if not buffers:
        return [head]
    return _with_table([head, *buffers])


def _with_table(segments: list[Any]) -> list[Any]:
    sizes = [memoryview(segment).nbytes for segment in segments]
    table = _COUNT.pack(_BUFFERED, len(sizes)) + b"".join(map(_SIZE.pack, sizes))
    parts: list[Any] = [table]
    at = len(table)
    for segment, size in zip(segments, sizes, strict=True):
        padding = -at % ALIGNMENT
        if padding:
            parts.append(bytes(padding))
        parts.append(segment)
        at += padding + size
    return parts


def join(parts: list[Any]) -> bytes:
    """One payload of its parts."""
    return parts[0] if len(parts) == 1 else b"".join(parts)


def load(payload: Any) -> Any:
    """The object in `payload`; its buffers are views of it.

    Raises:
        PayloadError: it is no payload.
        Exception: whatever unpickling raises.
    """
    view = memoryview(payload)
    if not len(view) or view[0] != _BUFFERED:
        return pickle.loads(view)
    try:
        _, count = _COUNT.unpack_from(view)
        at = _COUNT.size + count * _SIZE.size
        segments = []
        for (size,) in _SIZE.iter_unpack(view[_COUNT.size : at]):
            at += -at % ALIGNMENT
            segments.append(view[at : at + size])
            if len(segments[-1]) != size:
                raise PayloadError("a payload that is cut short")
            at += size
    except struct.error as error:
        raise PayloadError(f"a payload with a damaged table: {error}") from None
    return pickle.loads(segments[0], buffers=segments[1:])


def dump_arguments(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
    """The payload of a call's arguments.

    Raises:
        PayloadError: one of them cannot be pickled; it is named.
    """
    if not args and not kwargs:
        return NO_ARGUMENTS
    try:
        return join(dump((args, kwargs)))
    except Exception as error:
        raise PayloadError(_offender(args, kwargs, error)) from error


def _offender(args: tuple[Any, ...], kwargs: dict[str, Any], error: Exception) -> str:
    named = [(f"argument {i + 1}", value) for i, value in enumerate(args)]
    named += [(f"argument {name}=", value) for name, value in kwargs.items()]
    for name, value in named:
        try:
            dump(value)
        except Exception as reason:
            kind = type(value).__qualname__
            return f"{name} ({kind}) cannot be pickled: {reason}; pass plain data instead"
    return f"the arguments cannot be pickled together: {error}"
