"""Blocks: the router's unit of memory.

A block is consecutive tasks of one client, alike in all but their arguments. Its header is shared;
what is a task's own is one byte of state, and, only where something went wrong, an entry in a
small dict. That is why a queued task costs a few bytes of memory instead of hundreds. Payloads
are not here: they are in the store, and the shell fetches them when a piece is dispatched.

Blocks leave memory when their last task has ended; then the store alone knows them.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

from ..task import ENDED, SESSION_CHARS, State, key, unkey
from .need import Need, need_of

_QUEUED, _RUNNING = int(State.QUEUED), int(State.RUNNING)

#: Behind all counters.
COUNTER_END = 1 << 64

#: A member of a block that is no task: its alias meant an older one, or was refused.
HOLE = 255


#: So many failed leases of a task are remembered: those of which no worker has heard yet that they
#: were counted, when a router dies.
FAILED_MAX = 8


class Tries:
    """How often a task was begun in vain, by whose fault, and which leases failed last: their
    workers may say so twice. Persisted: a restart forgives nothing. `due` is not: when it may run
    again, if it waits for its time."""

    __slots__ = ("due", "errors", "failed", "slot_losses", "worker_losses")

    def __init__(
        self,
        errors: int = 0,
        slot_losses: int = 0,
        worker_losses: int = 0,
        failed: Iterable[int] = (),
    ) -> None:
        self.errors = errors
        self.slot_losses = slot_losses
        self.worker_losses = worker_losses
        self.failed = [*failed]
        self.due = 0.0

    def note_failed(self, lease: int) -> None:
        """A lease of it has failed, and was counted."""
        self.failed = [*self.failed[1 - FAILED_MAX :], lease]

    @property
    def count(self) -> int:
        """How often, by anybody's."""
        return self.errors + self.slot_losses + self.worker_losses


class Block:
    """One block in memory.

    Attributes:
        session, first, size: which tasks it holds.
        states: a byte a task, a `State` or HOLE.
        left: how many have not ended.
        tries: index → Tries, only for those that have any.
        inputs: the ids of the tasks whose results each of its tasks takes, if any does.
        need: what each of its tasks asks for, if that is more than a slot.
        missing: index → how many of those are not there yet, only for those that wait for them.
        is_needed: whether another task takes the result of one of these.
        is_doubtful: whether one of these was begun before all of its inputs were known to be there.
        is_reopened: whether it had ended, and is here for what is made again alone.
        recovering: index → record, of those that are done and are made again.
        spans: which of its tasks wait in a queue: one run, several, or None. See queue.py.
        watchers: peers, other than the owner, who want to hear of its tasks.
    """

    __slots__ = (
        "first",
        "function",
        "group",
        "index",
        "inputs",
        "is_doubtful",
        "is_needed",
        "is_reopened",
        "left",
        "missing",
        "names",
        "need",
        "options",
        "recovering",
        "sequence",
        "session",
        "size",
        "spans",
        "states",
        "tries",
        "watchers",
    )

    def __init__(
        self,
        session: str,
        first: int,
        size: int,
        function: bytes,
        options: dict[str, Any],
        group: int | None,
        index: int,
        names: list[str | None] | None,
        sequence: int,
        inputs: list[bytes] | None = None,
    ) -> None:
        self.session = session
        self.first = first
        self.size = size
        self.function = function
        self.options = options
        self.need: Need | None = need_of(options)
        self.group = group
        self.index = index
        self.names = names
        self.sequence = sequence
        self.states = bytearray([_QUEUED]) * size
        self.left = size
        self.spans: tuple[int, int] | deque[tuple[int, int]] | None = None
        self.tries: dict[int, Tries] = {}
        self.watchers: set[bytes] = set()
        self.inputs = inputs
        self.missing: dict[int, int] = {}
        self.is_needed = self.is_doubtful = self.is_reopened = False
        self.recovering: dict[int, Any] = {}

    @property
    def key(self) -> bytes:
        """The id of its first task: what the store keys it by."""
        return key(self.session, self.first)

    @property
    def priority(self) -> int:
        """Larger goes first."""
        return int(self.options.get("priority", 0))

    def is_open(self, i: int) -> bool:
        """Whether a task has not ended, for those who wait for it: what is made again has."""
        return self.states[i] < ENDED and i not in self.recovering

    def queued_runs(self, low: int, high: int) -> Iterator[tuple[int, int]]:
        """The maximal runs of queued tasks in [low, high)."""
        states = self.states
        if states.count(_QUEUED, low, high) == high - low:
            if low < high:
                yield low, high
            return
        while low < high:
            low = states.find(_QUEUED, low, high)
            if low < 0:
                return
            end = low + 1
            while end < high and states[end] == _QUEUED:
                end += 1
            yield low, end
            low = end


