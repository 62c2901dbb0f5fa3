"""Recovery: what is lost is made again, while somebody waits for it.

A stored result is *lost* when who looked for it where it should be says so. If a task that has not
ended takes it, or the client that submitted its task waits for it, that task runs once more; what
it needs in turn is made again first. Its record stays done all the while, and when it has run the
new outcome takes the old one's place: one recorded result at a time. Where that cannot be, because
the task says `rerun=False`, or fails this time, or what it needs is gone, those that take the
result fail and those that wait for it are told. Where nobody is left who wants it, it is let go of,
unless it has begun.

On disk is only that the result is lost. After a restart who needs it says so again.

Invariant (`check`): a task that is made again is open in memory and done in the store. The ledger
counts it as open; `counts` does not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ..options import option
from ..protocol import messages as m
from ..protocol.outcome import parse, parse_failure, parse_ref
from ..task import ENDED, STATE_OF, SUCCESS, Kind, State, key, show, unkey
from .block import Block, Tries
from .input import CAUSE_CHARS_MAX, Record
from .ledger import RECORD
from .member import Member
from .peers import Peer

if TYPE_CHECKING:
    from .router import RouterCore

_QUEUED, _RUNNING, _DONE = int(State.QUEUED), int(State.RUNNING), int(State.DONE)

#: Tasks that the store is asked for at a time.
PAGE_TASKS = 256


class Maker(NamedTuple):
    """A task whose result is lost, as the store knows it: its block, in which it has ended, its
    record, and those of what it takes."""

    task: bytes
    block: Block | None
    record: Record | None
    inputs: dict[bytes, Record]


class Waiting(NamedTuple):
    """A client that waits for what takes the place of a lease's result."""

    peer: Peer
    token: int
    lease: int


