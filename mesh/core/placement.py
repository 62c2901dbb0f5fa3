"""Placement: what is ready goes to who has room.

Every idle slot gets one task first, then the rest is shared evenly, so that few tasks spread over
many hosts and many tasks travel in long runs. What waits at one worker while a slot idles at
another is taken back. A task that must run alone is given a worker of its own. One that asks for
more than a slot goes where there is enough of it, and small ones pass it meanwhile.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator
from typing import Any

from ..protocol import messages as m
from ..protocol.inputs import INPUT_BYTES, split
from .block import Block
from .events import Slice
from .fleet import Fleet
from .holders import Holders, Stores
from .ledger import Ledger
from .life import Cause
from .member import Member
from .need import Need
from .peers import Peers
from .queue import Queue
from .ready import NeedQueue
from .reserve import Reserve

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
        self._reserve = Reserve(fleet, ledger.ready)
        self._pieces: dict[str, list[list[Any]]] = {}  # what this turn gives to whom
        self._taken: dict[str, list[list[Any]]] = {}  # what that takes: rows of INPUTS

    def dispatch(self, now: float) -> None:
        """Give what is ready to who has room."""
        if self._fleet.quarantine or self._fleet.quarantine.worker is not None:
            self._isolate(now)
        rooms, ready = self._fleet.rooms, self._ledger.ready
        rooms.settle()
        if self._fleet.renewed:
            for queue in [each for each in ready.unable if self._could_now(each.need)]:
                ready.bring_back(queue)
            self._fleet.renewed.clear()
        if not ready.plain.tasks:
            self._recall(now)
        if len(ready.turns) > 1:
            self._match(now)
            while self._reserve.has_freed:  # what was passed meanwhile may fit there
                self._reserve.has_freed = False
                rooms.settle()
                self._match(now)
        elif ready.plain.tasks:
            self._share_out(now)
        rooms.changed.clear()
        if self._pieces:
            pieces, self._pieces = self._pieces, {}
            for who, rows in pieces.items():
                self._send_tasks(self._fleet.workers[who], rows, now)

    def tick(self, now: float) -> None:
        """See to it that what needs much is not passed for ever."""
        self._reserve.tick(now)

    def _match(self, now: float) -> None:
        """Give out what is ready where tasks ask for different things: by priority, and of one
        priority each need in its turn. What fits nowhere is passed, and tried again on those that
        have changed."""
        ready = self._ledger.ready
        nth = itertools.count()
        line = [(-q.priority, next(nth), q) for q in ready.turns if q.tasks]
        heapq.heapify(line)
        while line:
            _, _, queue = heapq.heappop(line)
            least = min(queue.priority, 1 - line[0][0]) if line else None
            if isinstance(queue, NeedQueue):
                is_stuck = not self._fit(queue, least, now)
            else:
                is_stuck = not self._share_out(now, least)
            if not is_stuck and queue.tasks:
                heapq.heappush(line, (-queue.priority, next(nth), queue))

    def _fit(self, queue: NeedQueue, least: int | None, now: float) -> bool:
        """Give out what is of `least` priority or more to those whom it fits; whether nothing of it
        is left."""
        need, rooms, ready = queue.need, self._fleet.rooms, self._ledger.ready
        while queue.tasks and (least is None or queue.priority >= least):
            able: list[Member] = []
            for worker in rooms.roomy if queue.fresh else rooms.changed:
                if worker.fitting(need, now):
                    able.append(worker)
                    if len(able) == queue.tasks:
                        break
            if not able:
                if queue.fresh and not any(each.capacity.could(need) for each in self._fleet):
                    ready.set_aside(queue)
                queue.fresh = False
                return False
            able.sort(key=lambda each: each.fitting(need, now))
            for nth, worker in enumerate(able):
                if not queue.tasks:
                    break
                share = -(-queue.tasks // (len(able) - nth))
                self._give(queue, worker, min(worker.fitting(need, now), share), least, now)
                self._reserve.served(worker)
            rooms.settle()
            queue.waits_since = now
        return True

    def _share_out(self, now: float, least: int | None = None) -> bool:
        """Of what asks for a slot, of `least` priority or more, one for each slot that idles, the
        rest evenly among those with room; whether there is more room than tasks."""
        queue, rooms = self._ledger.ready.plain, self._fleet.rooms
        while (worker := rooms.idlest) is not None:
            rooms.touch(worker)  # its place is another one then
            if not self._give(queue, worker, worker.idle_slots, least, now):
                return True
            rooms.settle()
        roomy = rooms.to_share(queue.tasks)
        for nth, worker in enumerate(roomy):
            share = min(worker.room, -(-queue.tasks // (len(roomy) - nth)))
            if not self._give(queue, worker, share, least, now):
                return True
        return False

    def _give(
        self, queue: Queue, worker: Member, share: int, least: int | None, now: float
    ) -> bool:
        """Give `worker` so many tasks of `queue`, and to others what they are nearer to; whether
        there were so many."""
        inputs = self._ledger.inputs
        self._ledger.ready.served(queue)
        while share > 0:
            taken = queue.take(share, least)
            if taken is None:
                break
            block = taken[0]
            if block.inputs is not None and (inputs.hold(*taken) or self._holders.hold(*taken)):
                continue
            for to, start, end in self._nearest(worker, *taken, now):
                share -= end - start if to is worker else 0
                row = self._lease_out(to, block, start, end, now)
                self._pieces.setdefault(to.who, []).append(row)
        if not queue.tasks:
            self._ledger.ready.emptied(queue)
        return share <= 0

    def _could_now(self, need: Need) -> bool:
        return any(worker.capacity.could(need) for worker in self._fleet.renewed)

    def _nearest(
        self, worker: Member, block: Block, low: int, high: int, now: float
    ) -> Iterator[tuple[Member, int, int]]:
        """Who gets which of the tasks whose turn it is at `worker`, run by run, and is given each
        before the next is looked at: those that take much from a store go to the worker of that
        store, unless all its slots are busy while this one idles, or it is full, or lacks something
        that they need."""
        if block.inputs is None or not self._ledger.inputs.stored:
            yield worker, low, high
            return
        start = low
        for i in range(low, high):
            best = self._fleet.workers.get(self._holders.best(block.inputs[i]), worker)
            if best is worker or not self._has_room(best, worker, block.need, now):
                continue
            if start < i:
                yield worker, start, i
            yield best, i, i + 1
            start = i + 1
        if start < high:
            yield worker, start, high

    def _has_room(self, best: Member, worker: Member, need: Need | None, now: float) -> bool:
        if need is not None:
            return best.fitting(need, now) > 0
        return (best.idle_slots if worker.idle_slots > 0 else best.room) > 0

    def _isolate(self, now: float) -> None:
        """Empty a worker for a task that must run alone, and give it that task."""
        quarantine = self._fleet.quarantine
        worker = quarantine.worker
        if worker is not None and quarantine.lease in worker.held:
            return  # one is alone there
        able = [each for each in self._fleet if each.takes and _suits(each, quarantine.need, now)]
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
        self._send_tasks(best, [row], now)

    def _lease_out(
        self, worker: Member, block: Block, low: int, high: int, now: float
    ) -> list[Any]:
        self._ledger.lease_out(block, low, high)
        lease = self._lease + 1
        self._lease += high - low
        held = worker.held
        self._fleet.rooms.touch(worker)
        for i in range(low, high):
            held[lease + i - low] = (block, i, now)
        if block.need is not None:
            for each in range(lease, lease + high - low):
                worker.capacity.take(each, block.need)
        self._ledger.note("given", block, low, high, lease=lease, worker=worker.who)
        if block.function not in worker.functions:
            worker.functions.add(block.function)
            name, code = self._ledger.functions[block.function]
            # the shell puts the code in: the core knows functions by digest
            self._send_to(worker, m.Function(block.function, name, code, None), now)
        if block.inputs is not None:
            self._taken.setdefault(worker.who, []).extend(_rows(block.inputs[low:high], lease))
        payloads = Slice(block.key, low, high)
        about = _about(block, low, high, lease)
        return [block.session, block.first + low, lease, block.function, about, payloads]

    def _send_tasks(self, worker: Member, pieces: list[list[Any]], now: float) -> None:
        """Send tasks, and before that what they take: the shell puts the values in."""
        for rows in _messages(self._taken.pop(worker.who, [])):
            stores: Stores = {}
            holders: Stores = {}
            if self._ledger.inputs.stored:
                ids = split(b"".join([row[2] for row in rows]))
                stores, holders = self._holders.told(dict.fromkeys(ids), worker)
            self._send_to(worker, m.Inputs(rows, stores, holders), now)
        self._send_to(worker, m.Tasks(pieces), now)

    def _send_to(self, worker: Member, message: m.Message, now: float) -> None:
        assert worker.peer is not None
        self._peers.send(worker.peer, message, now)

    def _recall(self, now: float) -> None:
        """Nothing is ready and some slot idles: take back what waits elsewhere."""
        rooms = self._fleet.rooms
        busiest = rooms.busiest
        if busiest is None or not rooms.idle_slots or busiest.recalled:
            return
        if now < busiest.recall_after:
            self.recall_at = busiest.recall_after
            return
        spare = busiest.spare
        self._fleet.recall_from(busiest, max(min(spare, rooms.idle_slots), spare // 2), now)


def _rows(inputs: list[bytes], lease: int) -> Iterator[list[Any]]:
    """Rows of INPUTS for what consecutive tasks take, under leases from `lease` on."""
    most = INPUTS_MAX * INPUT_BYTES
    first, size = lease, 0
    parts: list[bytes] = []
    for each, ids in enumerate(inputs, lease):
        if size + len(ids) > most:
            for at in range(0, len(ids), most):
                yield from _row(first, parts)
                first, parts = each, [ids[at : at + most]]
            size = len(parts[0])
        else:
            parts.append(ids)
            size += len(ids)
    yield from _row(first, parts)


def _messages(rows: list[list[Any]]) -> Iterator[list[list[Any]]]:
    """Those rows in messages, none of which has more than INPUTS_MAX inputs."""
    size = 0
    together: list[list[Any]] = []
    for row in rows:
        count = len(row[2]) // INPUT_BYTES
        if together and size + count > INPUTS_MAX:
            yield together
            together, size = [], 0
        together.append(row)
        size += count
    if together:
        yield together


def _row(first: int, parts: list[bytes]) -> Iterator[list[Any]]:
    """That of leases from `first` on which take these, if any does."""
    if any(parts):
        yield [first, [len(ids) // INPUT_BYTES for ids in parts], b"".join(parts), None, None]


def _about(block: Block, low: int, high: int, lease: int) -> dict[str, Any]:
    """What a worker is told of tasks [low, high) of a block: their options; of members of a group,
    which; and of those that have been begun in vain, how often they are begun by now."""
    about = block.options
    if block.group is not None:
        about = about | {"member": [block.group, block.index + low]}
    if block.tries:
        again = {i: tries for i, tries in block.tries.items() if low <= i < high}
        if again:
            attempts = [[lease + i - low, tries.count + 1] for i, tries in again.items()]
            about = about | {"attempts": attempts}
    return about


def _suits(worker: Member, need: Need | None, now: float) -> bool:
    """Whether `worker` has what a task asks for, if nobody else asks for it."""
    return need is None or worker.capacity.lacks(need, now) is None
