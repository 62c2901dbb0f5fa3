"""Puts: what a client leaves in the mesh: objects that were put, and arguments that are too large.

The content is written right into the folder of the home worker, part by part: no copy is made of
the buffers of arrays but that in the file. Where that cannot be, it is uploaded. Then a PUT goes
out, before the tasks that take it. Bytes on their way count in the outbox's window, so that who
puts waits rather than filling a disk.

The same content is stored once: what has a known size and checksum is compared by a digest. That
of the first is not known, since most content comes once; so there may be two of it.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import QueueFull
from ..processes import spool
from ..processes.carrier import reachable
from ..protocol import checksum, outcome, payload
from ..protocol import messages as m
from ..protocol.outcome import RESULT
from ..store import deposits
from ..task import Kind, key
from .upload import Content, Uploader

if TYPE_CHECKING:
    from .connection import Connection

#: Contents are remembered, to be known again: of so many sizes, and so many of each; some hundred
#: bytes of memory each.
SIZES_MAX = 256
OF_A_SIZE_MAX = 256

#: So much at the beginning, the middle and the end of each part is its sample.
SAMPLE_BYTES = 256

#: An object of at most this size is recorded with its put, as a result would be.
INLINE_BYTES = 8 * 1024

#: A home worker that is not there, or has no room, is looked for so often; of who is away for
#: longer than a restart takes, it is told.
LOOK_AGAIN_S = 0.2
TELL_S = 3.0

#: The home worker of a mesh: its store, where it is served, its host, its folder of contents.
Home = list[str]


class Known(NamedTuple):
    """Content that is in the mesh: of which task, its sample and checksum, its digest unless it was
    the first of its size and checksum, the body of its outcome; where it lies first, and
    then, if that can be seen from here."""

    counter: int
    sample: int
    crc: int
    digest: bytes | None
    body: bytes
    is_argument: bool
    files: tuple[str, ...]


class Puts:
    """What the client of `connection` puts. `warn` takes a line that the user should see; a mesh
    that takes nothing is waited for `patience_s`."""

    def __init__(
        self, connection: Connection, warn: Callable[[str], None], patience_s: float
    ) -> None:
        self._session = connection.session
        self._outbox = connection.outbox
        self._ask = connection.ask
        self._warn = warn
        self._patience_s = patience_s
        self._lock = threading.Lock()
        self._host = socket.gethostname()
        self._home: Home | None = None
        self._own = connection.access.own
        self._uploader = Uploader(self._own, connection.relay)
        self._remote: set[str] = set()  # stores whose folders cannot be written to
        self._depositors: dict[str, deposits.Depositor] = {}
        self._known: OrderedDict[int, deque[Known]] = OrderedDict()  # by size

    def fit(self, arguments: list[Any], inputs: bytes) -> tuple[bytes, bytes]:
        """The payload and the inputs of a call with these `arguments`, the parts of a payload: as
        they are, or put, if they are large.

        Raises:
            QueueFull: the mesh has had no room for them for too long, or no home worker.
        """
        if len(arguments) == 1 and len(arguments[0]) <= payload.ARGUMENTS_BYTES_MAX:
            return arguments[0], inputs
        size = payload.size_of(arguments)
        if size <= payload.ARGUMENTS_BYTES_MAX:
            return payload.join(arguments), inputs
        known = self._store(arguments, size, True, lambda counter: None)
        return payload.LAST_INPUT, inputs + key(self._session, known.counter)

    def put(self, parts: list[Any], register: Callable[[int], None]) -> tuple[int, bytes] | None:
        """Put an object, of which these are the parts of the payload. `register(counter)` is called
        before anything can answer for it. Its counter and the body of its outcome, if it is known
        already: nothing will answer then.

        Raises:
            QueueFull: the mesh has had no room for it for too long, or no home worker.
        """
        size = payload.size_of(parts)
        if size <= INLINE_BYTES:
            body = outcome.body(time.time(), 0.0, b"", payload.join(parts))
            self._outbox.add_put(self._outbox.reserve(1), Kind.VALUE, body, False, register)
            return None
        registered: list[int] = []

        def noted(counter: int) -> None:
            registered.append(counter)
            register(counter)

        known = self._store(parts, size, False, noted)
        return None if registered else (known.counter, known.body)

    def _store(
        self, parts: list[Any], size: int, is_argument: bool, register: Callable[[int], None]
    ) -> Known:
        """Content in the mesh with these bytes: that which is there, or new."""
        digest: bytes | None = None
        sample = _sample(parts)
        alike = self._alike(parts, size, sample)
        if alike:
            digest = _digest(parts)
            for known in alike:  # an argument goes when no task needs it any more
                if known.digest == digest and (is_argument or not known.is_argument):
                    if not known.files or any(map(os.path.exists, known.files)):
                        return known
                    self._forget(size, known)  # it was lost, or is needed no more
        self._outbox.await_room(size)
        counter = self._outbox.reserve(1)
        task = key(self._session, counter)
        home, crc = self._leave(task, counter, parts)
        left = _place(home, task, counter)
        kept = f"{home[3]}/{outcome.stored_name(task, counter, RESULT)}"
        ref = outcome.REF.pack(task, counter, RESULT, size, crc, home[0].encode())
        body = outcome.body(time.time(), 0.0, b"", ref)
        try:
            self._outbox.add_put(counter, Kind.STORED, body, is_argument, register)
        except BaseException:  # nobody will hear of it
            with suppress(OSError):
                os.unlink(left)
            raise
        files = () if home[0] in self._remote else (left, kept)
        return self._remember(size, Known(counter, sample, crc, digest, body, is_argument, files))

    def _alike(self, parts: list[Any], size: int, sample: int) -> list[Known]:
        """What is known of this size and checksum: all of it is summed up only where a sample is
        known."""
        with self._lock:
            alike = [known for known in self._known.get(size, ()) if known.sample == sample]
        crc = checksum.of_parts(parts) if alike else 0
        return [known for known in alike if known.crc == crc]

    def _remember(self, size: int, known: Known) -> Known:
        with self._lock:
            self._known.setdefault(size, deque(maxlen=OF_A_SIZE_MAX)).append(known)
            self._known.move_to_end(size)
            while len(self._known) > SIZES_MAX:
                self._known.popitem(last=False)
        return known

    def _forget(self, size: int, known: Known) -> None:
        with self._lock, suppress(KeyError, ValueError):
            self._known[size].remove(known)

    def _leave(self, task: bytes, lease: int, parts: list[Any]) -> tuple[Home, int]:
        """Leave content with the home worker; which that is, and the checksum. Waits while there is
        none, or no room there.

        Raises:
            QueueFull: that took too long.
        """
        begun = time.monotonic()
        told = False
        contents: dict[str, Content] = {}  # by store: what of it is not there yet
        while True:
            why = "it has no home worker; `mesh worker --home` on the router's host is one"
            home = self._home or self._ask("home", {})
            if home is not None:
                before = _missing(contents)
                try:
                    crc = self._write(home, task, lease, parts, contents)
                    self._home = home
                    return home, crc
                except OSError as error:
                    self._home = None  # it may be another by now
                    why = f"{error.strerror} ({home[3]})"
                if _missing(contents) != before:
                    begun = time.monotonic()
            waited_s = time.monotonic() - begun
            if waited_s >= self._patience_s:
                raise QueueFull(f"the mesh has taken nothing for {self._patience_s:g} s: {why}")
            if waited_s >= TELL_S and not told:
                told = True
                self._warn(f"a large object waits, for the mesh cannot take it: {why}")
            time.sleep(LOOK_AGAIN_S)

    def _write(
        self,
        home: Home,
        task: bytes,
        lease: int,
        parts: list[Any],
        contents: dict[str, Content],
    ) -> int:
        """Leave content with `home`, in its folder if that can be written to; the checksum."""
        store, address, host, _ = home
        depositor = self._depositor(store, host, _incoming(home))
        if depositor is not None:
            try:
                return spool.write(_place(home, task, lease), parts)[1]
            except FileNotFoundError:  # it may have made anew what our place was in
                self._move_out(store, depositor)
                raise
        content = contents.setdefault(store, Content(parts))
        addresses = reachable(address, is_here=host == self._host, own=self._own)
        self._uploader.send(store, addresses, task, lease, content)
        return checksum.of_parts(parts)

    def _depositor(self, store: str, host: str, incoming: str) -> deposits.Depositor | None:
        """Our place in the folder of a home worker, if that can be written to from here.

        Raises:
            OSError: there is none for now.
        """
        with self._lock:
            if host != self._host:
                self._remote.add(store)
            if store in self._remote:
                return None
            if store not in self._depositors:
                if not os.path.isdir(incoming):
                    self._remote.add(store)
                    return None
                self._depositors[store] = deposits.Depositor(incoming, self._session)
            return self._depositors[store]

    def _move_out(self, store: str, depositor: deposits.Depositor) -> None:
        """This place is none any more."""
        with self._lock:
            if self._depositors.get(store) is depositor:
                del self._depositors[store]
                depositor.leave()

    def hear_relayed(self, message: m.Relay) -> None:
        """An answer to a part has come by way of the router."""
        self._uploader.hear_relayed(message)

    def close(self) -> None:
        """Nothing more is put."""
        with self._lock:
            for depositor in self._depositors.values():
                depositor.leave()
            self._depositors.clear()
        self._uploader.close()


def _digest(parts: list[Any]) -> bytes:
    digest = sha256()
    for part in parts:
        digest.update(part)
    return digest.digest()


def _missing(contents: dict[str, Content]) -> int:
    return sum(len(content.missing) for content in contents.values())


def _incoming(home: Home) -> str:
    """Where a home worker has the places of clients."""
    return f"{os.path.dirname(home[3])}/incoming"


def _place(home: Home, task: bytes, lease: int) -> str:
    """Where content is left with a home worker."""
    return deposits.path_of(_incoming(home), task, lease, RESULT)


def _sample(parts: list[Any]) -> int:
    """The crc32 of a little of each of the `parts`: new content mostly differs there."""
    crc = 0
    for part in parts:
        view = memoryview(part).cast("B")
        for at in {0, len(view) // 2, max(len(view) - SAMPLE_BYTES, 0)}:
            crc = checksum.crc32(view[at : at + SAMPLE_BYTES], crc)
    return crc
