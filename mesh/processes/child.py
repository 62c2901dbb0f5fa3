"""Child: a slot as its worker holds it, with its process: started, spoken to, stopped, buried."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections import deque
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from ..core.backlog import Piece
from ..errors import DISK_FULL
from ..protocol import context, packets
from ..protocol import messages as m
from ..protocol.outcome import LOG, RESULT, parse_ref, stored_name
from ..task import Kind, key
from . import spawn, spool
from .complaints import Complaints
from .log import Log
from .slate import Slate

#: Who has not stopped by then is in a call that nothing interrupts (a file server that hangs, a
#: vfork): it gets no further either, and the worker has others to look after.
FREEZE_S = 0.1

#: A process stops within microseconds; it is waited for in steps of these.
LOOK_AGAIN_S = 0.000_1


_STORED = int(Kind.STORED)


class Child:
    """A slot, the pair to it, and its process, which may have several: what is done to the process
    is done by way of the `first` of them."""

    def __init__(
        self,
        number: int,
        process: subprocess.Popen[bytes],
        pair: socket.socket,
        theirs: socket.socket,
        incoming: Path,
        complaints: Complaints,
        slate: Slate,
        threads: int,
    ) -> None:
        self.number = number
        self.is_first = number % threads == 0
        self._threads = threads
        self.name = spool.name(process.pid, number)
        self.process = process
        self.pid = process.pid
        self.pair = pair  # the worker's end
        self.theirs = theirs  # a duplicate of the slot's end: what is in it was not read
        self._incoming = incoming  # for what is too big for a packet
        self.waiting: deque[bytes] = deque()
        self.numbers: dict[bytes, int] = {}  # functions, by the number the slot knows them by
        self.output = spool.output(incoming, self.name)
        self._complaints = complaints
        self.slate = slate

    @classmethod
    def start(
        cls,
        number: int,
        threads: int,
        folder: Path,
        store: str,
        slots: int,
        mark: str,
        memory_max: int,
        environment: dict[str, str],
    ) -> list[Child]:
        """Start process `number`, for as many slots as `threads`; `slots` share the CPUs; whatever
        it starts inherits `mark`. It makes room for another when it has grown beyond `memory_max`
        bytes, if not 0. `environment` is beside ours.

        Raises:
            OSError: there is no process or descriptor to be had.
        """
        with ExitStack() as undo:
            pairs: list[tuple[socket.socket, socket.socket]] = []
            slates: list[Slate] = []
            for _ in range(threads):
                pairs.append(socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET))
                undo.callback(pairs[-1][0].close)
                undo.callback(pairs[-1][1].close)
                slates.append(Slate())
                undo.callback(slates[-1].close)
                undo.callback(slates[-1].given)
            complaints = Complaints()
            undo.callback(complaints.close)
            undo.callback(complaints.started)
            process = spawn.slot(
                [theirs.fileno() for _, theirs in pairs],
                [slate.descriptor for slate in slates],
                folder,
                store,
                slots,
                complaints.write,
                mark,
                memory_max,
                number * threads,
                environment,
            )
            complaints.started()
            for slate in slates:
                slate.given()
            undo.pop_all()
        children = []
        for nth, ((ours, theirs), slate) in enumerate(zip(pairs, slates), number * threads):
            ours.setblocking(False)  # never theirs: the slot shares that description, and blocks
            children.append(cls(nth, process, ours, theirs, folder, complaints, slate, threads))
        return children

    def complain(self, log: Log, *, last: bool = False) -> None:
        """Log what it has said of itself: all of it, if that is the `last`."""
        for line in self._complaints.lines(last=last):
            self._log(log, f": {line}", "slot said")

    def stuck(self, packet: bytes, log: Log) -> str:
        """Log why its result waits, as `packet` says; the reason."""
        why = packets.parse_stuck(packet)
        self._log(log, f" waits: {why}", "no room")
        return why

    def _log(self, log: Log, text: str, event: str) -> None:
        about = {"slot": self.number, "slot_pid": self.pid}
        log(f"slot {self.number}, process {self.pid}{text}", event, **about)

    def send_function(self, function: m.Function) -> None:
        """Make a function known.

        Raises:
            OSError: there is no room for it on the disk; it was not sent.
        """
        code = function.payload
        number = self.numbers.setdefault(function.digest, len(self.numbers))
        by_path = len(code) > packets.PAYLOAD_BYTES_MAX
        if by_path:
            code = _spooled(spool.function(self._incoming, self.name, number), code)
        self._send(packets.pack_function(number, by_path, code))

    def send_tasks(
        self, piece: Piece, low: int, high: int, inline_bytes: int, env: dict[str, str]
    ) -> int:
        """Send tasks [low, high) of `piece`, which have `env` beside their own; up to which there
        was room on the disk."""
        number = self.numbers[piece.function]
        inline = min(inline_bytes, packets.PAYLOAD_BYTES_MAX)
        head = packets.Head(number, inline, b"", b"")
        tasks: list[tuple[int, int, Any]] = []
        size = 0
        for i in range(low, high):
            payload, how = piece.payloads[i], 0
            given = piece.inputs.get(piece.lease + i)
            if given is not None:
                inputs = given.bodies
                if _STORED in given.kinds:
                    both = zip(*given, strict=False)
                    inputs = [self._file(body) if kind == _STORED else body for kind, body in both]
                payload, how = packets.pack_bundle(inputs, payload), packets.WITH_INPUTS
            if len(payload) > packets.PAYLOAD_BYTES_MAX:
                file = spool.arguments(self._incoming, piece.lease + i)
                try:
                    payload, how = _spooled(file, payload), how | packets.BY_PATH
                except OSError as error:
                    if error.errno not in DISK_FULL:
                        raise
                    high = i
                    break
            if tasks and size + len(payload) > packets.PACKET_BYTES_MAX:
                self._send(packets.pack_tasks(head, tasks))
                tasks, size = [], 0
            if not tasks:
                first = key(piece.session, piece.first + i)
                head = packets.Head(number, inline, first, context.pack(piece.options, i, env))
            tasks.append((piece.lease + i, how, payload))
            size += len(payload) + 16
        if tasks:
            self._send(packets.pack_tasks(head, tasks))
        return high

    def _file(self, body: Any) -> packets.File:
        """A stored input as a slot takes it."""
        ref = parse_ref(body)
        file = self._incoming.parent / "content" / stored_name(ref.task, ref.lease, ref.number)
        return packets.File(ref.size, ref.crc, str(file))

    def _send(self, packet: bytes) -> None:
        """Send a packet, in order, as far as the pair takes it."""
        self.waiting.append(packet)
        self.flush()

    def take_back(self) -> tuple[list[int], list[bytes]]:
        """Take out what the slot has not read: the leases of the tasks, oldest first, and the
        digests of the functions that it does not know after all."""
        unread: list[bytes] = []
        while True:
            try:
                packet = self.theirs.recv(packets.PACKET_BYTES_MAX * 2, socket.MSG_DONTWAIT)
            except (BlockingIOError, ConnectionError):
                break
            if not packet:
                break
            unread.append(packet)
        unread += self.waiting
        self.waiting.clear()
        leases: list[int] = []
        digests: list[bytes] = []
        for packet in unread:
            for path in packets.paths_of(packet):  # written again when it is sent again
                os.unlink(path)
            if packet[0] == packets.FUNCTION:
                digests.append(self.digest_of(packets.parse_function(packet)[0]))
            else:
                leases += packets.leases_of(packet)
        return leases, digests

    def digest_of(self, number: int) -> bytes:
        """The function that the slot knows by `number`."""
        return next(digest for digest, each in self.numbers.items() if each == number)

    def flush(self) -> None:
        """Write what waits, as far as the pair takes it."""
        while self.waiting:
            try:
                self.pair.send(self.waiting[0], socket.MSG_DONTWAIT)
            except (BlockingIOError, ConnectionError):
                return  # full: an answer will make room; or dead: SIGCHLD is on its way
            self.waiting.popleft()

    def freeze(self) -> bool:
        """Stop the process where it is; whether it is still there."""
        how = os.WSTOPPED | os.WEXITED | os.WNOWAIT | os.WNOHANG
        deadline = time.monotonic() + FREEZE_S
        try:
            os.kill(self.pid, signal.SIGSTOP)
            while (state := os.waitid(os.P_PID, self.pid, how)) is None:
                if time.monotonic() > deadline:
                    return True
                time.sleep(LOOK_AGAIN_S)
        except (ProcessLookupError, ChildProcessError):
            return False
        return state.si_code == os.CLD_STOPPED

    def thaw(self) -> None:
        """Let it go on."""
        self.signal(signal.SIGCONT)

    def interrupt(self, lease: int) -> None:
        """Have what runs `lease`, in the process that is stopped, clean up and end. Alone there it
        is told so with all that it has started."""
        if self._threads == 1:
            self.signal(signal.SIGINT)
        else:
            self.slate.strike(lease)
            os.kill(self.pid, signal.SIGINT)

    def signal(self, number: int) -> None:
        """Signal it and whatever it has started. Until it is waited for the group is its own."""
        try:
            os.killpg(self.pid, number)
        except (ProcessLookupError, PermissionError):
            pass  # it was faster, and left nobody

    def is_dead(self) -> bool:
        """Whether it is dead; if so, what it had started is ended too, and it is waited for."""
        how = os.WEXITED | os.WNOHANG | os.WNOWAIT  # waited for last: then its pid is anybody's
        if os.waitid(os.P_PID, self.pid, how) is None:
            return False
        self.signal(signal.SIGKILL)
        self.process.wait()
        return True

    def drop(self, task: bytes, lease: int, what: list[int]) -> None:
        """Remove what it was about to hand over of a lease."""
        for each in what:
            spool.path(self._incoming, task, lease, each).unlink(missing_ok=True)

    def clear(self, line: dict[int, Piece]) -> None:
        """Remove the files of what it was to take, or was about to hand over: the leases in its
        line."""
        files = [self.output]
        files += [spool.function(self._incoming, self.name, each) for each in self.numbers.values()]
        for lease, piece in line.items():
            task = key(piece.session, piece.counter(lease))
            files.append(spool.arguments(self._incoming, lease))
            self.drop(task, lease, [RESULT, LOG])
        for file in files:
            file.unlink(missing_ok=True)
        shutil.rmtree(spool.scratch(self._incoming, self.name), ignore_errors=True)
        if self.is_first:
            shutil.rmtree(spool.shelter(self._incoming, self.pid), ignore_errors=True)

    def close(self) -> None:
        """Free the descriptors."""
        self.pair.close()
        self.theirs.close()
        self.slate.close()
        if self.is_first:
            self._complaints.close()


def _spooled(file: Path, payload: Any) -> bytes:
    """Leave `payload` in `file`; what a packet says instead of it."""
    spool.write(file, [payload])
    return str(file).encode()


def how_it_ended(code: int, *, by_us: bool) -> str:
    """A return code in words; with a hint, unless it was ended `by_us`."""
    if code < 0:
        known = -code in signal.Signals.__members__.values()  # real-time ones have no name
        name = signal.Signals(-code).name if known else f"signal {-code}"
        hint = " (out of memory?)" if -code == signal.SIGKILL and not by_us else ""
        return f"was killed by {name}{hint}"
    return f"exited with code {code}"
