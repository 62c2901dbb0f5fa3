"""News: the outcomes that one client is to hear, no more at a time than it reads.

What ended in a turn is sent at its end, body and all, while less than NEWS_WINDOW_BYTES are on
their way unacknowledged. Of what ends beyond that only the task is remembered, as a bit: it is
*owed*, and looked up in the store when the client has read on. So a client that does not read
costs the router a few bytes a task.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

#: Bodies in one OUTCOMES message.
NEWS_BYTES_MAX = 512 * 1024

#: On their way to one client, unacknowledged: what a client on a fast wire reads in milliseconds.
NEWS_WINDOW_BYTES = 4 * 1024 * 1024

#: What an outcome counts beside its body.
OUTCOME_BYTES = 32

#: Owed tasks that are looked up at a time.
PAGE_TASKS = 512

#: Tasks whose bits are one number.
_CHUNK = 256

#: Session, counters, kinds, bodies.
Run = tuple[str, list[int], bytes, list[Any]]


class News:
    """What one client is to hear.

    Attributes:
        asking: whether owed outcomes are being looked up.
        unsure: how many such answers are to be had again when the store has room.
        on_way_bytes: what was sent and is not acknowledged.
        heard_s: the router's age up to which the client has heard all there was to hear.
        asked_by_s: the router's age by which it has said what it waits for.
    """

    __slots__ = (
        "_fresh", "_heard", "_mark", "_on_way", "_owed", "asked_by_s", "asking", "heard_s",
        "on_way_bytes", "unsure",
    )  # fmt: skip

    def __init__(self) -> None:
        self._fresh: dict[str, tuple[list[int], bytearray, list[Any]]] = {}
        self._owed: dict[str, dict[int, int]] = {}
        self._on_way: deque[tuple[int, int]] = deque()  # sequence number, bytes
        self.on_way_bytes = 0
        self.asking = False
        self.unsure = 0
        self.heard_s = 0.0
        self.asked_by_s = 0.0
        self._heard = 0  # the last number acknowledged
        self._mark: tuple[int, float] | None = None  # when that number is: all until then is heard

    def add(self, session: str, counters: list[int], kinds: Any, bodies: list[Any]) -> None:
        """These have ended."""
        run = self._fresh.get(session)
        if run is None:
            run = self._fresh[session] = ([], bytearray(), [])
        run[0].extend(counters)
        run[1].extend(kinds)
        run[2].extend(bodies)

    def owe(self, session: str, counters: Iterable[int]) -> None:
        """Of these it is to hear later what the store knows."""
        chunks = self._owed.setdefault(session, {})
        for counter in counters:
            number, bit = divmod(counter, _CHUNK)
            chunks[number] = chunks.get(number, 0) | 1 << bit

    @property
    def is_behind(self) -> bool:
        """Whether anything is owed, being looked up, or not sure."""
        return bool(self._owed) or self.asking or self.unsure > 0

    @property
    def owes(self) -> bool:
        """Whether anything is owed, and there is room to tell some of it."""
        return bool(self._owed) and not self.asking and self.on_way_bytes < NEWS_WINDOW_BYTES // 2

    def take_owed(self) -> list[tuple[str, int, int]]:
        """Some of what is owed, as (session, first, count); it is not any more."""
        spans: list[tuple[str, int, int]] = []
        room = PAGE_TASKS
        while self._owed and room > 0:
            session, chunks = next(iter(self._owed.items()))
            number = next(iter(chunks))
            bits = chunks.pop(number)
            if not chunks:
                del self._owed[session]
            for bit in range(bits.bit_length()):
                if bits >> bit & 1:
                    counter = number * _CHUNK + bit
                    room -= 1
                    if spans and spans[-1][0] == session and sum(spans[-1][1:]) == counter:
                        spans[-1] = (session, spans[-1][1], spans[-1][2] + 1)
                    else:
                        spans.append((session, counter, 1))
        return spans

    def messages(self) -> Iterator[tuple[Run, int]]:
        """What is fresh, a message's worth at a time with its bytes; each is to be `sent` before
        the next is asked for. What there is no room for is owed from then on."""
        fresh, self._fresh = self._fresh, {}
        for session, (counters, kinds, bodies) in fresh.items():
            start = size = 0
            for nth, body in enumerate(bodies):
                size += len(body)
                if size > NEWS_BYTES_MAX:
                    if self._is_full:
                        break
                    cut = nth + 1
                    count = cut - start
                    yield (
                        (session, counters[start:cut], bytes(kinds[start:cut]), bodies[start:cut]),
                        size + count * OUTCOME_BYTES,
                    )
                    start, size = cut, 0
            if start == len(bodies):
                continue
            if self._is_full:
                self.owe(session, counters[start:])
                continue
            whole = (counters, kinds, bodies) if not start else None
            counters, kinds, bodies = whole or (counters[start:], kinds[start:], bodies[start:])
            yield (session, counters, bytes(kinds), bodies), size + len(bodies) * OUTCOME_BYTES

    @property
    def _is_full(self) -> bool:
        return self.on_way_bytes >= NEWS_WINDOW_BYTES

    def sent(self, sequence: int, size: int) -> None:
        """A message left under this number."""
        self._on_way.append((sequence, size))
        self.on_way_bytes += size

    def acknowledged(self, sequence: int) -> None:
        """The client has taken what was sent up to this number."""
        self._heard = sequence
        if self._mark is not None and sequence >= self._mark[0]:
            self.heard_s = self._mark[1]
            self._mark = None
        on_way = self._on_way
        while on_way and on_way[0][0] <= sequence:
            self.on_way_bytes -= on_way.popleft()[1]

    def mark(self, sequence: int, age_s: float) -> None:
        """All that ended until now is in what was sent up to this number, unless some is owed, or
        may be asked for yet."""
        if self._mark is None and not self.is_behind and age_s >= self.asked_by_s:
            self._mark = (sequence, age_s)
            self.acknowledged(self._heard)

    def heard_of_all(self, sequence: int, age_s: float) -> float:
        """`heard_s` of a client that leaves, having been sent up to this number."""
        unheard = self._heard < sequence or self._fresh or self.is_behind
        return self.heard_s if unheard or age_s < self.asked_by_s else age_s
