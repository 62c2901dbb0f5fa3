"""A router's core alone: its peers are names, and what it answers is looked at."""

from __future__ import annotations

from typing import Any

from fakes.router import BIRTH

from mesh.core.events import Committed, Heard, Settings, Tick
from mesh.core.restored import Restored
from mesh.core.router import RouterCore
from mesh.protocol import messages as m
from mesh.protocol.link import Envelope

C1, W1, W2, W3 = "cccccccc", "wwwwwwww", "vvvvvvvv", "uuuuuuuu"
F = b"f" * 16


class LoneRouter:
    """See the module. The other end of each link is kept here."""

    def __init__(self, **settings: float) -> None:
        self.now = 1000.0
        self.core = RouterCore(Restored("mesh", BIRTH, 1), Settings(**settings), self.now)
        self.numbers: dict[str, list[int]] = {}
        self.writes: list[Any] = []
        self.lookups: list[Any] = []
        self.ticket = 0

    def hello(self, name: str, *, session: int = 1, id: str | None = None, **fields: Any) -> list:
        role = "worker" if name in (W1, W2, W3) else "client"
        about = {"slots": 2, "window": 2} if role == "worker" else {}
        versions = {"version_min": m.VERSION_MIN, "version_max": m.VERSION_MAX}
        values = {"incarnation": b"1", "held": []} | versions | fields
        hello = m.Hello(
            values.get("role", role),
            values.get("who", name),
            values["incarnation"],
            values["version_min"],
            values["version_max"],
            values.get("about", about),
            values["held"],
        )
        self.numbers[id or name] = [session, 0]
        answer = self.heard(id or name, Envelope(session, 0, 0, hello))
        if role == "worker":  # it is given nothing before the roster has it
            answer += self.do(Committed(self.ticket))
        return answer

    def say(self, name: str, message: m.Message, ack: int = 0) -> list:
        numbers = self.numbers[name]
        numbers[1] += message.SEQUENCED
        return self.heard(name, Envelope(numbers[0], numbers[1], ack, message))

    def heard(self, name: str, envelope: Envelope) -> list:
        return self.do(Heard(name.encode(), envelope))

    def do(self, event: Any) -> list:
        """The messages with which the core answers an event, as (name, message)."""
        self.core.handle(event, self.now)
        return self.settle()

    def settle(self) -> list:
        turn = self.core.settle(self.now)
        self.core.check()
        self.writes += turn.writes
        self.lookups += turn.lookups
        self.ticket = turn.ticket or self.ticket
        self.sent = turn.sends
        return [(id.decode(), envelope.message) for id, envelope in turn.sends]

    def submit(self, name: str, first: int, count: int = 1, **options: Any) -> list:
        self.say(name, m.Function(F, "sim:f", b"code", b"V"))
        row = [first, F, options, None, 0, [b"x"] * count, None, None, None]
        return self.say(name, m.Submit([row]))

    def tick(self, seconds: float) -> list:
        self.now += seconds
        return self.do(Tick())
