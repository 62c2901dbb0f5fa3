"""Parcel: what stands in a FUNCTION: the call, where it was submitted, sources of modules, and what
is to run before it.

The bytes of the call are pickled, see functions.py; the router looks at none of it.
"""

from __future__ import annotations

import os
import pickle
import struct
import zlib
from typing import Any, NamedTuple

from ..errors import PayloadError

_HEAD = struct.Struct("<HI")

#: Where a call would begin: an initializer is first. Its digest, and the length of its parcel.
_INITIALIZER = b"I"
_FIRST = struct.Struct("<16sI")


class Source(NamedTuple):
    """A local module as it is to be imported elsewhere: the path of its file, where it comes from;
    whether it is a package; the content of the file; and a digest of all three."""

    path: str
    is_package: bool
    text: bytes
    digest: bytes


class Initializer(NamedTuple):
    """What a mesh has run once in each process: a call without arguments, and modules for it.
    `digest` is over both."""

    digest: bytes
    call: Any
    sources: dict[str, Source]


class Parcel(NamedTuple):
    """See the module. `home` is the folder of who submitted it, or "" where that is not known;
    `sources` are modules by name: of a parcel that has come with those of its initializer, as far
    as the call has not others."""

    call: Any
    home: str = ""
    sources: dict[str, Source] = {}  # nobody adds to it
    initializer: Initializer | None = None


def pack(parcel: Parcel) -> bytes:
    """The payload of a FUNCTION."""
    home, sources = parcel.home.encode("utf-8", "surrogateescape"), b""
    if parcel.sources:
        rows = [(name, *each) for name, each in parcel.sources.items()]
        sources = zlib.compress(pickle.dumps(rows, protocol=5))
    parts = [_HEAD.pack(len(home), len(sources)), home, sources]
    if parcel.initializer is not None:
        digest, call, own = parcel.initializer
        first = pack(Parcel(call, "", own))
        parts += [_INITIALIZER, _FIRST.pack(digest, len(first)), first]
    return b"".join([*parts, parcel.call])


def parse(payload: Any) -> Parcel:
    """What is in the payload of a FUNCTION.

    Raises:
        PayloadError: it is none.
    """
    view = memoryview(payload)
    try:
        length, size = _HEAD.unpack_from(view)
        at = _HEAD.size + length
        if at + size > len(view):
            raise ValueError("it is cut short")
        home = bytes(view[_HEAD.size : at]).decode("utf-8", "surrogateescape")
        rows = pickle.loads(zlib.decompress(view[at : at + size])) if size else ()
        sources = {name: Source(*each) for name, *each in rows}
        call, initializer = view[at + size :], None
        if call[:1] == _INITIALIZER:
            digest, length = _FIRST.unpack_from(call, 1)
            begin = 1 + _FIRST.size
            first = parse(call[begin : begin + length])
            initializer = Initializer(digest, first.call, first.sources)
            sources, call = first.sources | sources, call[begin + length :]
        if not len(call):
            raise ValueError("it is cut short")
    except Exception as error:
        raise PayloadError(f"a function in no parcel: {error}") from None
    return Parcel(call, home, sources, initializer)


def state_of(path: str) -> Any:
    """What changes when a file does."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
