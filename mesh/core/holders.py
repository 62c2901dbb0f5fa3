"""Holders: which stores have the results that tasks take, and which tasks wait for one of them.

A stored result is with the store that its ref names, and with whoever has said that it has a copy.
Holders are named in an order that changes from one asker to the next: what many take goes from
worker to worker, not from one source to all. A task of which an input is with stores alone whose
workers are away is not dispatched: it waits until one of them greets. Copies are forgotten with the
last task that takes them; those of a router's last life it never hears of.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..protocol import messages as m
from ..protocol.inputs import split
from ..task import key, show, unkey
from .block import Block
from .events import Settings
from .input import Input
from .ledger import Ledger
from .life import Cause
from .member import Member
from .peers import Peers

if TYPE_CHECKING:
    from .fleet import Fleet

#: So many holders of one result are named at once.
NAMED_MAX = 4

#: Of the inputs of one task, so many are weighed: of more the next ones will hardly decide.
WEIGHED_MAX = 256

#: Inputs of fewer bytes are brought sooner than it takes to think about where they are.
LARGE_BYTES = 64 * 1024

#: Where stores are, and who holds what: fields of INPUTS and HOLDERS.
Stores = dict[str, list[str]]


class Holders:
    """The holders of the inputs in `ledger`, which are workers of `fleet`. A store that was away
    for `store_lost_after_s` is gone, and so are those that were declared `gone`."""

    def __init__(
        self, ledger: Ledger, fleet: Fleet, peers: Peers, settings: Settings, gone: set[str]
    ) -> None:
        self._inputs = ledger.inputs
        self._ledger = ledger
        self._fleet = fleet
        self._peers = peers
        self._lost_after_s = settings.store_lost_after_s
        self._gone = gone
        self._away_since: dict[str, float] = {}  # stores that tasks wait for

    # -- what workers say --------------------------------------------------------------------

    def take_copied(self, worker: Member, message: m.Copied, now: float) -> None:
        """A worker has fetched something."""
        for session, counter, lease in message.leases:
            task = key(session, counter)
            self._ledger.writes.append(("copied", task, lease, worker.who))
            entry = self._inputs.get(task)
            if entry is None or entry.result is None or entry.result.lease != lease:
                continue  # nobody needs it any more
            if worker.who not in (entry.result.store, *entry.copies):
                entry.copies.append(worker.who)

    def take_where(self, worker: Member, message: m.Where, now: float) -> None:
        """A worker asks for holders, and where they are."""
        tasks = []
        named = set()
        for session, counter, lease, store in message.leases:
            entry = self._inputs.get(key(session, counter))
            if entry is not None and entry.result is not None and entry.result.lease == lease:
                tasks.append(key(session, counter))
            named.add(store)
        stores, holders = self.told(tasks, worker)
        stores |= self._places(named)
        if worker.peer is not None:
            self._peers.send(worker.peer, m.Holders(stores, holders), now)

    def greeted(self, store: str) -> None:
        """A worker has come (back): what waited for its store is ready."""
        if store in self._gone:
            self._gone.remove(store)
            self._ledger.writes.append(("gone", store, False))
        self.release(store)

    def forget(self, store: str, now: float) -> None:
        """A worker does not come back, nor does its store: what tasks wait for there is lost."""
        self._fleet.lose(self._fleet.workers.get(store), None, now)
        self._gone.add(store)
        self._ledger.writes.append(("gone", store, True))
        self._ledger.journal.note("store gone", worker=store)
        self.tick(now)

    def release(self, store: str) -> None:
        """What waited for a store is looked at anew."""
        stranded = self._inputs.stranded
        for (block, i), stores in list(stranded.items()):
            if store in stores:
                del stranded[block, i]
                self._inputs.release(block, i)

    def moved(self, task: bytes, lease: int, source: str, target: str) -> None:
        """What `lease` of a task left in `source` is with `target`: what waited for the one may
        have the other."""
        self._inputs.moved(task, lease, source, target)
        self.release(source)

    def tick(self, now: float) -> None:
        """A store on which no worker has been for `store_lost_after_s` is gone: what tasks wait for
        there is lost. It is so for who waits now; if the store comes back after all, its results
        are as good as they were."""
        for store in [store for store in self._away_since if store in self._fleet.workers]:
            del self._away_since[store]
        stranded = self._inputs.stranded
        for (block, i), stores in list(stranded.items()):
            if all([self.is_gone(store, now) for store in stores]):  # each is looked at
                del stranded[block, i]
                for task in split(block.inputs[i]):  # type: ignore[index]  # it has some
                    entry = self._inputs.get(task)
                    if entry is None or entry.result is None:
                        continue
                    if all([self.is_gone(store, now) for store in self._stores(entry)] or [False]):
                        self._ledger.recovery.lost(task, entry.result.lease, entry.result.store)
                block.is_doubtful = True
                self._inputs.release(block, i)

    def is_gone(self, store: str, now: float) -> bool:
        """Whether a store has been away for so long that nobody waits for it any more, counted from
        when somebody first did."""
        if store in self._fleet.workers:
            return False
        if store in self._gone:
            return True
        return now - self._away_since.setdefault(store, now) > self._lost_after_s

    # -- for dispatch ------------------------------------------------------------------------

    def hold(self, block: Block, low: int, high: int) -> bool:
        """Whether queued tasks among these take something whose holders are all away: those wait,
        the others are ready."""
        if not self._inputs.stored:
            return False
        held = False
        for i in range(low, high):
            stores = self._all_away(block.inputs[i])  # type: ignore[index]  # it has some
            if stores:
                self._inputs.stranded[block, i] = stores
                self._ledger.move(block, i, Cause.HELD)
                held = True
        if held:
            for start, end in reversed(list(block.queued_runs(low, high))):
                self._ledger.released(block, start, end, first=True)
        return held

    def _all_away(self, ids: bytes) -> list[str]:
        """The holders of the first input that nobody serves now, if there is such a one."""
        for task in split(ids):
            stores = self._stores(self._inputs.get(task))
            if stores and not any(map(self._is_here, stores)):
                return stores
        return []

    def best(self, ids: bytes) -> str:
        """The store that has most bytes of what a task takes, if they are many; else ""."""
        if not self._inputs.stored:
            return ""
        sizes: dict[str, int] = {}
        total = 0
        for task in split(ids)[:WEIGHED_MAX]:
            entry = self._inputs.get(task)
            for store in self._stores(entry):
                assert entry is not None and entry.result is not None
                sizes[store] = sizes.get(store, 0) + entry.result.size
            total += 0 if entry is None or entry.result is None else entry.result.size
        return max(sizes, key=sizes.__getitem__) if total >= LARGE_BYTES else ""

    def told(self, tasks: Iterable[bytes], asker: Member) -> tuple[Stores, Stores]:
        """Where the stores are that hold these, and of which of them there are several holders."""
        stores: set[str] = set()
        holders: Stores = {}
        for task in tasks:
            entry = self._inputs.get(task)
            if entry is None or not (known := self._stores(entry)):
                continue
            if len(known) > 1 or entry.turn:  # else it is the one that the ref names
                known = [each for each in known if each != asker.who and self._is_here(each)]
                entry.turn += 1
                at = entry.turn % max(len(known), 1)
                known = (known[at:] + known[:at])[:NAMED_MAX]
                holders[show(*unkey(task))] = known
            stores.update(known)
        return self._places(stores), holders

    def _stores(self, entry: Input | None) -> list[str]:
        """Who holds an input, away or not; nobody, if it is inline."""
        if entry is None or entry.result is None or not entry.result.store:
            return []
        return [entry.result.store, *entry.copies]

    def _is_here(self, store: str) -> bool:
        worker = self._fleet.workers.get(store)
        return worker is not None and worker.peer is not None

    def _places(self, stores: Iterable[str]) -> Stores:
        places = {store: self._fleet.place_of(store) for store in stores}
        return {store: place for store, place in places.items() if place is not None}

    # -- for display -------------------------------------------------------------------------

    def waits_for(self, block: Block, i: int) -> str | None:
        """Why a task waits, if that is for a store."""
        stores = self._inputs.stranded.get((block, i))
        if stores is None:
            return None
        names = " or ".join(stores)
        return f"store {names}, which holds an input of it: that store's worker is away"
