"""Outcome bodies: what a run leaves behind, as opaque bytes to everybody between slot and client.

    body    := flags u8 · begun f64 (unix time) · took f32 (seconds) · log length u32 · log · rest
    rest    := the pickled value (Kind.VALUE) | ref (Kind.STORED) | failure (all others)
    ref     := task id (16 bytes) · lease u64 · number u16 · size u64 · crc32 u32 ·
               store id (8 bytes)
    failure := six length-prefixed texts (kind, message, traceback, host, pid, the class's bases a
               line each) · the pickled exception, or nothing

With flag LOG_STORED the log field is a ref to the log. Slots import this module: it needs nothing
but struct, so that a slot starts quickly.
"""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

from ..errors import Failure
from ..task import Kind

PREFIX = struct.Struct("<BdfI")
REF = struct.Struct("<16sQHQI8s")
_KEY = struct.Struct(">16sQH")
_LENGTH = struct.Struct("<I")

_LOG_BYTES = slice(PREFIX.size - _LENGTH.size, PREFIX.size)
_NO_LOG = bytes(_LENGTH.size)
_PICKLE = b"\x80"  # how a pickle of protocol 2 or later begins

#: The log is not inline: its field holds a ref.
LOG_STORED = 1

#: Of a message or traceback, the last so many bytes are kept.
TEXT_BYTES_MAX = 8192

#: Where in a key the lowest byte of the lease is: what differs most.
_LEASE_LOW = 23

#: The index of a result and of a log among what one lease stored.
RESULT, LOG = 0, 1


class Ref(NamedTuple):
    """A result that stays with its maker: which lease of a task stored it, where, how big."""

    task: bytes
    lease: int
    number: int
    size: int
    crc: int
    store: bytes

    @property
    def holder(self) -> str:
        """The id of the store that holds it."""
        return self.store.decode("ascii")

    @property
    def packed(self) -> bytes:
        """Its bytes."""
        return REF.pack(*self)

    @property
    def key(self) -> bytes:
        """What it is known by in any store that has it."""
        return stored_key(self.task, self.lease, self.number)


class Outcome(NamedTuple):
    """A decoded body; `rest` is still what the kind says."""

    flags: int
    begun: float
    took_s: float
    log: bytes
    rest: memoryview


def stored_key(task: bytes, lease: int, number: int) -> bytes:
    """What a stored result is known by to its maker; in hexadecimal, its file's name. A lease alone
    would not do: a store may serve several meshes, and each counts its own."""
    return _KEY.pack(task, lease, number)


def parse_key(key: bytes) -> tuple[bytes, int, int]:
    """The task, lease and number that a key stands for.

    Raises:
        ValueError: it is none.
    """
    if len(key) != _KEY.size:
        raise ValueError(f"a key of {len(key)} bytes, expected {_KEY.size}")
    task, lease, number = _KEY.unpack(key)
    return task, lease, number


def stored_name(task: bytes, lease: int, number: int) -> str:
    """The file of a stored result, from its store's folder of contents on."""
    key = stored_key(task, lease, number)
    return f"{key[_LEASE_LOW]:02x}/{key.hex()}"  # 256 folders keep each one short


def body(begun: float, took_s: float, log: bytes, rest: Any, flags: int = 0) -> bytes:
    """The bytes of an outcome."""
    return PREFIX.pack(flags, begun, took_s, len(log)) + log + rest


def has_log(raw: Any) -> bool:
    """Whether something was printed: looks at one field, for the many outcomes without."""
    return bytes(raw[_LOG_BYTES]) != _NO_LOG


def with_log(bodies: list[Any]) -> list[int]:
    """The places of those outcomes that have a log."""
    return [nth for nth, raw in enumerate(bodies) if raw[_LOG_BYTES] != _NO_LOG]


def plain_value(raw: bytes) -> bytes | None:
    """The pickled value of an outcome that has nothing else in it, without parsing it; the
    ordinary case of many tiny results."""
    if raw[_LOG_BYTES] == _NO_LOG and raw[PREFIX.size : PREFIX.size + 1] == _PICKLE:
        return raw[PREFIX.size :]
    return None


