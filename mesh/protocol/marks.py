"""The mark of a call's arguments: the same for equal arguments, in every process.

A user's id means one call. To tell "the same call again" from "another call under this id", the
client sends a digest of the arguments. A pickle will not do: equal sets and dicts pickle in
different orders, and equal strings differently when they are one object. So values are walked,
each tagged with its type: containers by their items, functions by their code, other objects by
what they tell pickle of themselves, futures by the user's id of their task. The order of a set or
dict does not count.
"""

from __future__ import annotations

import copyreg
import pickle
import types
from collections import OrderedDict
from collections.abc import Iterable
from hashlib import blake2b
from typing import Any

from .code import code_of
from .functions import name_of
from .inputs import REFERRING

MARK_BYTES = 8

#: Deeper than this, structures are pickled whole: Python's stack is finite.
DEPTH_MAX = 100

_BY_TEXT = (int, float, complex, bool, type(None))


def mark(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
    """The mark of a call with these arguments."""
    return _Walk().digest((args, kwargs))


class _Walk:
    """One walk over a call's arguments: what is met twice is walked once."""

    def __init__(self) -> None:
        self._done: dict[int, tuple[Any, bytes]] = {}  # by identity, which the object must outlive
        self._inside: dict[int, int] = {}  # the objects we are inside of → how deep each is

    def digest(self, value: Any) -> bytes:
        """The digest of `value` and all that is in it."""
        kind = type(value)
        if kind is str:
            return _digest(kind, [value.encode("utf-8", "surrogatepass")])
        if kind in _BY_TEXT:
            return _digest(kind, [repr(value).encode()])
        if kind in (bytes, bytearray):
            return _digest(kind, [value])
        done = self._done.get(id(value))
        if done is not None:
            return done[1]
        depth = self._inside.get(id(value))
        if depth is not None:
            return _digest(kind, [b"contains itself", str(depth).encode()])
        self._inside[id(value)] = len(self._inside)
        found = _digest(kind, self._parts(value))
        del self._inside[id(value)]
        self._done[id(value)] = value, found
        return found

    def _parts(self, value: Any) -> Iterable[bytes]:
        kind = type(value)
        if len(self._inside) > DEPTH_MAX:
            return [_pickled(value)]
        if kind is tuple or kind is list:
            return map(self.digest, value)
        if kind is dict:
            return sorted(self._pairs(value.items()))
        if isinstance(value, (set, frozenset)):
            return sorted(map(self.digest, value))
        if kind in REFERRING:
            return [value.meaning.encode()]
        if isinstance(value, types.FunctionType):
            return [name_of(value).encode(), code_of(value)]
        if isinstance(value, type):
            return [name_of(value).encode()]
        if isinstance(value, types.ModuleType):
            return [value.__name__.encode()]
        return self._reduced(value)

    def _pairs(self, items: Iterable[tuple[Any, Any]]) -> list[bytes]:
        return [self.digest(name) + self.digest(item) for name, item in items]

    def _reduced(self, value: Any) -> Iterable[bytes]:
        """What `value` tells pickle of itself: how to make it, its state, its items."""
        try:
            reduce = copyreg.dispatch_table.get(type(value))
            told = reduce(value) if reduce is not None else value.__reduce_ex__(4)
        except Exception:  # what cannot say is pickled by those who can, or not at all
            return [_pickled(value)]
        if isinstance(told, str):
            return [told.encode()]
        make, args, state, items, pairs = (*told, None, None, None)[:5]
        walked = [self.digest(make), self.digest(args), self.digest(state)]
        walked += map(self.digest, items or ())
        found = self._pairs(pairs or ())
        return walked + (found if isinstance(value, OrderedDict) else sorted(found))


def _digest(kind: type, parts: Iterable[bytes]) -> bytes:
    digest = blake2b(f"{kind.__module__}.{kind.__qualname__}\0".encode(), digest_size=MARK_BYTES)
    for part in parts:
        digest.update(part)
    return digest.digest()


def _pickled(value: Any) -> bytes:
    try:
        return pickle.dumps(value, protocol=5)
    except Exception:  # a class or lambda of __main__
        import cloudpickle

        return bytes(cloudpickle.dumps(value, protocol=5))
