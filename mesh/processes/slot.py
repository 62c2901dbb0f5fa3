"""The slot: a child of the worker that runs one task at a time.

It talks to its worker alone, over the socket pair it was born with; it opens no socket, no store
and no thread. Its loop is the whole story: read a packet, and for each task in it decode, call,
encode, answer. User errors are data; a slot dies only of what kills a process. When the pair
reaches its end the worker is gone, and the slot goes too.

It imports little, so that it starts quickly and stays small.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import CoroutineType
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from ..errors import DISK_FULL, Failure, PayloadError
from ..protocol import context, functions, inputs, namespaces, outcome, packets, parcel, payload
from ..protocol.parcel import Parcel
from ..task import Kind, key, show, unkey
from ..transport import descriptors
from . import PATH_VARIABLE, failing, running, spool
from .capture import Capture, Catch
from .fate import be_killed_first, die_with_parent
from .imports import Imports
from .initializers import Initializers, Run
from .input_files import InputAstray, InputFiles
from .running import Running
from .signals import Signals
from .slate import Slate
from .surroundings import Surroundings
from .weight import resident_bytes

#: Outcomes of one packet's tasks go back together, unless these took longer than is thought of
#: tasks that travel in company, or their bodies are large.
FLUSH_S = 0.000_5
FLUSH_BYTES = 48 * 1024

#: A result waits so long for room on the disk, and looks so often: nobody tells when there is.
ROOM_S = 300.0
ROOM_EVERY_S = 1.0

if TYPE_CHECKING:
    from .turns import Turn

#: Of a log, this much travels with the outcome; more of it stays with the worker.
LOG_INLINE_BYTES = 4096


class Seat(NamedTuple):
    """The number of one of the worker's slots, its end of the socket pair, and its slate."""

    number: int
    pair: socket.socket
    slate: Slate

    @classmethod
    def take(cls, number: int, pair: int, slate: int) -> Seat:
        """The seat that these descriptors are for."""
        end = socket.socket(fileno=pair)
        end.set_inheritable(False)
        noted = Slate(slate)
        noted.given()
        return cls(number, end, noted)


