"""What the tasks of a chaos run do. Each says in the history that it begins and how it ends.

They travel by value, and import nothing but the standard library. `history` is the path of the
history's file, `key` the harness's own name of the call: the same in each of its runs.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

#: What is to be stopped by the mesh would go on for so long: longer than any stop of its worker.
FOREVER_S = 40.0


def fingerprint(value: Any) -> str:
    """What the history says of a value: the same for the same value."""
    raw = value if isinstance(value, bytes) else repr(value).encode()
    return hashlib.sha256(raw).hexdigest()[:16]


def content(key: str, size: int) -> bytes:
    """`size` bytes that only `key` has."""
    word = hashlib.sha256(key.encode()).digest()
    return (word * (size // len(word) + 1))[:size]


def mixture(key: str, took: list[str]) -> str:
    """What only `key` makes of what it took, by the fingerprints of that."""
    return f"{key} of {' '.join(took)}"


def leaves(things: Any) -> Iterator[Any]:
    """What is in lists, tuples and dictionaries, one after the other."""
    if isinstance(things, dict):
        things = list(things.values())
    if isinstance(things, (list, tuple)):
        for each in things:
            yield from leaves(each)
    else:
        yield things


def _note(history: str, event: str, key: str, **about: Any) -> None:
    line = {"event": event, "t": time.monotonic(), "key": key}
    line |= {"pid": os.getpid(), "worker": os.getppid()} | about
    descriptor = os.open(history, os.O_WRONLY | os.O_APPEND)
    try:
        os.write(descriptor, json.dumps(line).encode() + b"\n")
    finally:
        os.close(descriptor)


@contextmanager
def _run(history: str, key: str, **about: Any) -> Iterator[None]:
    _note(history, "began", key, **about)
    try:
        yield
    except KeyboardInterrupt:
        _note(history, "ended", key, how="interrupted")
        raise
    except BaseException:
        _note(history, "ended", key, how="raised")
        raise
    _note(history, "ended", key, how="returned")


def echo(history: str, key: str) -> str:
    """Quick: such tasks travel in company."""
    with _run(history, key):
        return key


def nap(history: str, key: str, seconds: float) -> str:
    """Takes a while."""
    with _run(history, key):
        time.sleep(seconds)
        return key


def large(history: str, key: str, size: int) -> bytes:
    """Its result stays with the worker."""
    with _run(history, key):
        return content(key, size)


def weigh(history: str, key: str, data: bytes) -> str:
    """Its argument is large."""
    with _run(history, key):
        return fingerprint(data)


def fail(history: str, key: str) -> None:
    """Raises, always."""
    with _run(history, key):
        raise ValueError(key)


def flaky(history: str, key: str, trace: str, times: int) -> str:
    """Raises as often as that, then returns. `trace` is a file of its own that counts."""
    with _run(history, key):
        if _count(trace) < times:
            _add(trace)
            raise ValueError(key)
        return key


def combine(
    history: str, key: str, size: int, seconds: float, fails: bool, data: bytes, things: Any
) -> bytes:
    """Makes `size` bytes of `data`, if there is any, and of what is in `things`."""
    took = [fingerprint(each) for each in leaves([data, things] if data else things)]
    with _run(history, key, took=took):
        time.sleep(seconds)
        if fails:
            raise ValueError(key)
        return content(mixture(key, took), size)


def outlast(history: str, key: str) -> None:
    """Outlasts every time limit."""
    with _run(history, key):
        time.sleep(FOREVER_S)


def swell(history: str, key: str, size: int) -> None:
    """Uses `size` bytes until it is stopped."""
    with _run(history, key):
        held = bytearray(size)
        held[:: os.sysconf("SC_PAGE_SIZE")] = b"x" * len(held[:: os.sysconf("SC_PAGE_SIZE")])
        time.sleep(FOREVER_S)


def die(history: str, key: str, trace: str, times: int) -> str:
    """Takes its slot along as often as that, then returns."""
    _note(history, "began", key)
    died = _count(trace)
    if died < times:
        _add(trace)
        _note(history, "ended", key, how="dying")
        if died % 2:
            os._exit(3)
        os.kill(os.getpid(), signal.SIGKILL)
    _note(history, "ended", key, how="returned")
    return key


def _count(trace: str) -> int:
    try:
        return os.path.getsize(trace)
    except FileNotFoundError:
        return 0


def _add(trace: str) -> None:
    with open(trace, "ab") as file:
        file.write(b".")
