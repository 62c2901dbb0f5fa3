"""A wire: a connection to the router, of two queues, that may be cut."""

from __future__ import annotations

from collections import deque

from mesh.protocol.codec import encode
from mesh.protocol.link import Envelope

Frames = list[bytes]


class Wire:
    """A dialler's connection to the router: two queues, and the id the router knows it by."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.number = 0
        self.up: deque[Frames] = deque()
        self.down: deque[Frames] = deque()
        self.open = False

    @property
    def id(self) -> bytes:
        """New with each connection."""
        return f"{self.name}/{self.number}".encode()

    def dial(self) -> None:
        """Connect anew."""
        self.number += 1
        self.open = True

    def cut(self) -> list[Frames]:
        """Break it: what was on its way down is lost, what was on its way up may come late."""
        late = list(self.up)
        self.up.clear()
        self.down.clear()
        self.open = False
        return late


def on_wire(envelope: Envelope) -> Frames:
    """An envelope as bytes that share nothing with its sender."""
    return [bytes(frame) for frame in encode(envelope)]


def name_of(id: bytes) -> str:
    """Whose connection a routing id is."""
    return id.decode().partition("/")[0]
