"""Python objects ⇄ payloads. Imported by clients and slots alone: nobody else decodes user data.

A payload is a pickle (protocol 5) and, if the objects have large buffers (NumPy arrays, bytes
held by `pickle.PickleBuffer`), those buffers out of band, each aligned, behind a table of sizes:

    plain    := pickle                                     (begins with 0x80)
    buffered := 0x01 · count u32 · sizes u64 × count · pickle · buffers, each aligned to 64

Buffers are views into the payload: unpickling copies nothing, unless the payload is read-only (as
small ones are), because an array that came can be written to. Arguments are pickled as
``(args, kwargs)``; those too large to travel in a SUBMIT are put, and 0x02 says in place of them
that they are the task's last input. What lives in `__main__` or in a local module, or is a lambda,
goes by value, with cloudpickle, as functions do: a class is the same one for a function and for its
arguments.
"""

from __future__ import annotations

import io
import pickle
import struct
import types
from collections.abc import Collection
from typing import Any

from ..errors import PayloadError
from . import inputs
from .functions import dump_by_value, is_installed

_COUNT = struct.Struct("<BI")
_SIZE = struct.Struct("<Q")
_BUFFERED = 1

#: Buffers are aligned for vector instructions.
ALIGNMENT = 64

#: A smaller buffer goes into the pickle: a table entry and padding would cost more.
BUFFER_BYTES_MIN = 4096

#: Large bytes go out of band where they are an argument, or the result, themselves: the pickle
#: would take a copy of them, and that costs more than all else that is done to them.
RAW_BYTES_MIN = 128 * 1024

#: Values of these types have no buffers and nothing of `__main__` in them: the plain pickle does.
ATOMS = frozenset({int, float, complex, bool, str, bytes, type(None)})

_OF_ANY_SIZE = frozenset({str, bytes})

#: ``((), {})`` pickled: the arguments of every call without any.
NO_ARGUMENTS = pickle.dumps(((), {}), protocol=5)

#: In place of the arguments of a call: they are the last of its inputs.
LAST_INPUT = b"\x02"

#: Larger arguments do not travel in a SUBMIT: they would fill the router's memory and records. That
#: is what decides: for a single task they are quicker there up to some 200 kB. Arrays and buffers
#: are often of 64 KiB; what a pickle adds to that must not make the difference.
ARGUMENTS_BYTES_MAX = 64 * 1024 + 1024


def dump(value: Any, *, with_modules: bool = False, but: Collection[str] = ()) -> list[Any]:
    """`value` as the parts of a payload; `join` makes one of them.

    Args:
        value: what to pickle.
        with_modules: classes and functions of local modules travel by value too. A slot leaves
            that: what it has imported its client can import.
        but: these modules are there: they travel with the function, as sources.

    Raises:
        Exception: whatever pickling raises; the callers say what it was they pickled.
    """
    if type(value) in ATOMS:
        if type(value) is not bytes or not _is_raw(value):
            return [pickle.dumps(value, protocol=5)]
        value = _Raw(value)
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

    head = None
    modules: dict[str, set[str]] = {}
    try:
        head = pickle.dumps(value, protocol=5, buffer_callback=out_of_band)
    except Exception:  # a lambda, a local class: cloudpickle can, or says why it can't
        pass
    if with_modules and (head is None or pickle.STACK_GLOBAL in head):
        modules = {name: used for name, used in _local_modules(value).items() if name not in but}
    if head is None or modules or b"__main__" in head:
        plain = list(buffers)
        buffers.clear()
        stream = io.BytesIO()
        try:
            dump_by_value(value, modules, stream, out_of_band)
            head = stream.getvalue()
        except Exception:
            if head is None:
                raise
            buffers = plain  # perhaps the other side can import it
    if not buffers:
        return [head]
    return _with_table([head, *buffers])


class _Raw:
    """Bytes that go out of band."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __reduce_ex__(self, protocol: Any) -> Any:
        return type(self.value), (pickle.PickleBuffer(self.value),)


#: The pickles of bytes that are out of band, and of nothing else.
_RAW_HEADS = {
    pickle.dumps(_Raw(kind()), protocol=5, buffer_callback=lambda buffer: False)
    for kind in (bytes, bytearray)
}


def _is_raw(value: Any) -> bool:
    return type(value) in (bytes, bytearray) and len(value) >= RAW_BYTES_MIN


def _without_raw(
    args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of a call with `_Raw` in place of large bytes: each once."""
    raw = {id(each): _Raw(each) for each in (*args, *kwargs.values()) if _is_raw(each)}
    if not raw:
        return args, kwargs
    return (
        tuple(raw.get(id(each), each) for each in args),
        {name: raw.get(id(each), each) for name, each in kwargs.items()},
    )


