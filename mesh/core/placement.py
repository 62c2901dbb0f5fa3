"""Placement: what is ready goes to who has room.

Every idle slot gets one task first, then the rest is shared evenly, so that few tasks spread over
many hosts and many tasks travel in long runs. What waits at one worker while a slot idles at
another is taken back. A task that must run alone is given a worker of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..protocol import messages as m
from ..protocol.inputs import INPUT_BYTES, split
from .block import Block
from .events import Slice
from .fleet import Fleet
from .holders import Holders
from .ledger import Ledger
from .life import Cause
from .member import Member
from .peers import Peers

#: Inputs in one message: each is at most a small result.
INPUTS_MAX = 1024


class Placement:
    """Gives the tasks of `ledger` to the workers of `fleet`. `epoch` is the router's: it makes its
    leases its own, from `first_lease` on. `recall_at` is when a recall that had to wait may be
    tried again."""

    def __init__(
        self, ledger: Ledger, fleet: Fleet, holders: Holders, peers: Peers, epoch: int
    ) -> None:
        self._ledger = ledger
        self._fleet = fleet
        self._holders = holders
        self._peers = peers
        self.first_lease = self._lease = epoch << 40
        self.recall_at = 0.0

    def dispatch(self, now: float) -> None:
        """Give what is ready to who has room."""
        if self._fleet.quarantine or self._fleet.quarantine.worker is not None:
            self._isolate(now)
        ready = self._ledger.ready
        if not ready.tasks:
            self._recall(now)
            return
        pieces: dict[str, list[list[Any]]] = {}
        inputs = self._ledger.inputs
        for worker, share in self._shares(ready.tasks):
            while share > 0 and (taken := ready.take(share)) is not None:
                block = taken[0]
                if block.inputs is not None and (inputs.hold(*taken) or self._holders.hold(*taken)):
                    continue
                for to, start, end in self._nearest(worker, *taken):
                    share -= end - start if to is worker else 0
                    row = self._lease_out(to, block, start, end, now)
                    pieces.setdefault(to.who, []).append(row)
        for who, rows in pieces.items():
            self._send_to(self._fleet.workers[who], m.Tasks(rows), now)

    def _nearest(
        self, worker: Member, block: Block, low: int, high: int
    ) -> Iterator[tuple[Member, int, int]]:
        """Who gets which of the tasks whose turn it is at `worker`, run by run, and is given each
        before the next is looked at: those that take much from a store go to the worker of that
        store, unless all its slots are busy while this one idles, or it is full."""
        if block.inputs is None or not self._ledger.inputs.stored:
            yield worker, low, high
            return
        start = low
        for i in range(low, high):
            best = self._fleet.workers.get(self._holders.best(block.inputs[i]), worker)
            if best is worker or (best.idle_slots if worker.idle_slots > 0 else best.room) <= 0:
                continue
            if start < i:
                yield worker, start, i
            yield best, i, i + 1
            start = i + 1
        if start < high:
            yield worker, start, high

    def _isolate(self, now: float) -> None:
        """Empty a worker for a task that must run alone, and give it that task."""
        quarantine = self._fleet.quarantine
        worker = quarantine.worker
        if worker is not None and quarantine.lease in worker.held:
            return  # one is alone there
        able = [each for each in self._fleet if each.takes]
        if not quarantine or not able:
            quarantine.release()
            return
        # An empty one if there is any, else that which is being emptied: others may never be.
        best = min(able, key=lambda each: (each.load > 0, each is not worker, each.load))
        if best is not worker:
            quarantine.release()
            quarantine.set_aside(best)
            if best.held and not best.recalled:
                self._fleet.recall_from(best, len(best.held), now)
        if best.load or best.peer is None:
            return
        block, i = quarantine.take()
        self._ledger.move(block, i, Cause.RELEASED)
        row = self._lease_out(best, block, i, i + 1, now)
        quarantine.lease = row[2]
        self._peers.send(best.peer, m.Tasks([row]), now)

    def _lease_out(
        self, worker: Member, block: Block, low: int, high: int, now: float
    ) -> list[Any]:
        self._ledger.lease_out(block, low, high)
        lease = self._lease + 1
        self._lease += high - low
        held = worker.held
        for i in range(low, high):
            held[lease + i - low] = (block, i, now)
        self._ledger.note("given", block, low, high, lease=lease, worker=worker.who)
        if block.function not in worker.functions:
            worker.functions.add(block.function)
            name, code = self._ledger.functions[block.function]
            # the shell puts the code in: the core knows functions by digest
            self._send_to(worker, m.Function(block.function, name, code, None), now)
        if block.inputs is not None:
            self._send_inputs(worker, block.inputs[low:high], lease, now)
        payloads = Slice(block.key, low, high)
        return [block.session, block.first + low, lease, block.function, block.options, payloads]

    def _send_inputs(self, worker: Member, inputs: list[bytes], lease: int, now: float) -> None:
        """Say what the tasks that are about to be sent take, under leases from `lease` on: the
        shell puts the values in."""
        rows: list[list[Any]] = []
        count = 0
        for nth, ids in enumerate(inputs):
            for at in range(0, len(ids), INPUT_BYTES * INPUTS_MAX):
                part = ids[at : at + INPUT_BYTES * INPUTS_MAX]
                count += len(part) // INPUT_BYTES
                if rows and count > INPUTS_MAX:
                    self._send_rows(worker, rows, now)
                    rows, count = [], len(part) // INPUT_BYTES
                rows.append([lease + nth, part, None, None])
        if rows:
            self._send_rows(worker, rows, now)

    def _send_rows(self, worker: Member, rows: list[list[Any]], now: float) -> None:
        tasks = dict.fromkeys(split(b"".join(row[1] for row in rows)))
        stores, holders = self._holders.told(tasks, worker)
        self._send_to(worker, m.Inputs(rows, stores, holders), now)

    def _send_to(self, worker: Member, message: m.Message, now: float) -> None:
        assert worker.peer is not None
        self._peers.send(worker.peer, message, now)

    def _shares(self, ready: int) -> Iterator[tuple[Member, int]]:
        """Who gets how many of `ready` tasks, most urgent first. Each share is given before the
        next is asked for: rooms are read anew."""
        idle = [worker for worker in self._fleet if worker.idle_slots > 0]
        for worker in sorted(idle, key=lambda w: len(w.held)):
            share = min(worker.idle_slots, ready)
            if share <= 0:
                return
            ready -= share
            yield worker, share
        roomy = sorted((w for w in self._fleet if w.room > 0), key=lambda w: w.room)
        for nth, worker in enumerate(roomy):
            share = min(worker.room, -(-ready // (len(roomy) - nth)))
            if share <= 0:
                return
            ready -= share
            yield worker, share

    def _recall(self, now: float) -> None:
        """Nothing is ready and some slot idles: take back what waits elsewhere."""
        busiest, spare = None, 0
        for worker in self._fleet:
            if len(worker.held) - worker.slots > spare and worker.peer is not None:
                busiest, spare = worker, len(worker.held) - worker.slots
        if busiest is None or busiest.recalled:
            return
        idle = sum(max(worker.idle_slots, 0) for worker in self._fleet)
        if not idle:
            return
        if now < busiest.recall_after:
            self.recall_at = busiest.recall_after
            return
        self._fleet.recall_from(busiest, max(min(spare, idle), spare // 2), now)
