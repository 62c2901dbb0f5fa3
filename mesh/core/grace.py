"""Grace: after a restart of the router, what may still run somewhere is not given out again before
its worker has had time to say so. Nor is what fails meanwhile under a lease of the last life: that
router may have heard so already, given the task to another worker, and died before it was on disk.

It ends when every worker of the last life has said what it holds, or after `lost_after_s`. What a
worker was known to run and did not bring back was lost with it: with a machine that went down, all
of it dies in one moment, and nobody else is left to count.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..protocol import messages as m
from ..protocol.outcome import failure_body
from ..task import Kind, State
from .block import Block, Tries

if TYPE_CHECKING:
    from .restored import Restored
    from .router import RouterCore


class Grace:
    """The grace of `core`, with what `restored` says of the router's last life."""

    def __init__(self, core: RouterCore, restored: Restored, now: float) -> None:
        self._core = core
        self._expected = set(restored.roster)
        self._begun = dict(restored.begun)
        self._until = now + core.settings.lost_after_s
        self._isolated: list[tuple[Block, int]] = []
        core.ledger.doubted_below = core.placement.first_lease
        for block in sorted(restored.blocks, key=lambda block: block.sequence):
            cap = core.settings.worker_losses_max
            self._isolated += core.ledger.restore(block, restored.inputs, cap, now)
            core.ledger.held_back += [(block, *run) for run in block.queued_runs(0, block.size)]
        core.ledger.restored_below = core.ledger.sequence

    @property
    def is_over(self) -> bool:
        """Whether nobody is waited for any more."""
        return not self._expected

    def rest_s(self, now: float) -> float | None:
        """How long it may last still; None if it is over."""
        return max(self._until - now, 0.0) if self._expected else None

    def greeted(self, hello: m.Hello, now: float) -> None:
        """A worker has said what it holds: the same, or another on its store."""
        self._expected.discard(hello.who)
        incarnation, rows = self._begun.pop(hello.who, (b"", []))
        if rows and incarnation != hello.incarnation:
            self._lost(hello.who, rows, "it was replaced by a new one on the same store", now)
        self.tick(now)

    def tick(self, now: float) -> None:
        """What no worker has claimed by now is ready."""
        core = self._core
        if self._expected and now > self._until:
            gone, self._expected = sorted(self._expected), set()
            for who in gone:  # the next life need not wait for them
                core.ledger.writes += [("worker", who, None), ("begun", who, None)]
                if who in self._begun:
                    self._lost(who, self._begun.pop(who)[1], "it went with the router", now)
        if not self._expected:
            held_back, core.ledger.held_back = core.ledger.held_back, []
            for span in held_back:
                core.ledger.ready.push(*span)
            core.ledger.doubted_below = core.ledger.restored_below = 0
            isolated, self._isolated = self._isolated, []
            for task in reversed(isolated):
                core.fleet.quarantine.add(*task)
            core.orders.settled(now)

    def _lost(
        self, who: str, rows: list[tuple[str, int, int, float]], reason: str, now: float
    ) -> None:
        """What `who` was known to run, as session, counter, lease and since when (unix time), is
        lost with it, unless it has ended or another has it."""
        ledger = self._core.ledger
        cap = self._core.settings.worker_losses_max
        for session, counter, lease, given_at in rows:
            found = ledger.blocks.find(session, counter)
            if found is None or found[0].states[found[1]] not in (State.QUEUED, State.WAITING):
                continue
            block, i = found
            tries = block.tries.setdefault(i, Tries())
            tries.worker_losses += 1
            body = failure_body("WorkerLost", f"the worker is gone: {reason}")
            given = (block, i, given_at - ledger.ahead_s)
            ledger.ran(given, lease, who, Kind.WORKER_LOST, body, now)
            ledger.remember(block, i)
            if tries.worker_losses > cap:  # it was alone, then
                text = f"lost with its worker {tries.worker_losses} times, the last time alone"
                body = failure_body("WorkerLost", f"{text}: {reason}")
                ledger.end(block, i, Kind.WORKER_LOST, lease, body, who)
            elif tries.worker_losses == cap and block.states[i] == State.QUEUED:
                ledger.counts[State.QUEUED] -= 1
                ledger.counts[State.WAITING] += 1
                block.states[i] = State.WAITING
                self._isolated.append((block, i))
