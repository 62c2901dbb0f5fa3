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
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import DISK_FULL, Failure
from ..protocol import functions, inputs, outcome, packets, payload
from ..store import content
from ..task import Kind, key, unkey
from . import LEAVING_FILE, PATH_VARIABLE, spool
from .capture import Capture

#: Outcomes of one packet's tasks go back together, unless these took longer than is thought of
#: tasks that travel in company, or their bodies are large.
FLUSH_S = 0.000_5
FLUSH_BYTES = 48 * 1024

#: A result waits so long for room on the disk, and looks so often: nobody tells when there is.
ROOM_S = 300.0
ROOM_EVERY_S = 1.0

#: So many inputs are remembered as having been whole; then all are looked at anew.
SEEN_MAX = 10_000

#: Of a log, this much travels with the outcome; more of it stays with the worker.
LOG_INLINE_BYTES = 4096

#: A worker that was told to leave as well has said so after this long: by a file, which is looked
#: for so often. In a handler of a signal nothing else can be waited for.
LEAVING_S = 1.0
LEAVING_EVERY_S = 0.02


class InputAstray(Exception):
    """An input of a task cannot be had here, though it was. `name` is that of its file: a stored
    key."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"its input {path} {why}")
        self.name = bytes.fromhex(Path(path).name)


class Slot:
    """One slot.

    Args:
        pair: the slot's end of the socket pair.
        folder: the worker's folder for what is too big for a packet.
        store: the id of the worker's store, named in refs.
        memory_max: a process that has grown beyond it makes room for another between two tasks,
            in bytes of resident memory; 0: never.
    """

    def __init__(
        self, pair: socket.socket, folder: Path, store: bytes, memory_max: int = 0
    ) -> None:
        self.pid = os.getpid()
        self.pair = pair
        self.folder = folder
        self.store = store
        self._memory_max = memory_max
        self.host = socket.gethostname()
        self.capture = Capture(folder / f"slot-{self.pid}.out")
        self._task = ("", 0)  # what runs
        self._inline_bytes = 0  # a larger result of it stays with the worker
        self._interrupted = False
        signal.signal(signal.SIGINT, self._interrupt)
        signal.signal(signal.SIGTERM, self._terminate)
        self._mask: set[int] = set()
        os.register_at_fork(
            before=self._before_fork,
            after_in_parent=self._unmask,
            after_in_child=self._after_fork,
        )
        self._packed: dict[int, Any] = {}
        self._seen: set[str] = set()  # inputs that were whole
        self._functions: dict[int, Callable[..., Any]] = {}

    def run(self) -> None:
        """Serve until the worker is gone."""
        self.pair.send(packets.pack_ready(self.pid))
        receive, send = self.pair.recv, self.pair.send
        while packet := receive(packets.PACKET_BYTES_MAX * 2):
            if packet[0] == packets.FUNCTION:
                number, by_path, code = packets.parse_function(packet)
                self._packed[number] = spool.take(bytes(code).decode()) if by_path else code
                continue
            number, self._inline_bytes, first, tasks = packets.parse_tasks(packet)
            if number not in self._packed:  # it was taken back while this was read
                send(packets.pack_unknown(number, [lease for lease, _, _ in tasks]))
                continue
            session, counter = unkey(first)
            answers: list[bytes] = []
            size = 0
            begun = time.perf_counter()
            for lease, how, arguments in tasks:
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
            if self._memory_max and resident_bytes() > self._memory_max:
                return  # what lies unread in the socket the worker takes back
            while self._interrupted:
                signal.pause()  # the worker is about to end this process

    def run_task(self, number: int, lease: int, arguments: Any, how: int) -> bytes:
        """One task's life here: decode, call, encode, answer."""
        begun = time.time()
        start = time.perf_counter()
        try:
            function, args, kwargs = self._decode(number, arguments, how)
        except InputAstray as error:
            failure = Failure("ResultLost", str(error), "", self.host, self.pid)
            answer = [outcome.pack_failure(failure, error.name)]
            return self._answer(lease, Kind.ASTRAY, begun, start, answer)
        except BaseException as error:
            return self._answer(lease, Kind.REFUSED, begun, start, _refusal(error))
        try:
            value = function(*args, **kwargs)
        except BaseException as error:
            self._end_fork()
            return self._answer(lease, Kind.ERROR, begun, start, self._failure(error))
        self._end_fork()
        del args, kwargs
        try:
            parts = payload.dump(value)
        except BaseException as error:
            kind = type(value).__qualname__
            text = f"the result ({kind}) cannot be pickled: {error}; return plain data instead"
            failure = Failure("PayloadError", text, "", self.host, os.getpid())
            return self._answer(lease, Kind.REFUSED, begun, start, [outcome.pack_failure(failure)])
        return self._answer(lease, Kind.VALUE, begun, start, parts)

    def _interrupt(self, number: int, frame: object) -> None:
        """The worker ends what runs: a chance to clean up."""
        self._interrupted = True
        raise KeyboardInterrupt

    def _terminate(self, number: int, frame: object) -> None:
        """SIGTERM. A manager tells every process of a job, the worker too: what becomes of what
        runs is its business then, and it says so. Any other means this process."""
        until = time.monotonic() + (0 if self._interrupted else LEAVING_S)
        while time.monotonic() < until:
            if (self.folder / LEAVING_FILE).exists():
                return
            time.sleep(LEAVING_EVERY_S)
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    # What a task forks dies of SIGTERM as others do, whenever it comes.

    def _before_fork(self) -> None:
        self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])

    def _unmask(self) -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)

    def _after_fork(self) -> None:
        if signal.getsignal(signal.SIGTERM) == self._terminate:  # else it is the task's own
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        self._unmask()

    def _end_fork(self) -> None:
        """A task may fork, and both return from it: the slot is the one that was there before."""
        if os.getpid() != self.pid:
            os._exit(0)

    def _decode(
        self, number: int, arguments: Any, how: int
    ) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]:
        function = self._functions.get(number)
        if function is None:
            function = self._functions[number] = functions.load(self._packed[number])
        if arguments == payload.NO_ARGUMENTS:
            return function, (), {}
        if not how & packets.WITH_INPUTS:
            args, kwargs = payload.load(arguments)
            return function, args, kwargs
        given, arguments = packets.parse_bundle(arguments)
        if arguments == payload.LAST_INPUT:
            arguments = given.pop()
        with inputs.Given(lambda number: self._value_of(given[number])):
            args, kwargs = self._value_of(arguments)
        return function, args, kwargs

    def _value_of(self, given: Any) -> Any:
        """The value of an input."""
        if isinstance(given, packets.File):
            given = self._whole(given)
        return payload.load(given)

    def _whole(self, file: packets.File) -> memoryview:
        """The content of a file, whose checksum is looked at when it is first taken here, unless
        the worker just has.

        Raises:
            InputAstray: it is not what it should be.
        """
        try:
            view = content.mapped(file.path)
        except (OSError, ValueError) as error:
            raise InputAstray(file.path, f"cannot be read: {error}") from None
        if len(view) != file.size:
            raise InputAstray(file.path, f"has {len(view)} bytes instead of {file.size}")
        if file.path not in self._seen:
            if zlib.crc32(view) != file.crc:
                raise InputAstray(file.path, "is damaged: its checksum differs")
            if len(self._seen) >= SEEN_MAX:
                self._seen.clear()
            self._seen.add(file.path)
        return view

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

    def _failure(self, error: BaseException) -> list[Any]:
        import traceback  # only failures need it

        kind, *bases = (f"{each.__module__}.{each.__qualname__}" for each in type(error).__mro__)
        trace = error.__traceback__
        while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
            trace = trace.tb_next  # our frames are not the user's concern
        lines = traceback.format_exception(type(error), error, trace)
        text = "".join(lines)
        failure = Failure(kind, _message(error), text, self.host, os.getpid(), bases)
        try:
            exception = payload.join(payload.dump(error.with_traceback(None)))
            payload.load(exception)  # some pickle and do not unpickle: tell here, not there
        except BaseException:
            exception = b""  # it arrives as TaskFailed, with everything in its text
        if len(exception) > packets.PAYLOAD_BYTES_MAX // 2:
            exception = b""
        return [outcome.pack_failure(failure, exception)]


