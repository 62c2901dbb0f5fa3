"""Arrivals: the leases of a worker that wait for inputs which are not here.

Each input is ordered once, however many leases take it; a bounded number of them, and of bytes, is
on the way at a time, the rest waits in line. Leases whose inputs are all here leave in the order in
which the last of those came. Nothing here knows how an input is brought: the shell says that it is
here, or that it cannot be had.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from ..protocol.outcome import RESULT, Ref, parse_ref, stored_key
from ..task import show, unkey

if TYPE_CHECKING:
    from .backlog import Piece

#: Inputs on their way at once: enough to hide each one's beginning and end.
COMING_MAX = 8

#: Their bytes, unless one is larger: what is half here takes room, and nothing can begin with it.
COMING_BYTES_MAX = 256 * 1024 * 1024

#: So many inputs are remembered as being here: of the others the shell is asked again.
HERE_MAX = 4096

#: Where stores are: id → [address, host, folder].
Places = dict[str, list[str]]


class Order(NamedTuple):
    """An input that is to be brought: from the first of these stores that has it."""

    ref: Ref
    stores: list[str]
    places: Places


class Input:
    """One input that some lease waits for."""

    __slots__ = ("leases", "ref", "stores")

    def __init__(self, ref: Ref) -> None:
        self.ref = ref
        self.stores = [ref.holder]
        self.leases: list[int] = []


class Waiting:
    """One lease that waits: task `at` of `piece`, for so many inputs."""

    __slots__ = ("at", "missing", "piece")

    def __init__(self, piece: Piece, at: int) -> None:
        self.piece, self.at = piece, at
        self.missing: set[bytes] = set()


class Arrivals:
    """The leases that wait, and what they wait for.

    Attributes:
        places: where stores are, as far as the router has said.
        holders: by task, who has what there are several holders of, as the router has said it of
            what comes next.
    """

    def __init__(self) -> None:
        self.places: Places = {}
        self.holders: dict[str, list[str]] = {}
        self._leases: dict[int, Waiting] = {}
        self._inputs: dict[bytes, Input] = {}
        self._line: deque[bytes] = deque()
        self._coming: dict[bytes, int] = {}
        self._here: OrderedDict[bytes, None] = OrderedDict()
        self._wanted: set[bytes] = set()  # brought although no lease takes it

    def __bool__(self) -> bool:
        return bool(self._leases)

    def __len__(self) -> int:
        return len(self._leases)

    def __iter__(self) -> Iterator[int]:
        return iter(self._leases)

    # -- leases ------------------------------------------------------------------------------

    def take(self, piece: Piece) -> Iterator[tuple[int, int]]:
        """A new piece: those of its tasks that wait stay here, the others are returned, in runs."""
        low = 0
        stored = {lease: refs for lease, each in piece.inputs.items() if (refs := each.refs())}
        for lease in sorted(stored):
            at = lease - piece.lease
            waiting = Waiting(piece, at)
            for body in stored[lease]:
                self._need(waiting, parse_ref(body), lease)
            if waiting.missing:
                self._leases[lease] = waiting
                if low < at:
                    yield low, at
                low = at + 1
        if low < len(piece.payloads):
            yield low, len(piece.payloads)

    def _need(self, waiting: Waiting, ref: Ref, lease: int) -> None:
        name = ref.key
        if name in self._here:
            self._here.move_to_end(name)
            return
        if name in waiting.missing:
            return
        waiting.missing.add(name)
        needed = self._inputs.get(name)
        if needed is None:
            needed = self._inputs[name] = Input(ref)
            if name not in self._coming:
                self._line.append(name)
        self._name_holders(needed)
        needed.leases.append(lease)

    def _name_holders(self, needed: Input) -> None:
        """The order in which the router names them comes first."""
        named = self.holders.get(show(*unkey(needed.ref.task)), ())
        needed.stores = list(dict.fromkeys([*named, *needed.stores]))

    def take_out(self, lease: int) -> bool:
        """One lease; False if it is not here. What is on its way for it comes, and what is in line
        for nobody else does not."""
        waiting = self._leases.pop(lease, None)
        if waiting is None:
            return False
        for name in waiting.missing:
            needed = self._inputs[name]
            needed.leases.remove(lease)
            if not needed.leases and name not in self._wanted:
                del self._inputs[name]
        return True

    def take_end(self, count: int) -> list[int]:
        """At most `count` leases, the last first."""
        leases = list(self._leases)[: -count - 1 : -1] if count > 0 else []
        for lease in leases:
            self.take_out(lease)
        return leases

    def clear(self) -> list[int]:
        """Everything; the leases that were here."""
        leases = list(self._leases)
        self._leases.clear()
        self._inputs.clear()
        self._line.clear()
        self._wanted.clear()
        return leases

    # -- inputs ------------------------------------------------------------------------------

    def want(self, ref: Ref) -> None:
        """Have something brought that no lease takes."""
        name = ref.key
        self._wanted.add(name)
        self._here.pop(name, None)  # the shell says what is here
        if name not in self._inputs:
            self._inputs[name] = Input(ref)
            if name not in self._coming:
                self._line.append(name)

    def orders(self) -> Iterator[Order]:
        """What is to be brought now."""
        while self._line and len(self._coming) < COMING_MAX:
            needed = self._inputs.get(self._line[0])
            if needed is None or self._line[0] in self._coming:
                self._line.popleft()  # nobody needs it any more, or it is on its way after all
                continue
            on_way = sum(self._coming.values())
            if on_way and on_way + needed.ref.size > COMING_BYTES_MAX:
                return
            self._coming[self._line.popleft()] = needed.ref.size
            yield self._order(needed)

    def _order(self, needed: Input) -> Order:
        places = {s: self.places[s] for s in needed.stores if s in self.places}
        return Order(needed.ref, needed.stores, places)

    def moved(self) -> Iterator[Order]:
        """What is on its way, with the holders that are known by now."""
        for name in self._coming:
            needed = self._inputs.get(name)
            if needed is not None:
                self._name_holders(needed)
                yield self._order(needed)

    def came(self, name: bytes) -> list[tuple[Piece, int]]:
        """An input is here: the tasks that wait for nothing any more."""
        self._coming.pop(name, None)
        self._here[name] = None
        if len(self._here) > HERE_MAX:
            self._here.popitem(last=False)
        needed = self._inputs.pop(name, None)
        self._wanted.discard(name)
        free = []
        for lease in () if needed is None else needed.leases:
            waiting = self._leases[lease]
            waiting.missing.discard(name)
            if not waiting.missing:
                del self._leases[lease]
                free.append((waiting.piece, waiting.at))
        return free

    def failed(self, name: bytes) -> list[int]:
        """An input cannot be had: the leases that take it, which are here no more."""
        self._coming.pop(name, None)
        needed = self._inputs.get(name)
        leases = [] if needed is None else list(needed.leases)
        for lease in leases:
            self.take_out(lease)
        if name in self._wanted:
            self._wanted.remove(name)
            self._inputs.pop(name, None)
        return leases

    def gone(self, task: bytes, lease: int) -> None:
        """What this lease of a task stored is not here any more, or will not be for long."""
        self._here.pop(stored_key(task, lease, RESULT), None)

    def check(self) -> None:
        """Raise AssertionError if leases and inputs disagree. For tests."""
        for lease, waiting in self._leases.items():
            assert waiting.missing, lease
            for name in waiting.missing:
                assert lease in self._inputs[name].leases, (lease, name)
        assert self._wanted <= self._inputs.keys()
        for name, needed in self._inputs.items():
            assert needed.leases or name in self._wanted, name
            assert all(name in self._leases[lease].missing for lease in needed.leases), name
            assert name in self._coming or name in self._line, name
