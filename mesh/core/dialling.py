"""Dialling: workers try whether they reach who asks for that: a doctor, on a host where a worker is
to be. What it would serve is fetched by such connections.

One worker of each host tries, for what lies between two hosts is the same for all that they run.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..protocol import messages as m
from ..protocol.shape import is_text, is_texts
from .member import Member

if TYPE_CHECKING:
    from .router import RouterCore

#: If so many hosts reach it, others like them do.
HOSTS_MAX = 32

#: A host has some addresses; each costs every worker that is asked a connection.
ADDRESSES_MAX = 8

#: A host by number or name, a port, and a key (ZeroMQ RFC 32): nothing else is dialled.
_ADDRESS = re.compile(r"tcp://[0-9A-Za-z._:%\[\]-]{1,255}:\d{1,5}#\S{40}")

#: Who asks more than this at once is no doctor: each question costs every worker a thread.
QUESTIONS_MAX = 8

#: A worker gives up after four seconds (transport/probe.py); its answer has its time, too.
ANSWER_S = 6.0


@dataclass
class _Question:
    """Who wants to know, until when, and what was said by now: by worker, its host and what came of
    each address, or None."""

    tell: Callable[[float, Any], None]
    until: float
    open: int
    said: dict[str, list[Any]] = field(default_factory=dict)


class Dialling:
    """For `core`."""

    def __init__(self, core: RouterCore) -> None:
        self._core = core
        self._questions: dict[int, _Question] = {}
        self._last = 0

    def ask(self, about: dict[str, Any], tell: Callable[[float, Any], None], now: float) -> None:
        """Have workers try `addresses` with the key pair of `public` and `secret`. `tell(now, …)`
        is called when all have answered, or had their time."""
        addresses, public, secret = about["addresses"], about["public"], about["secret"]
        if not (is_texts(addresses) and is_text(public) and is_text(secret)):
            raise ValueError(f"no addresses with a key pair: {addresses!r}")
        for address in addresses:
            if not _ADDRESS.fullmatch(address):
                raise ValueError(f"{address[:300]!r} is no address of TCP with a key")
        if len(addresses) > ADDRESSES_MAX or len(self._questions) >= QUESTIONS_MAX:
            raise ValueError(f"{ADDRESSES_MAX} addresses and {QUESTIONS_MAX} questions at a time")
        by_host: dict[str, Member] = {}
        for worker in self._core.fleet:
            if worker.peer is not None and len(by_host) < HOSTS_MAX:
                by_host.setdefault(str(worker.about.get("host")), worker)
        self._last += 1
        asked = self._questions[self._last] = _Question(tell, now + ANSWER_S, len(by_host))
        for host, worker in by_host.items():
            asked.said[worker.who] = [host, None]
            assert worker.peer is not None
            self._core.peers.send(worker.peer, m.Dial(self._last, addresses, public, secret), now)
        self.tick(now)

    def take(self, worker: Member, message: m.Dialled, now: float) -> None:
        """A worker has tried."""
        asked = self._questions.get(message.token)
        if asked is not None and worker.who in asked.said and asked.said[worker.who][1] is None:
            asked.said[worker.who][1] = message.came
            asked.open -= 1
            self.tick(now)

    @property
    def deadline(self) -> float:
        """When `tick` is due at the latest."""
        return min((asked.until for asked in self._questions.values()), default=math.inf)

    def tick(self, now: float) -> None:
        """Answer what all have said something to, or had their time for."""
        for number, asked in list(self._questions.items()):
            if not asked.open or now >= asked.until:
                del self._questions[number]
                asked.tell(now, asked.said)