class Neighbours:
    """Where tasks are among the open `blocks`, for many that are close to each other: as long as no
    block comes or goes. Those share what their ids have in common but for the last byte."""

    def __init__(self, blocks: Blocks) -> None:
        self._blocks = blocks
        self._near: dict[bytes, tuple[Block | None, int, int]] = {}

    def find(self, task: bytes) -> tuple[Block, int] | None:
        """As `Blocks.find`, by the id."""
        counter = int.from_bytes(task[SESSION_CHARS:], "big")
        found = self._near.get(task[:-1])
        if found is None or not found[1] <= counter < found[2]:
            found = self._blocks.around(*unkey(task))
            self._near[task[:-1]] = found
        return None if found[0] is None else (found[0], counter - found[1])


class Blocks:
    """The open blocks, found by task."""

    def __init__(self) -> None:
        self._by_session: dict[str, dict[int, Block]] = {}
        self._firsts: dict[str, list[int]] = {}
        self.names: dict[str, tuple[Block, int]] = {}  # alias → open task

    def __iter__(self) -> Iterator[Block]:
        for blocks in self._by_session.values():
            yield from blocks.values()

    def __len__(self) -> int:
        return sum(map(len, self._by_session.values()))

    def add(self, block: Block) -> None:
        """Take in a new block."""
        self._by_session.setdefault(block.session, {})[block.first] = block
        firsts = self._firsts.setdefault(block.session, [])
        if not firsts or firsts[-1] < block.first:
            firsts.append(block.first)
        else:
            insort(firsts, block.first)
        for i, name in enumerate(block.names or ()):
            if name is not None and block.states[i] < ENDED:
                self.names[name] = (block, i)

    def drop(self, block: Block) -> None:
        """Let go of a block whose tasks have all ended."""
        blocks = self._by_session[block.session]
        del blocks[block.first]
        firsts = self._firsts[block.session]
        firsts.pop(bisect_right(firsts, block.first) - 1)
        if not blocks:
            del self._by_session[block.session], self._firsts[block.session]

    def find(self, session: str, counter: int) -> tuple[Block, int] | None:
        """The block and index of a task, or None if its block is not open."""
        block, first, _ = self.around(session, counter)
        return None if block is None else (block, counter - first)

    def around(self, session: str, counter: int) -> tuple[Block | None, int, int]:
        """The block of a task, or None if that is not open; from where, and up to where, its
        neighbours share that."""
        firsts = self._firsts.get(session, ())
        at = bisect_right(firsts, counter)
        low, high = 0, firsts[at] if at < len(firsts) else COUNTER_END
        if at:
            block = self._by_session[session][firsts[at - 1]]
            low = block.first + block.size
            if counter < low:
                return block, block.first, low
        return None, low, high

    def overlapping(self, session: str, first: int, count: int) -> Iterator[tuple[Block, int, int]]:
        """The open blocks that hold tasks of [first, first + count), each with its index range."""
        firsts = self._firsts.get(session, [])
        at = max(bisect_right(firsts, first) - 1, 0)
        for start in firsts[at:]:
            if start >= first + count:
                return
            block = self._by_session[session][start]
            low, high = max(first - start, 0), min(first + count - start, block.size)
            if low < high:
                yield block, low, high

    def of(self, session: str, watched_by: bytes) -> Iterator[Block]:
        """The open blocks of a client, and those of others that it watches."""
        for owner, blocks in self._by_session.items():
            for block in blocks.values():
                if owner == session or watched_by in block.watchers:
                    yield block

    def behind(self, session: str, counter: int) -> Iterator[tuple[Block, int]]:
        """The open blocks with tasks behind a task, in the order of ids, each with the index of the
        first of them."""
        for each in sorted(self._by_session):
            firsts = self._firsts[each]
            at = 0
            if each == session:
                at = max(bisect_right(firsts, counter) - 1, 0)
            elif each < session:
                continue
            for start in firsts[at:]:
                low = max(counter + 1 - start, 0) if each == session else 0
                block = self._by_session[each][start]
                if low < block.size:
                    yield block, low

    def check(self) -> None:
        """Raise AssertionError if what is derived disagrees with what it is derived from."""
        for session, blocks in self._by_session.items():
            assert sorted(blocks) == self._firsts[session], session
            for block in blocks.values():
                ended = sum(state >= ENDED for state in block.states)
                assert block.left == block.size - ended > 0, (block.key, block.left, ended)
        for name, (block, i) in self.names.items():
            assert block.names is not None and block.names[i] == name
            assert block.states[i] < ENDED, name