def parse(raw: Any) -> Outcome:
    """The parts of a body.

    Raises:
        ValueError: it is cut short.
    """
    view = memoryview(raw)
    if len(view) < PREFIX.size:
        raise ValueError(f"an outcome of {len(view)} bytes")
    flags, begun, took_s, log_bytes = PREFIX.unpack_from(view)
    end = PREFIX.size + log_bytes
    if len(view) < end:
        raise ValueError(f"an outcome whose log of {log_bytes} bytes is cut short")
    return Outcome(flags, begun, took_s, bytes(view[PREFIX.size : end]), view[end:])


def rest_of(raw: bytes, at: int = 0) -> bytes:
    """Value, ref or failure in the body that begins at `at`, which was parsed before."""
    _, _, _, log_bytes = PREFIX.unpack_from(raw, at)
    return raw[at + PREFIX.size + log_bytes :]


def parse_ref(raw: Any) -> Ref:
    """The ref in `raw`.

    Raises:
        ValueError: it is none.
    """
    if len(raw) != REF.size:
        raise ValueError(f"a ref of {len(raw)} bytes, expected {REF.size}")
    return Ref(*REF.unpack(raw))


def refs_in(kind: int, body: bytes) -> list[Ref]:
    """What an outcome says was stored."""
    found = parse(body)
    refs = [parse_ref(found.log)] if found.flags & LOG_STORED else []
    if kind == Kind.STORED:
        refs.append(parse_ref(found.rest))
    return refs


def with_store(kind: int, raw: bytes, store: str) -> bytes:
    """The body of an outcome, with `store` as the one that has what it says was stored.

    Raises:
        ValueError: it is cut short.
    """
    found = parse(raw)
    log, rest = found.log, bytes(found.rest)
    if found.flags & LOG_STORED:
        log = parse_ref(log)._replace(store=store.encode()).packed
    if kind == Kind.STORED:
        rest = parse_ref(rest)._replace(store=store.encode()).packed
    return body(found.begun, found.took_s, log, rest, found.flags)


def parse_astray(raw: Any) -> tuple[str, bytes]:
    """Why a run could not have an input, and the name of that; without one if it never came.

    Raises:
        ValueError: the body is cut short.
    """
    failure, name = parse_failure(parse(raw).rest)
    return failure.message, bytes(name)


def pack_failure(failure: Failure, exception: bytes = b"") -> bytes:
    """The bytes of a failure, and the pickled exception if there is one."""
    texts = [failure.kind, failure.message, failure.traceback, failure.host, str(failure.pid)]
    encoded = [_clipped(text) for text in [*texts, "\n".join(failure.bases)]]
    return b"".join(_LENGTH.pack(len(text)) + text for text in encoded) + exception


def _clipped(text: str) -> bytes:
    """The end of `text` in utf-8, whole characters: a failure must fit a packet."""
    raw = text.encode("utf-8", "backslashreplace")
    if len(raw) <= TEXT_BYTES_MAX:
        return raw
    return raw[-TEXT_BYTES_MAX:].decode("utf-8", "ignore").encode()


def parse_failure(raw: Any) -> tuple[Failure, memoryview]:
    """The failure in `raw` and its pickled exception (perhaps empty).

    Raises:
        ValueError: it is cut short.
    """
    view = memoryview(raw)
    texts = []
    for _ in range(6):
        if len(view) < _LENGTH.size:
            raise ValueError("a failure that is cut short")
        end = _LENGTH.size + _LENGTH.unpack_from(view)[0]
        if len(view) < end:
            raise ValueError("a failure that is cut short")
        texts.append(bytes(view[_LENGTH.size : end]).decode("utf-8"))
        view = view[end:]
    kind, message, traceback, host, pid, bases = texts
    return Failure(kind, message, traceback, host, int(pid or 0), bases.splitlines()), view


def failure_body(kind: str, message: str, host: str = "", pid: int = 0) -> bytes:
    """The body of a failure that did not come from the user's code: `kind` names an error class
    of errors.py."""
    return body(0.0, 0.0, b"", pack_failure(Failure(kind, message, "", host, pid)))


def cut_short(raw: bytes, failure: bytes) -> bytes:
    """The body of a run that was ended: `failure` is what became of it, while `raw`, if it has left
    anything, says when it began and what it printed.

    Raises:
        ValueError: one of them is cut short.
    """
    if not raw:
        return failure
    said = parse(raw)
    return body(said.begun, said.took_s, said.log, parse(failure).rest, said.flags)
