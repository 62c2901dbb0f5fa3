"""The workers as the router sees them: what each holds, how much more it takes, who is next,
and what becomes of its leases.

Credit is a *window*: how many leases a worker will hold at once, told anew with every message that
changes it. The router fills windows and never exceeds them, so no queue elsewhere needs a
high-water mark. Placement first gives every idle slot one task, then shares the rest evenly,
so that few tasks spread over many hosts and many tasks travel in long runs.

A lease is given back (counts as nothing), answered, or lost with its worker. Only what had begun
counts as lost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from ..options import option
from ..protocol import messages as m
from ..protocol.outcome import failure_body
from ..task import ENDED, SUCCESS, Kind, State
from .block import Block, Tries
from .events import Settings
from .ledger import INTERRUPTED, Given, Ledger
from .life import Cause
from .member import Demand, Member
from .peers import Peer, Peers
from .quarantine import Quarantine
from .rooms import Rooms

_RUNNING = int(State.RUNNING)

#: A task whose input did not come is given out again after this long: the wire has had a rest.
ASTRAY_PAUSE_S = 1.0

#: After a recall that brought nothing the next one waits: what a worker holds has begun.
RECALL_PAUSE_S = 0.05


class Fleet:
    """All workers, by store id.

    Attributes:
        rooms: who has room.
        renewed: whose capacity was told since this was emptied: they may be able to run what nobody
            could.
        quarantine: who is set aside.
    """

    def __init__(self, ledger: Ledger, peers: Peers, settings: Settings) -> None:
        self.workers: dict[str, Member] = {}
        self._ledger = ledger
        self._peers = peers
        self._settings = settings
        self.rooms = Rooms()
        self.renewed: dict[Member, None] = {}
        self.quarantine = Quarantine(self.rooms)

    def __iter__(self) -> Iterator[Member]:
        return iter(self.workers.values())

    # -- coming and going --------------------------------------------------------------------

    def greet(self, peer: Peer, hello: m.Hello, now: float) -> Member:
        """A worker says HELLO: new, come back, or anew on the same store."""
        worker = self.workers.get(hello.who)
        if worker is not None and worker.incarnation != hello.incarnation:
            self.lose(worker, "was replaced by a new one on the same store", now)
            worker = None
        if worker is None:
            worker = self.workers[hello.who] = Member(hello.who, hello.incarnation, hello.about)
            self._ledger.writes.append(("worker", hello.who, hello.about))
            self._ledger.journal.note(
                "joined", worker=hello.who, host=hello.about.get("host"), slots=worker.slots
            )
        worker.peer, worker.away_since = peer, None
        worker.functions = set()
        worker.recalled = False
        worker.compare_clocks(hello.about, now + self._ledger.ahead_s)
        worker.window = int(hello.about.get("window", worker.window))
        worker.capacity.told(worker.slots, hello.about, {"ends_s": None} | hello.about, now)
        self.renewed[worker] = None
        worker.capacity.give_back(worker.strays)
        in_hand = {row[0] for row in hello.held}
        lost = [lease for lease in worker.held if lease not in in_hand]
        self._requeue(worker, lost, Cause.RETURNED, now)
        worker.capacity.give_back(lost)
        self._no_answer(worker, now)
        worker.strays = {}
        over = [row[0] for row in hello.held if not self._reclaim(worker, row, now)]
        if over:
            self._peers.send(peer, m.Kill(over), now)
        self.rooms.touch(worker)
        return worker

    def is_recorded(self, worker: Member) -> None:
        """The roster has `worker`, on disk."""
        worker.recorded = True
        if self.workers.get(worker.who) is worker:  # else it is gone by now
            self.rooms.touch(worker)

    def _reclaim(self, worker: Member, row: list[Any], now: float) -> bool:
        """A worker says that it holds a lease, perhaps of an earlier router or one that was given
        up. False if its task has ended, or the run has failed and was counted, which its worker
        will only say again: nobody waits for what it may still run."""
        lease, session, counter = row
        found = self._ledger.blocks.find(session, counter)
        if found is None or found[0].states[found[1]] >= ENDED:
            return False
        if found[1] in found[0].tries and lease in found[0].tries[found[1]].failed:
            return False
        if lease not in worker.held:
            is_running = found[0].states[found[1]] == _RUNNING
            if not is_running or self._is_overtaken(found, lease):
                if not is_running:
                    self._ledger.inputs.stop_waiting(*found)
                    self._ledger.move(found[0], found[1], Cause.DISPATCHED)
                worker.held[lease] = (*found, now)
                self._ledger.note("reclaimed", *found, lease=lease, worker=worker.who)
            else:
                worker.strays[lease] = (*found, now)
            if found[0].need is not None:
                worker.capacity.take(lease, found[0].need)
        return True

    def _is_overtaken(self, task: tuple[Block, int], lease: int) -> bool:
        """Whether who holds a running task has it under an earlier lease than `lease`, and is a
        stray from now on: the last router gave it to another, and died before that was on disk."""
        for worker in self if lease < self._ledger.doubted_below else ():
            for held, given in worker.held.items():
                if given[:2] == task and held < lease:
                    worker.strays[held] = worker.held.pop(held)
                    self.rooms.touch(worker)
                    return True
        return False

    def away(self, peer: Peer, now: float) -> None:
        """A worker's connection is gone; it may come back, and `tick` gives it up if not."""
        worker = self.workers.get(peer.who)
        if worker is not None and worker.peer is peer:
            worker.peer = None
            self.rooms.touch(worker)
            self._ledger.journal.note("away", worker=worker.who)
            self._no_answer(worker, now)

    def tick(self, now: float) -> None:
        """Give up who has been away for too long; end strays whose task has ended elsewhere."""
        for worker in list(self):
            worker.capacity.is_over = now >= worker.capacity.ends_at
            if worker.capacity.is_over:
                self.rooms.touch(worker)
            strays = worker.strays.items()
            over = [lease for lease, (block, i, _) in strays if block.states[i] >= ENDED]
            if over and worker.peer is not None:
                for lease in over:
                    del worker.strays[lease]
                worker.capacity.give_back(over)
                self.rooms.touch(worker)
                self._peers.send(worker.peer, m.Kill(over), now)
            if worker.peer is not None:
                worker.away_since = None
            elif worker.away_since is None:
                worker.away_since = now
            elif now - worker.away_since > self._settings.lost_after_s:
                self.lose(worker, "lost its connection and did not return", now)

    def lose(self, worker: Member | None, reason: str | None, now: float) -> None:
        """Forget `worker`; without a `reason` it left on purpose, and that counts as nothing."""
        if worker is None or self.workers.get(worker.who) is not worker:
            return
        del self.workers[worker.who]
        self._ledger.writes.append(("worker", worker.who, None))
        if worker.begun:
            self._ledger.writes.append(("begun", worker.who, None))
        self._ledger.journal.note(
            "left" if reason is None else "gone", worker=worker.who, why=reason
        )
        leases = list(worker.held)
        if reason is None:
            if self.quarantine.worker is worker:
                self.quarantine.release()
            self._requeue(worker, leases, Cause.RETURNED, now)
        else:
            self._lost(worker, leases, reason, now)
        self._no_answer(worker, now)
        self.rooms.drop(worker)
        self.renewed.pop(worker, None)

    def _lost(self, worker: Member, leases: list[int], reason: str, now: float) -> None:
        host = str(worker.about.get("host", "?"))
        alone = 0
        if self.quarantine.worker is worker:
            alone = self.quarantine.lease
            self.quarantine.release()
        # It begins tasks in the order it got them: those in its slots are the oldest.
        begun = leases[: worker.slots]
        self._requeue(worker, leases[worker.slots :], Cause.RETURNED, now)
        for lease in reversed(begun):
            given = worker.held.pop(lease)
            block, i, _ = given
            if block.states[i] != _RUNNING:
                continue
            tries = block.tries.setdefault(i, Tries())
            tries.worker_losses += 1
            body = failure_body("WorkerLost", f"the worker {reason}", host)
            self._ledger.ran(given, lease, worker.who, Kind.WORKER_LOST, body, now)
            if not self._is_suspect(tries):
                self._ledger.again(block, i, Cause.LOST, lease, worker.who, now)
            elif lease != alone:
                self._ledger.again(block, i, Cause.ISOLATED, lease, worker.who, now)
                self.quarantine.add(block, i)
            else:
                text = f"lost with its worker {tries.worker_losses} times, the last time alone"
                body = failure_body("WorkerLost", f"{text} on {host}: it {reason}", host)
                self._ledger.end(block, i, Kind.WORKER_LOST, lease, body, worker.who)

    def take_report(self, worker: Member, message: m.Report, now: float) -> None:
        """A worker says what its slots run: recorded, for who comes after this router."""
        worker.compare_clocks(message.about, now + self._ledger.ahead_s)
        has = worker.capacity.has
        begun = worker.report(message, now)
        if worker.capacity.has != has:
            self.renewed[worker] = None
        self.rooms.touch(worker)
        if begun != worker.begun:
            before, worker.begun = worker.begun, begun
            rows = []
            for lease in begun:
                block, i, since = worker.held[lease]
                if lease not in before:
                    self._ledger.note("begun", block, i, lease=lease, worker=worker.who)
                at = since + self._ledger.ahead_s
                rows.append([block.session, block.first + i, lease, at])
            about = [worker.incarnation, rows] if rows else None
            self._ledger.writes.append(("begun", worker.who, about))

    def _is_suspect(self, tries: Tries) -> bool:
        """Whether a task was lost with its worker as often as is allowed."""
        return tries.worker_losses >= self._settings.worker_losses_max

    def _requeue(self, worker: Member, leases: Iterable[int], cause: Cause, now: float) -> None:
        """What `worker` had not begun goes elsewhere, and goes first."""
        spans: list[tuple[Block, int, int]] = []
        begun = set(worker.begun)
        for lease in leases:
            entry = worker.held.pop(lease, None)
            if entry is None or entry[0].states[entry[1]] != _RUNNING:
                continue
            block, i, _ = entry
            self._ledger.note("returned", block, i, lease=lease, worker=worker.who)
            if lease in begun:
                self._ledger.ran(entry, lease, worker.who, INTERRUPTED, b"", now)
            if i in block.tries and self._is_suspect(block.tries[i]):
                self._ledger.move(block, i, Cause.ISOLATED)
                self.quarantine.add(block, i)
                continue
            self._ledger.move(block, i, cause)
            if spans and spans[-1][0] is block and spans[-1][2] == i:
                spans[-1] = (block, spans[-1][1], i + 1)
            else:
                spans.append((block, i, i + 1))
        for span in reversed(spans):
            self._ledger.ready.push(*span, first=True)

    # -- outcomes ----------------------------------------------------------------------------

    def take_done(self, worker: Member, message: m.Done, now: float) -> None:
        """What a worker has finished. Failures count only from the lease that holds the task."""
        worker.window = message.window
        self.rooms.touch(worker)
        store = worker.who.encode("ascii")
        for session, counters, leases, kinds, bodies in message.runs:
            if not len(counters) == len(leases) == len(kinds) == len(bodies):
                continue  # not a row: nothing in it can be told apart
            entries = [worker.held.pop(lease, None) for lease in leases]
            if worker.capacity.by_lease:
                worker.capacity.give_back(leases)
            for lease in leases if worker.strays else ():
                worker.strays.pop(lease, None)
            for nth, kind in enumerate(kinds):
                if kind not in SUCCESS:
                    entry, entries[nth] = entries[nth], None
                    if entry is not None and entry[0].states[entry[1]] == _RUNNING:
                        self._failed(worker, entry, kind, leases[nth], bodies[nth], now)
                elif entries[nth] is None:  # late, of a lease that was given up: still welcome
                    found = self._ledger.blocks.find(session, counters[nth])
                    if found is not None:
                        entries[nth] = (*found, now)
                    elif kind == Kind.STORED:
                        late = (session, counters[nth], leases[nth], worker.who)
                        self._ledger.late.append(late)
            self._ledger.succeeded(session, counters, leases, kinds, bodies, entries, store)

    def _failed(
        self, worker: Member, given: Given, kind: int, lease: int, body: Any, now: float
    ) -> None:
        """A run that held the current lease did not succeed: again, or the end."""
        block, i, _ = given
        if kind == Kind.ERROR:
            tries = block.tries.get(i)
            if option(block.options, "retries") > (tries.errors if tries is not None else 0):
                tries = block.tries.setdefault(i, Tries())
                tries.errors += 1
                tries.note_failed(lease)
                self._ledger.ran(given, lease, worker.who, kind, body, now)
                self._ledger.again(block, i, Cause.RETRIED, lease, worker.who, now)
                return
        elif kind == Kind.SLOT_LOST:
            tries = block.tries.setdefault(i, Tries())
            tries.slot_losses += 1
            tries.note_failed(lease)
            self._ledger.ran(given, lease, worker.who, kind, body, now)
            if tries.slot_losses < self._settings.slot_losses_max:
                self._ledger.again(block, i, Cause.LOST, lease, worker.who, now)
                return
        elif kind == Kind.ASTRAY:
            self._astray(worker, given, lease, body, now)
            return
        else:
            self._ledger.ran(given, lease, worker.who, kind, body, now)
        self._ledger.end(block, i, kind, lease, body, worker.who)

    def _astray(self, worker: Member, given: Given, lease: int, body: Any, now: float) -> None:
        """A task could not begin, because an input did not come to `worker`: it waits until that
        has been made again, if it is lost, else a moment, and that counts as nothing."""
        block, i, _ = given
        self._ledger.note("astray", block, i, lease=lease, worker=worker.who, body=body)
        self._ledger.move(block, i, Cause.RETURNED)
        if block.inputs is None or not self._ledger.inputs.is_held(block, i):
            self._ledger.move(block, i, Cause.HELD)
            self._ledger.due.pause(block, i, ASTRAY_PAUSE_S, now)

    def take_returned(self, worker: Member, message: m.Returned, now: float) -> None:
        """A worker gives back what it has not begun."""
        worker.window = message.window
        self.rooms.touch(worker)
        self._requeue(worker, message.leases, Cause.RETURNED, now)
        for lease in message.leases if worker.strays else ():
            worker.strays.pop(lease, None)
        worker.capacity.give_back(message.leases)
        worker.recalled = False
        if not message.leases:
            worker.recall_after = now + RECALL_PAUSE_S
        asked, worker.asked = worker.asked, []
        _settle(asked, now)
        if worker.wanted:
            self.recall_from(worker, 0, now)

    def demand(
        self, tasks: set[tuple[Block, int]], answered: Callable[[int, float], None], now: float
    ) -> None:
        """Have these running tasks given back, unless they have begun: see `Demand`. Those given
        back are queued when `answered` is called. Who is away is not asked."""
        demand = Demand(answered)
        for worker in self:
            leases = [lease for lease, entry in worker.held.items() if entry[:2] in tasks]
            if leases and worker.peer is not None:
                demand.left += 1
                worker.wanted.append((demand, leases))
                if not worker.recalled:
                    self.recall_from(worker, 0, now)
        if not demand.left:
            answered(0, now)

    def _no_answer(self, worker: Member, now: float) -> None:
        """Who waits for what `worker` gives back waits in vain."""
        waiting = worker.asked + [demand for demand, _ in worker.wanted]
        worker.asked, worker.wanted = [], []
        _settle(waiting, now)

    def holders(self) -> dict[tuple[Block, int], tuple[Given, int, str]]:
        """Of each task that a worker has been given: since when, its lease, and the worker."""
        return {
            given[:2]: (given, lease, worker.who)
            for worker in self
            for lease, given in worker.held.items()
        }

    @property
    def home(self) -> Member | None:
        """The worker on the router's host that takes what clients put, if it is there."""
        for worker in self:
            if worker.peer is not None and worker.recorded and worker.about.get("home"):
                return worker
        return None

    def place_of(self, store: str) -> list[str] | None:
        """Where a store is served: the address, the host, and the folder there; None while its
        worker is away."""
        worker = self.workers.get(store)
        if worker is None or worker.peer is None or "data" not in worker.about:
            return None
        return [str(worker.about.get(what, "")) for what in ("data", "host", "content")]

    def kill_cancelled(self, now: float) -> None:
        """Have workers end what they run of tasks that were cancelled."""
        for worker in self:
            leases = [
                lease
                for lease, (block, i, _) in worker.held.items()
                if block.states[i] == State.CANCELLED
            ]
            if leases and worker.peer is not None:
                self._peers.send(worker.peer, m.Kill(leases), now)

    def recall_from(self, worker: Member, count: int, now: float) -> None:
        """Ask for what is wanted back, and `count` others."""
        assert worker.peer is not None
        leases = [lease for _, wanted in worker.wanted for lease in wanted]
        worker.asked, worker.wanted = [demand for demand, _ in worker.wanted], []
        worker.recalled = True
        self._peers.send(worker.peer, m.Recall(count, leases), now)

    def check(self) -> None:
        """Raise AssertionError unless each running task is held exactly once."""
        held: dict[tuple[bytes, int], str] = {}
        for worker in self:
            assert not worker.held.keys() & worker.strays.keys(), worker.who
            worker.capacity.check(worker.held | worker.strays)
            for block, i, _ in worker.held.values():
                if block.states[i] == _RUNNING:
                    assert (block.key, i) not in held, f"{block.key!r}[{i}] is held twice"
                    held[block.key, i] = worker.who
        for block in self._ledger.blocks:
            for i, state in enumerate(block.states):
                assert state != _RUNNING or (block.key, i) in held, f"{block.key!r}[{i}] is nowhere"


def _settle(demands: list[Demand], now: float) -> None:
    """One of the workers that each waits for has answered, or will not."""
    for demand in demands:
        demand.left -= 1
        demand.answered(demand.left, now)
