"""Backlog: the tasks a worker has been given and no slot yet, in order.

Entries are spans of pieces, so that a thousand prefetched tasks cost one entry. Slots take from the
front; what a slot had not read comes back there; a recall takes from the end, which would begin
last. What waits for inputs to come begins later still: `arrivals` has it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any, NamedTuple

from ..protocol.outcome import parse, parse_failure
from ..task import Kind
from .arrivals import Arrivals
from .need import need_of

_STORED = int(Kind.STORED)


class Values(NamedTuple):
    """What the inputs of a task have come to: their kinds, and values or refs."""

    kinds: bytes
    bodies: list[Any]

    def refs(self) -> list[Any]:
        """Those that are in stores."""
        if _STORED not in self.kinds:
            return []
        both = zip(self.kinds, self.bodies, strict=False)
        return [body for kind, body in both if kind == _STORED]


class Piece:
    """Consecutive tasks under consecutive leases, as the router sent them. `inputs` are those of
    its leases that take any; `options` those of its tasks, with
    which members of a group they are."""

    __slots__ = (
        "first",
        "function",
        "inputs",
        "lease",
        "memory",
        "options",
        "need",
        "payloads",
        "retry_on",
        "session",
        "time_limit",
    )

    def __init__(self, row: list[Any], inputs: dict[int, Values] | None = None) -> None:
        self.inputs = inputs or {}
        self.session: str = row[0]
        self.first: int = row[1]
        self.lease: int = row[2]
        self.function: bytes = row[3]
        self.options: dict[str, Any] = row[4]
        self.need = need_of(row[4])
        self.memory: int | None = row[4].get("memory")
        self.retry_on: list[str] | None = row[4].get("retry_on")
        self.time_limit: float | None = row[4].get("time_limit")
        self.payloads: list[Any] = row[5]

    @property
    def limited(self) -> bool:
        """Whether its tasks may be stopped for a limit: then each is alone in its slot."""
        return self.time_limit is not None or self.memory is not None

    @property
    def alone(self) -> bool:
        """Whether each of its tasks is alone in its slot."""
        return self.limited or self.need is not None

    def is_retried_on(self, body: bytes) -> bool:
        """Whether an error is of a class after which a task may run again. A name without a module
        means a class of that name in any."""
        if self.retry_on is None:
            return True
        failure, _ = parse_failure(parse(body).rest)
        names = {failure.kind, *failure.bases}
        names |= {name.rpartition(".")[2] for name in names}
        return not names.isdisjoint(self.retry_on)

    def counter(self, lease: int) -> int:
        """The task that `lease` is for."""
        return self.first + lease - self.lease


class Backlog:
    """Spans [low, high) of pieces, by index within the piece; true if some task may begin."""

    def __init__(self) -> None:
        self._spans: deque[tuple[Piece, int, int]] = deque()
        self.arrivals = Arrivals()

    def __bool__(self) -> bool:
        return bool(self._spans)

    def __iter__(self) -> Iterator[int]:
        for piece, low, high in self._spans:
            yield from range(piece.lease + low, piece.lease + high)
        yield from self.arrivals

    @property
    def front(self) -> tuple[Piece, int, int]:
        """The first span."""
        return self._spans[0]

    def ready(self, most: int) -> int:
        """How many tasks may begin; `most`, if there are more."""
        count = 0
        for _, low, high in self._spans:
            count += high - low
            if count >= most:
                return most
        return count

    def add(self, piece: Piece) -> None:
        """A new piece, behind all others."""
        runs = self.arrivals.take(piece) if piece.inputs else [(0, len(piece.payloads))]
        for low, high in runs:
            self._append(piece, low, high)

    def _append(self, piece: Piece, low: int, high: int) -> None:
        """What asks for something goes before what asks for nothing: that has been set apart for
        it."""
        at = len(self._spans)
        if piece.need is not None:
            at = next((i for i, span in enumerate(self._spans) if span[0].need is None), at)
        self._spans.insert(at, (piece, low, high))

    def came(self, name: bytes) -> None:
        """An input is here: what waits for nothing any more may begin, behind all others."""
        for piece, at in self.arrivals.came(name):
            if self._spans and self._spans[-1][0] is piece and self._spans[-1][2] == at:
                self._spans[-1] = (piece, self._spans[-1][1], at + 1)
            else:
                self._append(piece, at, at + 1)

    def take(self, count: int) -> tuple[Piece, int, int]:
        """At most `count` tasks of the first span."""
        piece, low, high = self._spans[0]
        end = min(high, low + count)
        if end < high:
            self._spans[0] = (piece, end, high)
        else:
            self._spans.popleft()
        return piece, low, end

    def put_back(self, piece: Piece, at: int) -> None:
        """One task before all others; call in reverse order."""
        if self._spans:
            front, low, high = self._spans[0]
            if front is piece and low == at + 1:
                self._spans[0] = (piece, at, high)
                return
        self._spans.appendleft((piece, at, at + 1))

    def take_end(self, count: int) -> list[int]:
        """At most `count` leases from the end."""
        leases = self.arrivals.take_end(count)
        while self._spans and len(leases) < count:
            piece, low, high = self._spans.pop()
            keep = max(low, high - (count - len(leases)))
            leases += range(piece.lease + keep, piece.lease + high)
            if keep > low:
                self._spans.append((piece, low, keep))
        return leases

    def take_out(self, piece: Piece, at: int) -> bool:
        """One task from wherever it is; False if it is not here."""
        for nth, (each, low, high) in enumerate(self._spans):
            if each is piece and low <= at < high:
                del self._spans[nth]
                if at + 1 < high:
                    self._spans.insert(nth, (piece, at + 1, high))
                if low < at:
                    self._spans.insert(nth, (piece, low, at))
                return True
        return self.arrivals.take_out(piece.lease + at)

    def clear(self) -> list[int]:
        """Everything; the leases that were here."""
        leases = list(self)
        self._spans.clear()
        self.arrivals.clear()
        return leases
