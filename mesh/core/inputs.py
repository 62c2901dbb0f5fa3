"""Inputs: which tasks take the results of which, and what is known of those results.

A task with inputs waits until all of them are done; one that has failed, was cancelled or is not
known fails it, and whatever takes its result in turn, with the first cause. An input must have been
submitted before what takes it: so there are no circles.

Known is an input from when the first task takes it until the last of those has ended. Meanwhile its
record and its result stay (pruning.py asks `is_needed`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ..protocol.inputs import INPUT_BYTES, split
from ..protocol.outcome import failure_body, parse, parse_ref
from ..task import ENDED, SUCCESS, Kind, State, show, unkey
from .block import Block, Neighbours
from .input import CAUSE_CHARS_MAX, INLINE, NOWHERE, Input, Record, Result, cause_of
from .life import Cause

if TYPE_CHECKING:
    from .ledger import Ledger

_WAITING, _QUEUED = int(State.WAITING), int(State.QUEUED)


class Inputs:
    """The inputs of the open tasks in `ledger`. `stored` of them are with workers. `touched` are
    those that were asked for or taken since somebody began to gather them there; `stranded` the
    tasks that wait for nothing but a store, one of those."""

    def __init__(self, ledger: Ledger) -> None:
        self.stored = 0
        self.touched: set[bytes] | None = None
        self.stranded: dict[tuple[Block, int], list[str]] = {}
        self._ledger = ledger
        self._by_task: dict[bytes, Input] = {}
        self._released: dict[Block, list[int]] = {}
        self._lost: set[bytes] = set()
        self._newly_lost: list[bytes] = []
        self._unwanted: list[bytes] = []
        self._failing: deque[tuple[bytes, str]] = deque()
        self._is_failing = False

    def __len__(self) -> int:
        return len(self._by_task)

    def get(self, task: bytes) -> Input | None:
        """What is known of an input that some open task takes."""
        return self._by_task.get(task)

    def is_needed(self, task: bytes) -> bool:
        """Whether a task that has not ended takes the result of this one, or one may have done so
        since `touched` was begun."""
        return task in self._by_task or self.touched is not None and task in self.touched

    def touch(self, tasks: list[bytes]) -> None:
        """These are about to be taken."""
        if self.touched is not None:
            self.touched.update(tasks)

    def unknown(self, tasks: Iterable[bytes]) -> list[bytes]:
        """Those of them of which the store may know more than memory."""
        by_task, find = self._by_task, Neighbours(self._ledger.blocks).find
        unknown = []
        for task in tasks:
            if task not in by_task:
                found = find(task)
                if found is None or found[0].states[found[1]] >= ENDED:
                    unknown.append(task)
        return unknown

    # -- coming ------------------------------------------------------------------------------

    def take_in(
        self, block: Block, records: dict[bytes, Record], members: range | None = None
    ) -> dict[int, str]:
        """A block that is new, or was brought back: its tasks, or some `members`, wait for their
        inputs. Those whose inputs will never be there are returned, with the cause. `records` are
        of the inputs that are not known here: who is in neither does not exist."""
        unmet: dict[int, str] = {}
        by_task, states, inputs = self._by_task, block.states, block.inputs or []
        near = Neighbours(self._ledger.blocks)
        for i in range(len(inputs)) if members is None else members:
            ids = inputs[i]
            if not ids or states[i] >= ENDED:
                continue
            missing, itself = 0, (block, i)
            for at in range(0, len(ids), INPUT_BYTES):
                task = ids[at : at + INPUT_BYTES]
                entry = by_task.get(task) or self._enter(task, records, near)
                entry.users += 1
                if entry.result is None:
                    entry.waiting.append(itself)
                    missing += 1
                    origin = entry.origin
                    if entry.is_lost:
                        if entry.cause is not None:
                            unmet.setdefault(i, entry.cause)
                    elif origin is None or origin[0] is block and origin[1] >= i:  # behind this one
                        unmet.setdefault(i, cause_of(task, records.get(task)))
            if missing:
                block.missing[i] = missing
                states[i] = _WAITING
        return unmet

    def _enter(self, task: bytes, records: dict[bytes, Record], near: Neighbours) -> Input:
        entry = self._by_task[task] = Input()
        if self.touched is not None:
            self.touched.add(task)
        found = near.find(task)
        if found is not None and found[0].states[found[1]] < ENDED:
            found[0].is_needed = True
            entry.origin = found
            if found[1] in found[0].recovering:
                self._is_lost(task, entry)
        elif task in records and records[task][0] in SUCCESS:
            kind, _, store, _ = records[task]
            if kind == Kind.STORED and store == NOWHERE:
                self._is_lost(task, entry)
                self._newly_lost.append(task)
            else:
                entry.result = self._result(*records[task])
        return entry

    def _result(self, kind: int, lease: int, store: str, body: Any) -> Result:
        if kind != Kind.STORED:
            return INLINE
        self.stored += 1
        return Result(lease, store, parse_ref(parse(body).rest).size)

    # -- what is lost ------------------------------------------------------------------------

    def _is_lost(self, task: bytes, entry: Input) -> None:
        entry.is_lost, entry.result, entry.copies = True, None, []
        self._lost.add(task)

    def lose(self, task: bytes, lease: int, store: str) -> bool:
        """What `lease` of a task left in `store` is gone: whether that is to be made again, because
        others take it. Those that are ready are looked at when their turn comes."""
        entry = self._by_task.get(task)
        result = None if entry is None else entry.result
        if entry is None or result is None or result.lease != lease:
            return False
        if store in entry.copies:
            entry.copies.remove(store)
            return False
        if result.store != store:
            return False
        if entry.copies:  # one of them is as good
            entry.result = result._replace(store=entry.copies.pop(0))
            entry.turn += 1
            return False
        self.stored -= 1
        self._is_lost(task, entry)
        return True

    def moved(self, task: bytes, lease: int, source: str, target: str) -> None:
        """What `lease` of a task left in `source` is with `target` from now on."""
        entry = self._by_task.get(task)
        result = None if entry is None else entry.result
        if entry is None or result is None or (result.lease, result.store) != (lease, source):
            return
        entry.result = result._replace(store=target)
        entry.turn += 1  # who is sent the old ref is told the new holder
        if target in entry.copies:
            entry.copies.remove(target)

    def take_lost(self) -> list[bytes]:
        """What was lost before somebody took it, and is to be made again."""
        lost, self._newly_lost = self._newly_lost, []
        return lost

    def take_unwanted(self) -> list[bytes]:
        """What was lost, and nobody takes any more."""
        unwanted, self._unwanted = self._unwanted, []
        return unwanted

    def is_lost(self, task: bytes) -> bool:
        """Whether others take the result of a task, and it is lost."""
        return task in self._lost

    def is_made_again(self, task: bytes, block: Block, i: int) -> None:
        """A task runs once more, as the one of `block`."""
        entry = self._by_task.get(task)
        if entry is not None:
            entry.origin, entry.cause = (block, i), None

    def give_up(self, task: bytes, cause: str) -> None:
        """What is lost will not be made again: who takes it fails."""
        entry = self._by_task.get(task)
        if entry is not None and entry.is_lost:
            entry.cause = f"its input {show(*unkey(task))} cannot be had: {cause}"[:CAUSE_CHARS_MAX]
            self._fail(task, entry.cause)

    # -- what becomes of them ----------------------------------------------------------------

    def ended(self, task: bytes, kind: int, lease: int, store: str, body: Any) -> bool:
        """A task has ended: those that take its result go on, or fail. Whether there are any."""
        entry = self._by_task.get(task)
        if entry is None:
            return False
        if kind not in SUCCESS:
            self._fail(task, cause_of(task, (kind, lease, store, body)))
            return False
        entry.result = self._result(kind, lease, store, body)
        if entry.is_lost:
            entry.is_lost = False
            self._lost.discard(task)
        if entry.waiting:
            waiting, entry.waiting = entry.waiting, []
            self._came(waiting)
        return True

    def _came(self, waiting: list[tuple[Block, int]]) -> None:
        """One input of each of these is there. As `release`, but in bulk: this is a hot path."""
        released, count = self._released, 0
        for block, i in waiting:
            missing = block.missing
            if i not in missing or block.states[i] != _WAITING:
                continue
            if missing[i] > 1:
                missing[i] -= 1
                continue
            del missing[i]
            block.states[i] = _QUEUED
            count += 1
            if block in released:
                released[block].append(i)
            else:
                released[block] = [i]
        self._ledger.counts[_WAITING] -= count
        self._ledger.counts[_QUEUED] += count

    def release(self, block: Block, i: int) -> None:
        """A task waits for nothing any more: it is ready at the end of the turn."""
        self._ledger.move(block, i, Cause.RELEASED)
        self._released.setdefault(block, []).append(i)

    def settle(self) -> None:
        """What was released in a turn is ready: in runs as long as can be, for these travel
        together."""
        if not self._released:
            return
        released, self._released = self._released, {}
        for block, indices in released.items():
            indices.sort()
            low = end = indices[0]
            for i in indices:
                if i != end:
                    self._ledger.released(block, low, end)
                    low = i
                end = i + 1
            self._ledger.released(block, low, end)

    def _fail(self, task: bytes, cause: str) -> None:
        """Who waits for `task` waits in vain, and who waits for those. One after the other, however
        long the chain is."""
        self._failing.append((task, cause))
        if self._is_failing:
            return
        self._is_failing = True
        while self._failing:
            task, cause = self._failing.popleft()
            entry = self._by_task.get(task)
            waiting = [] if entry is None else entry.waiting
            for block, i in list(waiting):
                self.fail(block, i, cause)
        self._is_failing = False

    def fail(self, block: Block, i: int, cause: str) -> None:
        """A task ends unrun, for this cause, unless it has ended: of another input that failed."""
        if block.states[i] < ENDED:
            body = failure_body("DependencyFailed", cause)
            self._ledger.end(block, i, Kind.UNMET, 0, body)

    def let_go(self, block: Block, i: int) -> None:
        """A task has ended, and needs its inputs no more."""
        if self.stranded or i in block.missing:
            self.stop_waiting(block, i)
        by_task, ids = self._by_task, block.inputs[i]  # type: ignore[index]  # a block with inputs
        for at in range(0, len(ids), INPUT_BYTES):
            task = ids[at : at + INPUT_BYTES]
            entry = by_task[task]
            if entry.users > 1:
                entry.users -= 1
            else:
                del by_task[task]
                if entry.is_lost:
                    self._lost.discard(task)
                    self._unwanted.append(task)
                self.stored -= entry.result is not None and bool(entry.result.store)

    def stop_waiting(self, block: Block, i: int) -> None:
        """A task waits for no input any more: it runs after all, or has ended."""
        self.stranded.pop((block, i), None)
        if block.missing.pop(i, None) is None:
            return
        block.is_doubtful = True
        for task in split(block.inputs[i]):  # type: ignore[index]  # it has some
            entry = self._by_task[task]
            entry.waiting = [each for each in entry.waiting if each != (block, i)]

    # -- for dispatch ------------------------------------------------------------------------

    def hold(self, block: Block, low: int, high: int) -> bool:
        """Whether queued tasks among these lack an input after all: those wait again, or fail if it
        will never be there; the others are ready."""
        if not block.is_doubtful and not self._lost:
            return False
        lacking = [i for i in range(low, high) if self.is_held(block, i)]
        if lacking:
            for start, end in reversed(list(block.queued_runs(low, high))):
                self._ledger.released(block, start, end, first=True)
        return bool(lacking)

    def is_held(self, block: Block, i: int) -> bool:
        """Whether a queued task lacks an input: it waits again, or has failed."""
        missing, cause = 0, None
        for task in split(block.inputs[i]):  # type: ignore[index]  # it has some
            entry = self._by_task[task]
            if entry.result is None:
                entry.waiting.append((block, i))
                missing += 1
                cause = cause or entry.cause
        if missing:
            block.missing[i] = missing
            self._ledger.move(block, i, Cause.HELD)
        if cause is not None:
            self.fail(block, i, cause)
        return missing > 0

    def needed_by(self, task: bytes, most: int) -> tuple[int, list[str]]:
        """How many tasks that have not ended take the result of this one, and the ids of some that
        wait for it."""
        entry = self._by_task.get(task)
        if entry is None:
            return 0, []
        waiting = entry.waiting[:most]
        return entry.users, [show(block.session, block.first + i) for block, i in waiting]

    def waits_for(self, block: Block, i: int) -> list[tuple[bytes, str]]:
        """The inputs that a task waits for, and in which state each is: "recovering" if it is being
        made again."""
        if i not in block.missing:
            return []
        found = []
        for task in dict.fromkeys(split(block.inputs[i])):  # type: ignore[index]  # it has some
            entry = self._by_task[task]
            if entry.is_lost:
                found.append((task, "recovering"))
            elif entry.result is None and entry.origin is not None:
                of, nth = entry.origin
                found.append((task, State(of.states[nth]).word))
        return found

    def check(self) -> None:
        """Raise AssertionError if what is known of inputs disagrees with the tasks that take them.
        For tests."""
        users: dict[bytes, int] = {}
        for block in self._ledger.blocks:
            for i, ids in enumerate(block.inputs or ()):
                stranded = (block, i) in self.stranded
                assert not stranded or block.states[i] == _WAITING, (block.key, i)
                if block.states[i] >= ENDED:
                    assert i not in block.missing, (block.key, i)
                    continue
                tasks = split(ids)
                missing = [task for task in tasks if self._by_task[task].result is None]
                for task in tasks:
                    users[task] = users.get(task, 0) + 1
                if i in block.missing:
                    known = [self._by_task[task] for task in missing]
                    waited = [each for each in known if (block, i) in each.waiting]
                    assert block.missing[i] == len(waited) > 0, (block.key, i, missing)
                    others = [each for each in known if each not in waited]
                    assert all(each.is_lost for each in others), (block.key, i, missing)
        assert self._lost == {task for task, each in self._by_task.items() if each.is_lost}
        assert users == {task: entry.users for task, entry in self._by_task.items()}