class Slot:
    """One slot.

    Args:
        seat: which one it is, and what it has of its worker.
        folder: the worker's folder for what is too big for a packet.
        store: the id of the worker's store, named in refs.
        memory_max: a process that has grown beyond it makes room for another between two tasks,
            in bytes of resident memory; 0: never.
        capture: what catches the output of its tasks.
        surroundings: where they run.
        imports: the modules that come with them.
        initializers: what runs before them.
    """

    def __init__(
        self,
        seat: Seat,
        *,
        folder: Path,
        store: bytes,
        memory_max: int,
        capture: Catch,
        surroundings: Surroundings | Turn,
        imports: Imports,
        initializers: Initializers,
    ) -> None:
        self.pid = os.getpid()
        self.number, self.pair, self._slate = seat
        self.folder = folder
        self.store = store
        self.name = spool.name(self.pid, self.number)
        self._memory_max = memory_max
        self.host = socket.gethostname()
        self.capture = capture
        self._surroundings = surroundings
        self._task = ("", 0)  # what runs
        self._context = context.PLAIN  # what it is told
        self._first = 0  # the counter of the first task of its packet
        self._lease, self._began = 0, 0.0
        self._running: Running | None = None  # the same for its own code, once that has asked
        self._inline_bytes = 0  # a larger result of it stays with the worker
        self._parcels: dict[int, Parcel] = {}
        self._parcel = Parcel(b"")  # of what runs
        self._imports, self._initializers = imports, initializers
        self._files = InputFiles()
        self._functions: dict[int, Callable[..., Any]] = {}

    def serve(self) -> NoReturn:
        """Serve until the worker is gone, and end with it."""
        try:
            self.run()
        except ConnectionError:
            pass  # the worker is gone
        except BaseException as error:  # the task closed our descriptors, or it is our own bug
            self.capture.say(f"gives up: {error!r}")
            os._exit(1)
        os._exit(0)  # no user's atexit or lingering thread may keep a slot alive

    def run(self) -> None:
        """Run what comes, until the worker is gone, or another process is to have this place."""
        self.pair.send(packets.pack_ready(self.pid))
        receive, send = self.pair.recv, self.pair.send
        while packet := receive(packets.PACKET_BYTES_MAX * 2):
            if packet[0] == packets.FUNCTION:
                number, by_path, code = packets.parse_function(packet)
                self._know(number, spool.take(bytes(code).decode()) if by_path else code)
                continue
            head, tasks = packets.parse_tasks(packet)
            number, self._inline_bytes = head.number, head.inline_bytes
            if number not in self._parcels:  # it was taken back while this was read
                self._hand_back(number, tasks)
                continue
            self._context = context.parse(head.context)
            self._parcel = self._parcels[number]
            why = self._initializers.why_not(self._parcel.initializer, self._context)
            why = why or self.admit(self._parcel, packet)
            if why is not None:
                self.capture.say(f"makes room for another process: {why}")
                leaves = self.make_room()
                self._hand_back(number, tasks)
                if leaves:
                    return
                continue
            session, counter = unkey(head.first)
            self._first = counter
            answers: list[bytes] = []
            size = 0
            begun = time.perf_counter()
            for lease, how, arguments in tasks:
                if self._slate.is_late:  # the worker stands still: others may have been given them
                    if answers:
                        send(packets.pack_outcomes(answers))
                        answers.clear()
                    self._hand_back(number, [(lease, how, arguments), *tasks])
                    break
                if how & packets.BY_PATH:
                    arguments = spool.take(bytes(arguments).decode())
                self._task = (session, counter)
                counter += 1
                answer = self.run_task(number, lease, arguments, how)
                answers.append(answer)
                size += len(answer)
                if size > FLUSH_BYTES or time.perf_counter() - begun > FLUSH_S:
                    send(packets.pack_outcomes(answers))
                    answers.clear()
                    size = 0
            if answers:
                send(packets.pack_outcomes(answers))
            if self._memory_max and resident_bytes() > self._memory_max and self.make_room():
                return  # what lies unread in the socket the worker takes back
            self.rest()
            if self._initializers.should_leave(self.pair) and self.make_room():
                return

    def _hand_back(self, number: int, tasks: Iterable[tuple[int, int, Any]]) -> None:
        """These were not begun: the worker has them again."""
        leases = []
        for lease, how, arguments in tasks:
            leases.append(lease)
            if how & packets.BY_PATH:
                Path(bytes(arguments).decode()).unlink(missing_ok=True)
        self.pair.send(packets.pack_unbegun(number, leases))

    def admit(self, parcel: Parcel, packet: bytes) -> str | None:
        """Make ready for the tasks of a packet; why they cannot run in this process, or None."""
        return self._imports.take(parcel.sources)

    def make_room(self) -> bool:
        """Another process is to take the place of this one; whether it ends at once."""
        return True

    def rest(self) -> None:
        """Between two packets."""

    def _know(self, number: int, code: Any) -> None:
        """A function has come."""
        try:
            self._parcels[number] = parcel.parse(code)
        except PayloadError:
            self._parcels[number] = Parcel(code)  # whoever calls it is told

    def run_task(self, number: int, lease: int, arguments: Any, how: int) -> bytes:
        """One task's life here, in its surroundings."""
        begun = time.time()
        self._began = start = time.perf_counter()
        self._lease = lease
        self._slate.write(lease, begun, self.capture.begin)
        try:
            self._surroundings.enter(self._context.env, self._context.cwd, self._parcel.home)
            return self._in_place(number, lease, arguments, how, begun, start)
        except OSError as error:  # of `enter`
            return self._answer(lease, Kind.ERROR, begun, start, failing.of_user(error))
        finally:
            self._surroundings.leave()
            self._imports.look()
            self._lease = 0
            if self._running is not None:
                self._running.end()
                self._running = None

    def _in_place(
        self, number: int, lease: int, arguments: Any, how: int, begun: float, start: float
    ) -> bytes:
        """Decode, call, encode, answer."""
        function = self._functions.get(number)
        if function is None and self._parcel.initializer is not None:
            failed = self._initializers.run(self._parcel.initializer, self)
            self._end_fork()
            if failed is not None:
                return self._answer(lease, Kind.ERROR, begun, start, failing.of_user(failed))
        try:
            if function is None:
                function = self._functions[number] = self.load(self._parcel)
            args, kwargs = self._decode(arguments, how)
        except InputAstray as error:
            failure = Failure("ResultLost", str(error), "", self.host, self.pid)
            answer = [outcome.pack_failure(failure, error.name)]
            return self._answer(lease, Kind.ASTRAY, begun, start, answer)
        except BaseException as error:
            return self._answer(lease, Kind.REFUSED, begun, start, failing.of_loading(error))
        try:
            value = self.call(function, args, kwargs)
        except BaseException as error:
            self._end_fork()
            return self._answer(lease, Kind.ERROR, begun, start, failing.of_user(error))
        self._end_fork()
        del args, kwargs
        try:
            parts = payload.dump(value)
        except BaseException as error:
            parts = failing.of_result(value, error)
            return self._answer(lease, Kind.REFUSED, begun, start, parts)
        return self._answer(lease, Kind.VALUE, begun, start, parts)

    def call(self, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """What a task's function returns; of an ``async def`` at its end, on a loop of its own."""
        value = function(*args, **kwargs)
        if type(value) is not CoroutineType:
            return value
        import asyncio  # only who needs it waits for that

        return asyncio.run(value)

    def running(self) -> Running | None:
        """What runs here, for its own code."""
        if self._running is None and self._lease:
            (session, counter), told, lease = self._task, self._context, self._lease
            self._running = Running(
                task=show(session, counter),
                lease=lease,
                attempt=told.attempts.get(lease, 1),
                group=None if told.group is None else show(session, told.group),
                index=told.member + counter - self._first,
                slot=self.number,
                time_limit=told.limit_s,
                begun=self._began,
                room=spool.scratch(self.folder, self.name),
            )
        return self._running

    def _end_fork(self) -> None:
        """A task may fork, and both return from it: the slot is the one that was there before."""
        if os.getpid() != self.pid:
            os._exit(0)

    def is_struck(self) -> bool:
        """Whether what runs here is to end."""
        return False

    def world(self) -> Run | None:
        """What the code belongs to that comes with what runs here."""
        initializer = self._parcel.initializer
        return None if initializer is None else self._initializers.world(initializer)

    def _decode(self, arguments: Any, how: int) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if arguments == payload.NO_ARGUMENTS:
            return (), {}
        if not how & packets.WITH_INPUTS:
            args, kwargs = payload.load(arguments)
            return args, kwargs
        given, arguments = packets.parse_bundle(arguments)
        if arguments == payload.LAST_INPUT:
            arguments = given.pop()
        values = [self._value_of(each) for each in given]
        if inputs.are_in_order(arguments, len(values)):
            return tuple(values), {}
        with inputs.Given(values):
            args, kwargs = self._value_of(arguments)
        return args, kwargs

    def load(self, parcel: Parcel) -> Callable[..., Any]:
        """The function in a parcel."""
        return functions.load(parcel.call)

    def _value_of(self, given: Any) -> Any:
        """The value of an input."""
        if isinstance(given, packets.File):
            given = self._files.whole(given)
        return payload.load(given)

    def _answer(
        self, lease: int, kind: Kind, begun: float, start: float, parts: list[Any]
    ) -> bytes:
        took_s = time.perf_counter() - start
        log = self.capture.take()
        flags = 0
        stored = False
        if len(log) > LOG_INLINE_BYTES:
            try:
                log = self._store(lease, outcome.LOG, [log])
                flags, stored = outcome.LOG_STORED, True
            except OSError:  # no room for all of it
                log = log[-LOG_INLINE_BYTES:]
        rest = parts[0] if len(parts) == 1 else None
        if rest is None or len(rest) > self._inline_bytes:
            if kind is Kind.VALUE:
                try:
                    rest = self._store_in_time(lease, parts)
                    kind, stored = Kind.STORED, True
                except OSError as error:
                    kind, rest = Kind.REFUSED, self._no_room(error)
            else:
                rest = payload.join(parts)  # a failure: it has been made to fit
        body = outcome.body(begun, took_s, log, rest, flags)
        return packets.pack_outcome(lease, kind, stored, took_s, body)

    def _store_in_time(self, lease: int, parts: list[Any]) -> bytes:
        """Store a result; where there is no room, as soon as there is.

        Raises:
            OSError: there was none for ROOM_S.
        """
        until = time.monotonic() + ROOM_S
        said = False
        while True:
            try:
                return self._store(lease, outcome.RESULT, parts)
            except OSError as error:
                if error.errno not in DISK_FULL or time.monotonic() > until:
                    raise
            if not said:
                said = True
                self.pair.send(packets.pack_stuck(f"no room in {self.folder} for a result"))
            time.sleep(ROOM_EVERY_S)

    def _store(self, lease: int, index: int, parts: list[Any]) -> bytes:
        """Leave `parts` where the worker will find them; the ref to them."""
        task = key(*self._task)
        size, crc = spool.write(spool.path(self.folder, task, lease, index), parts)
        return outcome.REF.pack(task, lease, index, size, crc, self.store)

    def _no_room(self, error: OSError) -> bytes:
        text = f"the result cannot be kept on {self.host}: {error.strerror} ({self.folder})"
        return outcome.pack_failure(Failure("StoreError", text, "", self.host, self.pid))


class Alone(Slot):
    """A slot that has a process to itself: a signal interrupts it, and that is the last that the
    process is told."""

    def __init__(self, *args: Any, folder: Path, **about: Any) -> None:
        capture = Capture(spool.output(folder, spool.name(os.getpid(), args[0].number)))
        try:
            surroundings = Surroundings(spool.shelter(folder, os.getpid()), capture.say)
            self._signals = Signals(folder, self._interrupt)
        except BaseException as error:  # from here on nobody reads what is printed
            capture.say(f"cannot start: {error!r}")
            raise
        super().__init__(*args, folder=folder, capture=capture, surroundings=surroundings, **about)

    def _interrupt(self) -> None:
        raise KeyboardInterrupt

    def rest(self) -> None:
        """The worker is about to end this process, if it has interrupted what ran."""
        while self._signals.interrupted:
            signal.pause()


def main() -> None:
    """``python -c … PAIRS SLATES FOLDER STORE PARENT MEMORY NUMBER DESCRIPTORS``: serve on PAIRS,
    as the slots from NUMBER on, each in a thread of its own if there are several."""
    pairs, slates, folder, store, parent, memory_max, first, limit = sys.argv[1:9]
    descriptors.put_back(int(limit))
    die_with_parent(int(parent))
    be_killed_first()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    ends = zip(pairs.split(","), slates.split(","))
    seats = [Seat.take(int(first) + nth, *map(int, each)) for nth, each in enumerate(ends)]
    about: dict[str, Any] = {
        "folder": Path(folder),
        "store": store.encode(),
        "memory_max": int(memory_max),
    }
    sys.argv = [""]
    if len(seats) == 1:
        slot = Alone(seats[0], imports=Imports(), initializers=Initializers(), **about)
        running.ask, namespaces.ask = slot.running, slot.world
        take_paths()
        slot.serve()
    from .lanes import serve  # only a process that has any needs it

    serve(seats, take_paths, **about)


def take_paths() -> None:
    """Tasks import as the script does that owns the mesh; we have what we need by now."""
    paths = os.environ.pop(PATH_VARIABLE, "").splitlines()
    sys.path[:] = [*paths, *(each for each in sys.path if each not in paths)]
