"""The ledger: every open task, its state, and what is to be written about it.

All that happens to a task happens here, as a step of the table in life.py; each step that must
outlive the router leaves a write, each end a piece of news for those who want to hear it. The
ledger does not know workers: fleet.py says what became of a lease, intake.py what came in.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..options import option
from ..task import ENDED, STATE_OF, Kind, State, key
from .block import Block, Blocks
from .due import Due
from .input import Record
from .inputs import Inputs
from .journal import Journal
from .life import Cause, step
from .peers import Peer, Peers
from .ready import Ready
from .recent import Recent

if TYPE_CHECKING:
    from .recovery import Recovery

#: What the router puts before an outcome's body: kind, lease, store id of the worker.
RECORD = struct.Struct("<BQ8s")


def record_of(outcome: bytes) -> Record:
    """An outcome as the store has it, in parts."""
    kind, lease, store = RECORD.unpack_from(outcome)
    return kind, lease, store.decode("ascii"), outcome[RECORD.size :]


#: In place of a Kind: a run that was given back, which counts as nothing.
INTERRUPTED = -1

#: In place of a store id: no worker's.
NOBODY = "\0" * 8

#: A task that a worker was given, and when.
Given = tuple[Block, int, float]

#: In `counts`, behind the states: how many puts there are, which are no tasks.
PUTS = len(State)

_QUEUED, _RUNNING, _DONE = int(State.QUEUED), int(State.RUNNING), int(State.DONE)
_COUNTER = struct.Struct(">Q")

#: The step that leads to each end.
CAUSE_OF = {
    State.DONE: Cause.SUCCEEDED,
    State.FAILED: Cause.FAILED,
    State.CANCELLED: Cause.CANCELLED,
    State.EXPIRED: Cause.EXPIRED,
}


class Ledger:
    """The open tasks of a mesh.

    Attributes:
        blocks, ready, due: where tasks are, which may run, and which wait for their time.
        counts: how many tasks are in each state, the ended ones included; and how many puts.
        functions: digest → (name, code digest).
        sessions: the highest counter recorded of each client.
        writes: what the store is to record at the end of this turn; the outcomes in it take
            `write_bytes`.
        cancelled: who is to hear, when it is on disk, that a task was cancelled, with its body.
        late: stored results that came when their task had ended: (session, counter, lease, store).
        inputs: which tasks take the results of which.
        recovery: what is made again. Set by who makes the ledger.
        recent: how tasks ended lately, for what takes their results next.
        kept: outcomes in `writes` that tasks take which have not ended.
        journal: what happened, for who wants to read it.
        ahead_s: how far the wall clock is ahead of the core's own. For display alone.
        age_s: for how long routers have served this store: what history ages by.
        doubted_below: 0, or, in the grace, the first lease of this life: a task that failed under
            an earlier one may have been given to another, who has not said so yet.
        held_back: those tasks, and those that the store has brought back, until it is over.
        restored_below: 0, or, in the grace, the first sequence of a block of this life.
    """

    def __init__(
        self,
        peers: Peers,
        counts: list[int],
        functions: dict[bytes, tuple[str, bytes]],
        sessions: dict[str, int],
    ) -> None:
        self.peers = peers
        self.blocks = Blocks()
        self.ready = Ready()
        self.due = Due()
        self.counts = counts
        self.functions = functions
        self.sessions = sessions
        self.writes: list[tuple[Any, ...]] = []
        self.write_bytes = 0
        self.cancelled: list[tuple[Peer, str, int, Any]] = []
        self.late: list[tuple[str, int, int, str]] = []
        self.inputs = Inputs(self)
        self.recovery: Recovery
        self.recent = Recent()
        self.kept: list[tuple[bytes, bytes]] = []
        self.journal = Journal()
        self.ahead_s = 0.0
        self.age_s = 0.0
        self.doubted_below = 0
        self.held_back: list[tuple[Block, int, int]] = []
        self.restored_below = 0
        self.sequence = 0

    def restore(
        self, block: Block, records: dict[bytes, Record], worker_losses_max: int, now: float
    ) -> list[tuple[Block, int]]:
        """Take in a block that the store has brought back, with the `records` of its inputs; its
        tasks are not ready yet. Those that must run alone are returned."""
        isolated: list[tuple[Block, int]] = []
        self.sequence = max(self.sequence, block.sequence + 1)
        self.blocks.add(block)
        unmet = self.inputs.take_in(block, records) if block.inputs is not None else {}
        for i, tries in block.tries.items():
            if block.states[i] != _QUEUED:
                continue
            if tries.worker_losses >= worker_losses_max:
                block.states[i] = State.WAITING
                isolated.append((block, i))
            elif tries.errors:
                block.states[i] = State.WAITING
                self.due.add(block, i, option(block.options, "backoff"), now)
        for state in block.states:
            if state < ENDED:
                self.counts[state] += 1
        for i, cause in unmet.items():
            self.inputs.fail(block, i, cause)
        return isolated

    def admit(self, block: Block, records: dict[bytes, Record]) -> dict[int, str]:
        """Take in a new block: what is left in it is ready, or waits for its inputs, of which the
        store knew `records`. Those that wait in vain, with the cause, are to be failed."""
        if not block.left:
            return {}
        self.blocks.add(block)
        unmet = self.inputs.take_in(block, records) if block.inputs is not None else {}
        waiting = len(block.missing)
        self.counts[State.WAITING] += waiting
        self.counts[_QUEUED] += block.left - waiting
        for low, high in block.queued_runs(0, block.size):
            self.ready.push(block, low, high)
        return unmet

    def released(self, block: Block, low: int, high: int, *, first: bool = False) -> None:
        """Queued tasks have all their inputs: they are ready, but not those of the router's last
        life as long as a worker of it may say that it has them."""
        if block.sequence < self.restored_below:
            self.held_back.append((block, low, high))
        else:
            self.ready.push(block, low, high, first=first)

    def lease_out(self, block: Block, low: int, high: int) -> None:
        """Queued tasks [low, high) have been dispatched: the table's step, in bulk."""
        count = high - low
        block.states[low:high] = bytes([_RUNNING]) * count
        self.counts[_QUEUED] -= count
        self.counts[_RUNNING] += count

    def move(self, block: Block, i: int, cause: Cause) -> None:
        state = step(block.states[i], cause)
        if state is None:
            raise AssertionError(f"{block.key!r}[{i}]: {cause!r} in {block.states[i]}")
        self.counts[block.states[i]] -= 1
        block.states[i] = state
        self.counts[state] += 1

    def release(self, now: float) -> None:
        """Those whose time has come are ready."""
        for block, i in self.due.pop(now):
            if i in block.missing:
                continue  # it waits for more than its time
            self.move(block, i, Cause.RELEASED)
            self.ready.push(block, i, i + 1, first=True)

    def ran(self, given: Given, lease: int, who: str, kind: int, body: Any, now: float) -> None:
        """A run of a task ended, and the task did not: a line of its story."""
        block, i, since = given
        task = key(block.session, block.first + i)
        about = [who, since + self.ahead_s, now + self.ahead_s, int(kind)]
        self.writes.append(("run", task, lease, about, body))
        how = "interrupted" if kind == INTERRUPTED else Kind(kind).name.lower()
        self.note("ran", block, i, lease=lease, worker=who, kind=how, body=body)

    def note(self, event: str, block: Block, low: int, high: int = 0, **about: Any) -> None:
        """For the journal: `event` befell tasks [low, high) of `block`, or `low` alone."""
        if self.journal.on:
            count = max(high - low, 1)
            self.journal.note(
                event, session=block.session, first=block.first + low, count=count, **about
            )

    def again(self, block: Block, i: int, cause: Cause, lease: int, who: str, now: float) -> None:
        """A task runs once more, first in line, or after an error when its time has come; remember
        why. `lease`, of worker `who`, was the last, unless that is in doubt."""
        self.move(block, i, cause)
        self.remember(block, i)
        if cause is Cause.RETRIED:
            self.due.add(block, i, option(block.options, "backoff"), now)
        elif cause is Cause.LOST and lease < self.doubted_below:
            self.held_back.append((block, i, i + 1))
        elif cause is Cause.LOST:
            self.ready.push(block, i, i + 1, first=True)
        self.note(cause.name.lower(), block, i, lease=lease, worker=who)

    def remember(self, block: Block, i: int) -> None:
        """Record how often a task was begun in vain."""
        tries = block.tries[i]
        counts = (tries.errors, tries.slot_losses, tries.worker_losses, tries.failed)
        self.writes.append(("tries", key(block.session, block.first + i), counts))

    def succeeded(
        self,
        session: str,
        counters: list[int],
        leases: Sequence[int],
        kinds: bytes,
        bodies: list[Any],
        entries: list[Given | None],
        store: bytes,
    ) -> None:
        """Record a run of successes of the worker with `store`, in bulk: this is the hot path.

        `entries` say which tasks they are; None leaves one out. A task that has ended keeps what
        it has: the first success wins, and a cancelled task stays cancelled.
        """
        prefix = session.encode("ascii")
        pack_key, pack_record = _COUNTER.pack, RECORD.pack
        records: list[tuple[bytes, bytes]] = []
        told: list[int] = []
        size = 0
        for nth, entry in enumerate(entries):
            if entry is None:
                continue
            block, i, _ = entry
            state = block.states[i]
            if state >= ENDED:
                if kinds[nth] == Kind.STORED:
                    self.late.append((session, counters[nth], leases[nth], store.decode()))
                self.note("superseded", block, i, lease=leases[nth], worker=store.decode())
                continue
            if block.recovering and i in block.recovering:
                self.recovery.made(block, i, kinds[nth], leases[nth], store, bodies[nth])
                continue
            self.counts[state] -= 1
            block.states[i] = _DONE
            block.left -= 1
            kind, body = kinds[nth], bodies[nth]
            record = pack_record(kind, leases[nth], store) + body
            records.append((prefix + pack_key(counters[nth]), record))
            size += len(record)
            told.append(nth)
            if not block.left or block.watchers or block.names is not None:
                self._after_end(block, i, kind, body)
            if block.is_needed:
                task = records[-1][0]
                if self.inputs.ended(task, kind, leases[nth], store.decode(), body):
                    self.kept.append(records[-1])
            if block.inputs is not None:
                self.inputs.let_go(block, i)
        if not records:
            return
        self.counts[_DONE] += len(records)
        self.write_bytes += size
        self.writes.append(("outcomes", records))
        self.recent.ended(session, records)
        if self.journal.on:
            for nth in told:
                self.journal.note(
                    "done", session=session, first=counters[nth], count=1, lease=leases[nth],
                    worker=store.decode(), body=bodies[nth],
                )  # fmt: skip
        owner = self.peers.by_who.get(("client", session))
        if owner is None:
            return
        if len(told) == len(entries):
            self.peers.tell(owner, session, counters, kinds, bodies)
        else:
            for nth in told:
                self.peers.tell(owner, session, [counters[nth]], [kinds[nth]], [bodies[nth]])

    def end(
        self, block: Block, i: int, kind: int, lease: int, body: Any, who: str = NOBODY
    ) -> None:
        """Record how a task ended, other than by success; on worker `who`, if it was on one. One
        that was made again keeps its record."""
        if i in block.recovering:
            self.recovery.failed(block, i, kind, lease, body, who)
            return
        self.move(block, i, CAUSE_OF[STATE_OF[Kind(kind)]])
        block.left -= 1
        counter = block.first + i
        record = RECORD.pack(kind, lease, who.encode("ascii")) + body
        self.writes.append(("outcomes", [(key(block.session, counter), record)]))
        owner = self.peers.by_who.get(("client", block.session))
        if owner is not None:
            self._tell(owner, block.session, counter, kind, body)
        about = {"lease": lease, "worker": who.strip("\0"), "body": body}
        self.note(State(block.states[i]).word, block, i, **about)
        self._after_end(block, i, kind, body)
        if block.inputs is not None:
            self.inputs.let_go(block, i)
        if block.is_needed:
            self.inputs.ended(key(block.session, counter), kind, lease, who, body)

    def _tell(self, peer: Peer, session: str, counter: int, kind: int, body: Any) -> None:
        """How a task ended; that it was cancelled when that is on disk, for it must not run after
        all."""
        if kind == Kind.CANCELLED:
            self.cancelled.append((peer, session, counter, body))
        else:
            self.peers.tell(peer, session, [counter], [kind], [body])

    def _after_end(self, block: Block, i: int, kind: int, body: Any) -> None:
        """What is rare when a task ends: watchers, an alias, the last of its block."""
        counter = block.first + i
        for id in block.watchers:
            watcher = self.peers.by_id.get(id)
            if watcher is not None:
                self._tell(watcher, block.session, counter, kind, body)
        if block.names is not None and block.names[i] is not None:
            holder = self.blocks.names.get(block.names[i])  # type: ignore[arg-type]
            if holder is not None and holder[0] is block and holder[1] == i:
                del self.blocks.names[block.names[i]]  # type: ignore[arg-type]
        self.close_if_ended(block)

    def close_if_ended(self, block: Block) -> None:
        """A block leaves memory with its last task; that it has ended is recorded once."""
        if not block.left:
            self.blocks.drop(block)
            if not block.is_reopened:
                self.writes.append(("close", block.key, self.age_s))

    def check(self) -> None:
        """Raise AssertionError if what is derived disagrees with what it is derived from."""
        self.blocks.check()
        self.inputs.check()
        self.recovery.check()
        counts = [0] * ENDED
        for block in self.blocks:
            for state in block.states:
                if state < ENDED:
                    counts[state] += 1
        assert counts == self.counts[:ENDED], (counts, self.counts)
