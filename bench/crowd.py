"""A crowd: many workers in one process, real towards their router, with slots that run nothing.

Each has a connection of its own and is the worker's core as it is; what is around a core is left
out: slots, store and data port. A task is done as soon as a slot would have begun it, or after the
time that it is given. So a few processes on one machine are a thousand hosts, as far as the router
can tell.

    python -m bench.crowd ACCESS COUNT SLOTS TASK_S

It prints a line when all of them have been welcomed, and ends when standard input does.
"""

from __future__ import annotations

import os
import sys
import time
from heapq import heappop, heappush
from itertools import count
from pathlib import Path

from mesh.core import events
from mesh.core.worker import WorkerCore
from mesh.protocol import payload
from mesh.protocol.codec import decode, encode
from mesh.protocol.outcome import body
from mesh.task import Kind, session_of
from mesh.transport import access, descriptors, sockets
from mesh.transport.poller import Poller
from mesh.transport.sockets import Dialer

#: What a connection opens: its own, its monitor's, and what wakes its owner for either.
DESCRIPTORS_EACH = 8

_RESULT = payload.join(payload.dump(None))


class Member:
    """One worker of the crowd, connected by `dialer`."""

    def __init__(self, dialer: Dialer, host: str, slots: int) -> None:
        self.dialer = dialer
        self.core = WorkerCore(session_of(os.urandom(8)), os.urandom(8), slots, host, None)
        self.core.about = {"host": host, "pid": os.getpid(), "python": sys.version.split()[0]}
        self.due = 0.0


class Crowd:
    """`size` workers of `slots` slots each, of which each takes `task_s` for a task."""

    def __init__(self, to: access.Access, size: int, slots: int, task_s: float) -> None:
        descriptors.reserve(size * DESCRIPTORS_EACH, f"a crowd of {size}")
        self._task_s = task_s
        self._context = sockets.context()
        self._poller = Poller()
        self._poller.add(0)
        self._members: list[Member] = []
        self._by_source: dict[object, Member] = {}
        self._timers: list[tuple[float, int, Member, events.SlotAnswered | None]] = []
        self._order = count()  # of timers that are due at once
        address = to.dialled()[-1]  # the paths come first: this is how a host elsewhere dials
        for nth in range(size):
            member = Member(Dialer(self._context, address, to.own), f"h{nth}", slots)
            self._members.append(member)
            for source in (member.dialer.socket, member.dialer.monitor):
                self._poller.add(source, quiet=source is member.dialer.monitor)
                self._by_source[source] = member
            self._settle(member, time.monotonic())

    @property
    def is_welcome(self) -> bool:
        """Whether all of them are."""
        return all(member.core.welcome is not None for member in self._members)

    def run(self) -> None:
        """Work until standard input ends."""
        is_told = False
        while True:
            now = time.monotonic()
            due = self._timers[0][0]
            ready = self._poller.wait(max(due - now, 0.0))
            now = time.monotonic()
            if 0 in ready and not os.read(0, 1):
                return
            for member in {self._by_source[source] for source in ready - {0}}:
                self._hear(member, now)
                self._settle(member, now)
            while self._timers[0][0] <= now:
                due, _, member, answer = heappop(self._timers)
                if answer is not None:
                    member.core.handle(answer, now)
                elif due == member.due:
                    member.core.handle(events.Tick(), now)
                else:
                    continue  # it had something to do meanwhile, and looks later
                self._settle(member, now)
            if not is_told and self.is_welcome:
                is_told = True
                print(f"{len(self._members)} workers have joined", flush=True)

    def _hear(self, member: Member, now: float) -> None:
        for change in member.dialer.changes():
            if change == "connected":
                member.core.handle(events.Connected(), now)
            elif change == "refused":
                sys.exit("the router does not let the crowd in")
        for frames in member.dialer.receive():
            member.core.handle(events.RouterHeard(decode(frames)), now)

    def _settle(self, member: Member, now: float) -> None:
        """Carry out what its core wants, until it wants nothing more."""
        busy = True
        while busy:
            turn = member.core.settle(now)
            for envelope in turn.sends:
                member.dialer.send(encode(envelope))
            for number in turn.starts:
                member.core.handle(events.SlotReady(number, 1), now)
            for number in turn.take_back:
                member.core.handle(events.TakenBack(number, []), now)
            for number, piece, low, high in turn.tasks:
                self._begin(member, number, range(piece.lease + low, piece.lease + high), now)
            busy = bool(turn.starts or turn.take_back or turn.tasks and not self._task_s)
        due = member.core.deadline(now)
        if due != member.due:
            member.due = due
            heappush(self._timers, (due, next(self._order), member, None))

    def _begin(self, member: Member, number: int, leases: range, now: float) -> None:
        """A slot has been given tasks: it is done with one after the other."""
        for nth, lease in enumerate(leases, 1):
            told = body(time.time(), self._task_s, b"", _RESULT)
            answer = events.SlotAnswered(number, [(lease, Kind.VALUE, told, self._task_s, False)])
            if self._task_s:
                due = now + nth * self._task_s
                heappush(self._timers, (due, next(self._order), member, answer))
            else:
                member.core.handle(answer, now)


def main() -> None:
    path, size, slots, task_s = sys.argv[1:]
    Crowd(access.read(Path(path)), int(size), int(slots), float(task_s)).run()
    os._exit(0)  # a thousand connections are closed sooner by the kernel


if __name__ == "__main__":
    main()
