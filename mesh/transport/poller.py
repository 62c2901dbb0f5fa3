"""Poller: waits for sockets of ZeroMQ and plain descriptors at once, quickly.

A ZeroMQ socket's descriptor is edge-triggered: it says "look", once, and any send or receive on
the socket may swallow that. So a socket that is sent on must be asked for its events before this
process sleeps. Asking costs two system calls, so sockets that are drained whenever they are
readable, and sent on only then, are not asked (`quiet`). zmq_poll asks all of them, twice; a round
trip passes a poller six times.
"""

from __future__ import annotations

import os
import select
import time
from typing import Any, Protocol

import zmq

#: As plain numbers: pyzmq's are enumerations, whose arithmetic costs more than what they control.
_EVENTS, _POLLIN = int(zmq.EVENTS), int(zmq.POLLIN)

#: Who gives up its CPU for so long has given it to somebody: there is more to do than CPUs for it.
CROWDED_S = 0.000_1

#: What a process gives up its CPU with, where there is such a thing.
_yield_cpu = getattr(os, "sched_yield", lambda: None)


def has_input(socket: zmq.Socket[Any]) -> bool:
    """Whether a receive would give something now."""
    return bool(socket.get(_EVENTS) & _POLLIN)  # type: ignore[operator]


class HasFileno(Protocol):
    """A plain source."""

    def fileno(self) -> int:
        """Its descriptor."""


class Poller:
    """Waits for any of `sources`, and of what is added, to be readable."""

    def __init__(self, *sources: HasFileno | int) -> None:
        self._poll = select.poll()
        self._talking: list[zmq.Socket[Any]] = []
        self._new: list[zmq.Socket[Any]] = []  # what came before they were added is asked for once
        self._by_fd: dict[int, Any] = {}
        for source in sources:
            self.add(source)

    def add(self, source: zmq.Socket[Any] | HasFileno | int, *, quiet: bool = False) -> None:
        """Watch a ZeroMQ socket, something with a descriptor, or a descriptor.

        A `quiet` socket is one whose user receives until it is empty, after its last send.
        """
        if isinstance(source, zmq.Socket):
            descriptor = int(source.getsockopt(zmq.FD))
            (self._new if quiet else self._talking).append(source)
        else:
            descriptor = source if isinstance(source, int) else source.fileno()
        self._by_fd[descriptor] = source
        self._poll.register(descriptor, select.POLLIN)

    def remove(self, source: zmq.Socket[Any] | int) -> None:
        """Watch a ZeroMQ socket, which is still open, or a plain descriptor no more."""
        if isinstance(source, zmq.Socket):
            for each in (self._talking, self._new):
                if source in each:
                    each.remove(source)
            source = int(source.getsockopt(zmq.FD))
        self._poll.unregister(source)
        del self._by_fd[source]

    def wait(self, timeout_s: float, spin_s: float = 0.0) -> set[Any]:
        """The sources that may be readable, within `timeout_s`; perhaps none.

        `spin_s`: look so long before sleeping. It saves the time of waking up, and costs CPU that
        nobody else wants: whoever waits for this one goes first.
        """
        asked = self._talking
        if self._new:
            asked, self._new = asked + self._new, []
        ready: set[Any] = {s for s in asked if has_input(s)}
        timeout_ms = 0 if ready else max(0, int(timeout_s * 1000 + 0.999))
        woken: list[tuple[int, int]] = []
        if spin_s and timeout_ms:
            now = time.monotonic()
            until = now + spin_s
            while not woken and now < until:
                _yield_cpu()
                woken = self._poll.poll(0)
                before, now = now, time.monotonic()
                if now - before > CROWDED_S:
                    break
        if not woken:
            woken = self._poll.poll(timeout_ms)
        ready.update(self._by_fd[descriptor] for descriptor, _ in woken)
        return ready