def _message(error: BaseException) -> str:
    try:
        return str(error)[: packets.PAYLOAD_BYTES_MAX // 4]
    except BaseException as broken:  # a user's __str__ may do anything
        return f"(its message cannot be had: {type(broken).__name__})"


def _refusal(error: BaseException) -> list[Any]:
    """The function or the arguments do not decode in this process."""
    text = "the function or its arguments cannot be loaded on the worker: "
    text += f"{type(error).__name__}: {_message(error)}"
    if isinstance(error, ImportError):
        text += "; install the module there, or define the function in the script itself"
    failure = Failure("PayloadError", text, "", socket.gethostname(), os.getpid())
    return [outcome.pack_failure(failure)]


def main() -> None:
    """``python -c … FD FOLDER STORE PARENT MEMORY``: serve on descriptor FD."""
    descriptor, folder, store, parent, memory_max = sys.argv[1:6]
    die_with_parent(int(parent))
    be_killed_first()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    pair = socket.socket(fileno=int(descriptor))
    pair.set_inheritable(False)
    slot = Slot(pair, Path(folder), store.encode(), int(memory_max))
    sys.argv = [""]
    take_paths()
    try:
        slot.run()
    except ConnectionError:
        pass  # the worker is gone
    except BaseException as error:  # the task closed our descriptors, or it is our own bug
        os.write(slot.capture.log, f"gives up: {error!r}\n".encode())
        os._exit(1)
    os._exit(0)  # no user's atexit or lingering thread may keep a slot alive


def resident_bytes() -> int:
    """The memory of this process that is in RAM now; its peak where that is not told."""
    try:
        with open("/proc/self/statm") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def take_paths() -> None:
    """Tasks import as the script does that owns the mesh; we have what we need by now."""
    paths = os.environ.pop(PATH_VARIABLE, "").splitlines()
    sys.path[:] = [*paths, *(each for each in sys.path if each not in paths)]


def be_killed_first() -> None:
    """On Linux: when the machine runs out of memory, the kernel's killer takes what runs tasks,
    and neither the worker, who says so, nor the router."""
    try:
        Path("/proc/self/oom_score_adj").write_text("500")
    except OSError:
        pass  # not Linux, or a container that does not have it


def die_with_parent(parent: int) -> None:
    """On Linux the kernel ends this process with its parent, whatever it is doing."""
    if sys.platform != "linux":
        return
    import ctypes

    set_parent_death_signal = 1
    ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)  # it died before we asked