class Recovery:
    """Makes again for `core`. `running`: the tasks that are open for that alone."""

    def __init__(self, core: RouterCore) -> None:
        self._core = core
        self._ledger = core.ledger
        self.running: dict[bytes, tuple[Block, int]] = {}
        self._unwanted: list[bytes] = []  # perhaps
        self._wanted: dict[bytes, None] = {}  # to be looked up
        self._asked: set[bytes] = set()  # being looked up
        self._waiting: dict[bytes, list[Waiting]] = {}
        self._told: list[tuple[Waiting, str | None, Any]] = []  # an answer, or error and text

    # -- what is lost ------------------------------------------------------------------------

    def take_lost(self, worker: Member, message: m.Lost, now: float) -> None:
        """A worker says which results are not where they should be."""
        for session, counter, lease, store in message.rows:
            self.lost(key(session, counter), lease, store)

    def lost(self, task: bytes, lease: int, store: str) -> None:
        """What `lease` of a task left in `store` is not there."""
        self._ledger.writes.append(("lost", task, lease, store))
        self._ledger.recent.forget(task)
        if self._ledger.inputs.lose(task, lease, store):
            self._want(task)

    def wait(self, peer: Peer, token: int, task: bytes, lease: int) -> None:
        """The client of a task waits for its result; that of `lease` is lost."""
        self._waiting.setdefault(task, []).append(Waiting(peer, token, lease))
        if task not in self.running:
            self._want(task)

    def _want(self, task: bytes) -> None:
        if task not in self._asked:
            self._wanted[task] = None

    def settle(self, now: float) -> None:
        """Ask the store for what is to be made again, and tell who waited."""
        told, self._told = self._told, []
        for (peer, token, _), error, value in told:
            if self._core.peers.by_id.get(peer.id) is peer:
                self._core.peers.send(peer, m.Tell(token, error, value), now)
        for task in self._ledger.inputs.take_lost():
            self._want(task)
        while self._wanted:
            page = list(self._wanted)[:PAGE_TASKS]
            for task in page:
                del self._wanted[task]
            self._asked.update(page)
            self._core.lookups.ask("makers", page, self._found)

    def dropped(self, peer: Peer) -> None:
        """A client has gone; what it still waits for it asks for again, if it is back."""
        for task, waiting in list(self._waiting.items()):
            left = [each for each in waiting if each.peer is not peer]
            if len(left) == len(waiting):
                continue
            self._waiting[task] = left
            if not left:
                del self._waiting[task]
                self._unwanted.append(task)

    def let_go(self, now: float) -> None:
        """What nobody wants any more and has not begun is done again, as it was: lost. So is what
        it would have needed for that."""
        given: set[tuple[Block, int]] = set()
        inputs = self._ledger.inputs
        while unwanted := self._unwanted + inputs.take_unwanted():
            self._unwanted = []
            for task in unwanted:
                found = self.running.get(task)
                if found is None or inputs.is_lost(task) or task in self._waiting:
                    continue
                block, i = found
                if block.states[i] == _RUNNING:
                    given.add(found)
                else:
                    self._ledger.note("let go", block, i)
                    self._close(task, block, i)
        if given:
            back = [key(block.session, block.first + i) for block, i in given]
            self._core.fleet.demand(given, lambda left, now: self._given_back(back, now), now)

    def _given_back(self, tasks: list[bytes], now: float) -> None:
        """Workers have given back what they had not begun of these."""
        for task in tasks:
            block, i = self.running.get(task, (None, 0))
            if block is not None and block.states[i] != _RUNNING:
                self._unwanted.append(task)
        self.let_go(now)

    # -- once more ---------------------------------------------------------------------------

    def _found(self, makers: list[Maker], now: float) -> None:
        for maker in makers:
            self._asked.discard(maker.task)
            if maker.task in self.running:
                continue
            if maker.block is not None and maker.block.left and not self._is_open(maker.block):
                self._want(maker.task)  # the rest of its block has ended since the store was asked
                continue
            self._tell_newer(maker)
            if self._ledger.inputs.is_lost(maker.task) or maker.task in self._waiting:
                why = self._why_not(maker)
                if why is not None:
                    self._give_up(maker.task, why)
                else:
                    self._open(maker)

    def _is_open(self, block: Block) -> bool:
        return self._ledger.blocks.find(block.session, block.first) is not None

    def _tell_newer(self, maker: Maker) -> None:
        """Who waits for what takes the place of an older lease's result need wait no more."""
        if maker.record is None:
            return
        kind, lease, _, body = maker.record
        waiting = self._waiting.pop(maker.task, [])
        left = [each for each in waiting if each.lease == lease]
        if left:
            self._waiting[maker.task] = left
        for each in waiting:
            if each.lease != lease:
                self._told.append((each, None, [kind, body]))

    def _why_not(self, maker: Maker) -> str | None:
        """Why a task cannot run once more, or None."""
        block, record = maker.block, maker.record
        if block is None or record is None or record[0] not in SUCCESS:
            return "no record of its task is left"
        if not option(block.options, "rerun"):
            return "its task was submitted with rerun=False"
        if block.function not in self._ledger.functions:
            return "it was stored and not computed"
        return None

    def _open(self, maker: Maker) -> None:
        """A task that is done is open again, in memory."""
        ledger, task = self._ledger, maker.task
        assert maker.block is not None and maker.record is not None, "else it could not run"
        found = ledger.blocks.find(*unkey(task))
        if found is None:
            block = maker.block
            block.is_reopened = True
            ledger.blocks.add(block)
        else:
            block = found[0]
        i = unkey(task)[1] - block.first
        block.recovering[i] = maker.record
        if i in block.tries:
            block.tries[i] = Tries()
        block.states[i] = _QUEUED
        block.left += 1
        block.is_needed = True
        self.running[task] = (block, i)
        ledger.inputs.is_made_again(task, block, i)
        unmet = {}
        if block.inputs is not None:
            unmet = ledger.inputs.take_in(block, maker.inputs, range(i, i + 1))
        ledger.counts[_DONE] -= 1
        ledger.counts[block.states[i]] += 1
        ledger.note("recovering", block, i)
        if i in unmet:
            ledger.inputs.fail(block, i, unmet[i])
        elif block.states[i] == _QUEUED:
            ledger.ready.push(block, i, i + 1, first=True)

    # -- its end -----------------------------------------------------------------------------

    def made(self, block: Block, i: int, kind: int, lease: int, store: bytes, body: Any) -> None:
        """A task that was made again has succeeded: its outcome takes the old one's place."""
        ledger = self._ledger
        task, old = key(block.session, block.first + i), block.recovering[i]
        record = RECORD.pack(kind, lease, store) + body
        ledger.writes += [("outcomes", [(task, record)]), ("found", task, old[1])]
        self._forget_old(task, old)
        ledger.write_bytes += len(record)
        ledger.kept.append((task, record))
        ledger.note("done", block, i, lease=lease, worker=store.decode(), body=body)
        self._close(task, block, i)
        ledger.inputs.ended(task, kind, lease, store.decode(), body)
        for each in self._waiting.pop(task, []):
            self._told.append((each, None, [kind, body]))

    def _forget_old(self, task: bytes, old: Record) -> None:
        """The run that had made a result is told of as others are that did not last, and what is
        left of it is not needed."""
        kind, lease, _, body = old
        if kind != Kind.STORED:
            return
        found = parse(body)
        holder = parse_ref(found.rest).holder
        about = [holder, found.begun, found.begun + found.took_s, kind]
        self._ledger.writes += [
            ("run", task, lease, about, body),
            ("drop", holder, task, lease, 0.0),
        ]

    def failed(self, block: Block, i: int, kind: int, lease: int, body: Any, who: str) -> None:
        """A task that was made again did not succeed: its result is lost for good."""
        task = key(block.session, block.first + i)
        try:
            failure, _ = parse_failure(parse(body).rest)
            text = f"{failure.kind.removeprefix('builtins.')}: {failure.message}"
        except ValueError:  # of a worker of bad faith
            text = Kind(kind).name.lower()
        about = {"lease": lease, "worker": who.strip("\0"), "body": body}
        self._ledger.note(STATE_OF[Kind(kind)].word, block, i, **about)
        self._close(task, block, i)
        self._give_up(task, f"when it was made again, that failed: {text}")

    def _close(self, task: bytes, block: Block, i: int) -> None:
        """What was open again is done again."""
        ledger = self._ledger
        ledger.counts[block.states[i]] -= 1
        ledger.counts[_DONE] += 1
        block.states[i] = _DONE
        block.left -= 1
        del block.recovering[i], self.running[task]
        if block.inputs is not None:
            ledger.inputs.let_go(block, i)
        ledger.close_if_ended(block)

    def _give_up(self, task: bytes, why: str) -> None:
        """A result is lost for good."""
        text = f"the result of {show(*unkey(task))} is lost, and {why}"[:CAUSE_CHARS_MAX]
        self._ledger.inputs.give_up(task, f"ResultLost: {text}")
        for each in self._waiting.pop(task, []):
            self._told.append((each, "ResultLost", f"{text}. Submit the task again"))

    # -- how things stand --------------------------------------------------------------------

    def counts(self) -> list[int]:
        """How many tasks are in each state, by their records."""
        counts = list(self._ledger.counts)
        for block, i in self.running.values():
            counts[block.states[i]] -= 1
            counts[_DONE] += 1
        return counts

    def check(self) -> None:
        """Raise AssertionError if an invariant does not hold. For tests."""
        recovering = [
            (key(block.session, block.first + i), (block, i))
            for block in self._ledger.blocks
            for i in block.recovering
        ]
        assert dict(recovering) == self.running
        assert all(block.states[i] < ENDED for block, i in self.running.values())