def _local_modules(value: Any) -> dict[str, set[str]]:
    """The local modules of which something is in `value`, and what is needed of each."""
    finder = _Finder()
    try:
        finder.dump(value)
    except Exception:
        pass  # it cannot be pickled: who pickles it for good says so
    if not finder.found:
        return {}
    from .code import Parts

    modules: dict[str, set[str]] = {}
    for each in finder.found:
        for name, used in Parts(each).modules.items():
            modules.setdefault(name, set()).update(used)
    return modules


class _Finder(pickle.Pickler):
    """Pickles into nothing, and notes which classes and functions of local modules it meets."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO(), protocol=5, buffer_callback=lambda buffer: False)
        self.found: list[Any] = []

    def reducer_override(self, each: Any) -> Any:
        if not isinstance(each, (type, types.FunctionType)) or is_installed(each.__module__ or ""):
            return NotImplemented
        self.found.append(each)
        return tuple, ()  # no matter what: it leads nowhere


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


def size_of(parts: list[Any]) -> int:
    """The bytes of a payload that has these parts."""
    return sum(memoryview(part).nbytes for part in parts)


def join(parts: list[Any]) -> bytes:
    """One payload of its parts."""
    return parts[0] if len(parts) == 1 else b"".join(parts)


def is_plain(payload: Any) -> bool:
    """Whether a payload is a pickle as it stands."""
    view = memoryview(payload)
    return not len(view) or view[0] != _BUFFERED


def raw(payload: Any) -> memoryview | None:
    """The bytes that a payload is of, if its value is nothing but large bytes: nothing is copied.

    Raises:
        PayloadError: it is no payload.
    """
    if is_plain(payload):
        return None
    head, *buffers = _segments(memoryview(payload))
    return buffers[0] if len(buffers) == 1 and bytes(head[:256]) in _RAW_HEADS else None


def load(payload: Any) -> Any:
    """The object in `payload`; its buffers are views of it.

    Raises:
        PayloadError: it is no payload.
        Exception: whatever unpickling raises.
    """
    view = memoryview(payload)
    if not len(view) or view[0] != _BUFFERED:
        return pickle.loads(view)
    if view.readonly:
        view = memoryview(bytearray(view))
    segments = _segments(view)
    return pickle.loads(segments[0], buffers=segments[1:])


def _segments(view: memoryview) -> list[memoryview]:
    """The pickle of a buffered payload, and its buffers."""
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
    if not 0 < len(segments) == count:
        raise PayloadError(f"a payload with a damaged table: {len(segments)} of {count} sizes")
    return segments


def plain_arguments(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes | None:
    """The payload of a call's arguments, if they are what most are: positional atoms, small enough
    to travel with the call. The others are for `dump_arguments`.
    """
    if kwargs or not ATOMS.issuperset(map(type, args)):
        return None
    if not args:
        return NO_ARGUMENTS
    for each in args:  # a large one is not to be copied for nothing
        if type(each) in _OF_ANY_SIZE and len(each) > ARGUMENTS_BYTES_MAX:
            return None
    pickled = pickle.dumps((args, kwargs), protocol=5)
    return pickled if len(pickled) <= ARGUMENTS_BYTES_MAX else None


def dump_arguments(
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    mesh: object = None,
    with_modules: bool = True,
    but: Collection[str] = (),
) -> tuple[list[Any], bytes]:
    """The parts of the payload of a call's arguments, and the ids of its inputs, one after the
    other: of the futures of `mesh` among them. `with_modules`, `but`: see `dump`.

    Raises:
        PayloadError: one of them cannot be pickled; it is named.
    """
    if not kwargs and inputs.REFERRING.issuperset(map(type, args)):
        try:
            pickled, ids = inputs.references(args, mesh)
            return [pickled], ids
        except Exception:
            pass  # which of them it is, is said below
    with inputs.Gathering(mesh) as gathered:
        try:
            args, kwargs = _without_raw(args, kwargs)
            if not kwargs and (ATOMS | inputs.REFERRING).issuperset(map(type, args)):
                return [pickle.dumps((args, kwargs), protocol=5)], b"".join(gathered)
            parts = dump((args, kwargs), with_modules=with_modules, but=but)
            return parts, b"".join(gathered)
        except Exception as error:
            raise PayloadError(_offender(args, kwargs, error)) from error


def _offender(args: tuple[Any, ...], kwargs: dict[str, Any], error: Exception) -> str:
    named = [(f"argument {i + 1}", value) for i, value in enumerate(args)]
    named += [(f"argument {name}=", value) for name, value in kwargs.items()]
    for name, value in named:
        try:
            dump(value, with_modules=True)
        except Exception as reason:
            from . import culprit

            part = culprit.of_value(value, lambda each: dump(each, with_modules=True))
            where = f", which is {part}" if part else ""
            what = culprit.advice(value, "pass plain data instead")
            kind = type(value).__qualname__
            return f"{name} ({kind}) cannot be pickled: {reason}{where}; {what}"
    return f"the arguments cannot be pickled together: {error}"
