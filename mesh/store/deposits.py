"""Deposits: content that clients leave with a worker, until it is in its store.

Each client has a folder of its own beside what slots write, and a lock in it for as long as it
lives: it writes a file there, and says so to the router, which has the worker take it in. For a
client that cannot the worker writes there what it is sent; then nobody holds a lock. What is there
of a client that is gone is swept.

    incoming/put-SESSION/lock        held by the client
    incoming/put-SESSION/KEY         as `stored_key` has it; both in hexadecimal
"""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..protocol.outcome import RESULT, stored_key
from ..protocol.upload import Part
from ..task import unkey
from .content import write_at

#: What a client's folder is named after, besides its session.
PREFIX = "put-"

LOCK = "lock"

#: What a client has said may still be on its way when it is gone: it is not swept before.
YOUNG_S = 60.0


def folder_of(incoming: Path | str, session: str) -> str:
    """Where the client of `session` leaves content."""
    return f"{incoming}/{PREFIX}{session.encode().hex()}"  # whatever is in it


def path_of(incoming: Path | str, task: bytes, lease: int, number: int) -> str:
    """Where the content of a put waits to be taken in."""
    return f"{folder_of(incoming, unkey(task)[0])}/{stored_key(task, lease, number).hex()}"


def write_part(incoming: Path, part: Part, content: Any) -> None:
    """Write what a client has sent.

    Raises:
        OSError: there is no room.
    """
    file = path_of(incoming, part.task, part.lease, RESULT)
    with suppress(FileExistsError):
        os.mkdir(os.path.dirname(file), mode=0o700)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        write_at(descriptor, content, part.offset)
    finally:
        os.close(descriptor)


class Depositor:
    """The place of the client of `session` at one worker.

    Raises:
        OSError: there is none: the worker is elsewhere, or another user's.
    """

    def __init__(self, incoming: str, session: str) -> None:
        self._folder = Path(folder_of(incoming, session))
        self._folder.mkdir(mode=0o700, exist_ok=True)
        self._lock = os.open(self._folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            raise

    def leave(self) -> None:
        """Nothing more comes; what was not taken in yet is swept in time."""
        with suppress(OSError):
            if os.listdir(self._folder) == [LOCK]:
                shutil.rmtree(self._folder)
        os.close(self._lock)


def folders(incoming: Path) -> Iterator[Path]:
    """The places of clients."""
    return incoming.glob(f"{PREFIX}*")


def is_left(folder: Path) -> bool:
    """Whether the client of a place is gone."""
    try:
        lock = os.open(folder / LOCK, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return True  # it was about to come, or to go
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(lock)
    return True


def sweep(incoming: Path, young_s: float = YOUNG_S) -> None:
    """Remove the places of clients that are gone, and in which nothing was written for so long."""
    for folder in folders(incoming):
        with suppress(OSError):
            newest = max(each.stat().st_mtime for each in (folder, *folder.iterdir()))
            if newest <= time.time() - young_s and is_left(folder):
                shutil.rmtree(folder)


def clear(incoming: Path) -> None:
    """Remove all of `incoming` but the places of clients that live: a temporary mesh's may be
    gone."""
    with suppress(OSError):
        for left in list(incoming.iterdir()):
            if not left.is_dir():
                left.unlink()
            elif not left.name.startswith(PREFIX) or is_left(left):
                shutil.rmtree(left, ignore_errors=True)
