"""The mark of a call's arguments: the same for equal arguments, in every process.

A user's id means one call. To tell "the same call again" from "another call under this id", the
client sends a digest of the arguments. A pickle will not do: equal sets pickle in different
orders, and equal strings differently when they are one object. So common containers are walked,
each element tagged with its type, and only what is left is pickled.
"""

from __future__ import annotations

import pickle
from hashlib import blake2b
from typing import Any

MARK_BYTES = 8

#: Deeper than this, structures are pickled whole: they may contain themselves.
DEPTH_MAX = 50


def mark(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
    """The mark of a call with these arguments."""
    return _digest((args, dict(sorted(kwargs.items()))), 0)


def _digest(value: Any, depth: int) -> bytes:
    digest = blake2b(digest_size=MARK_BYTES)
    kind = type(value)
    digest.update(kind.__qualname__.encode())
    if depth > DEPTH_MAX:
        digest.update(_pickled(value))
    elif kind is tuple or kind is list:
        for item in value:
            digest.update(_digest(item, depth + 1))
    elif kind is dict:
        for name, item in value.items():
            digest.update(_digest(name, depth + 1) + _digest(item, depth + 1))
    elif kind is set or kind is frozenset:
        for each in sorted(_digest(item, depth + 1) for item in value):
            digest.update(each)
    elif kind is str:
        digest.update(value.encode("utf-8", "surrogatepass"))
    elif kind in (int, float, complex, bool, type(None)):
        digest.update(repr(value).encode())
    elif kind in (bytes, bytearray):
        digest.update(value)
    else:
        digest.update(_pickled(value))
    return digest.digest()


def _pickled(value: Any) -> bytes:
    try:
        return pickle.dumps(value, protocol=5)
    except Exception:  # a class or lambda of __main__
        import cloudpickle

        return bytes(cloudpickle.dumps(value, protocol=5))
