"""Handover: what a worker that leaves has made goes to the store of another one.

It offers its results a page at a time, while the mesh goes on. Those that open tasks take, and
those that no client has fetched, are fetched by the home worker, or else by the peer that has
least. When that one has a result on its disk the record is changed, and names its store; when
that is on disk, the worker that leaves may let go of it. So a result has one recorded store at
each time, and that store has it, whoever dies meanwhile: what is not recorded as moved is where
it was. Nothing of this is on disk but the move itself: workers offer and adopt again on their
next connection.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from ..protocol import messages as m
from ..protocol.outcome import Ref
from ..protocol.stores import GOES, SPARE, STAYS
from ..task import key, unkey
from .eviction import Eviction
from .held import Held, Kept
from .member import Member
from .peers import Peer

if TYPE_CHECKING:
    from .router import RouterCore


class _Wanted:
    """What is to be adopted: its refs, by whom ("": by nobody yet), and who has been asked."""

    __slots__ = ("refs", "taker", "tried")

    def __init__(self, refs: list[Ref]) -> None:
        self.refs = refs
        self.taker = ""
        self.tried: list[str] = []


class _Page:
    """What a worker has offered, until all of it is settled."""

    def __init__(self, peer: Peer, rows: list[list[Any]]) -> None:
        self.peer = peer
        self.fates = {(key(session, counter), lease): SPARE for session, counter, lease in rows}
        self.waiting: dict[Kept, _Wanted] = {}


class Handover:
    """Has the workers of `core` adopt what others leave.

    Attributes:
        eviction: what goes from stores that are over their quota.
        left: stores of which something was adopted: who asks for them need not wait.
    """

    def __init__(self, core: RouterCore) -> None:
        self._core = core
        self._pages: dict[str, _Page] = {}
        self._taking: dict[str, set[Kept]] = {}  # who was told to adopt what, and has not yet
        self.left: set[str] = set()
        self.eviction = Eviction(core, self)

    # -- what is offered ---------------------------------------------------------------------

    def take_offer(self, worker: Member, message: m.Offer, now: float) -> None:
        """A worker says what it has, and that it leaves."""
        assert worker.peer is not None, "it has just been heard of"
        page = self._pages[worker.who] = _Page(worker.peer, message.rows)
        about = (worker.who, list(page.fates))
        self._core.lookups.ask("held", about, partial(self._found, worker.who, page))

    def _found(self, who: str, page: _Page, rows: list[Held], now: float) -> None:
        if self._pages.get(who) is not page:
            return  # it has dialled anew, and offers again
        for held in sorted(rows, key=lambda each: not self._is_needed(each)):
            if held.record is None:
                page.fates[held.task, held.lease] = GOES if held.is_moved else SPARE
            elif self._is_wanted(held):
                page.waiting[held.task, held.lease] = _Wanted(held.refs)
        self._assign(who, page, list(page.waiting), now)

    def _is_needed(self, held: Held) -> bool:
        return self._core.ledger.inputs.is_needed(held.task)

    def _is_wanted(self, held: Held) -> bool:
        """Whether another store is to have it."""
        if held.is_lost:
            return False
        return held.is_put or not held.is_fetched or self._is_needed(held)

    def _assign(self, who: str, page: _Page, names: list[Kept], now: float) -> None:
        """Have the next worker that may take these fetch them; what nobody takes, nor may take when
        it is back, stays."""
        orders: dict[str, list[Ref]] = {}
        able, away = self._takers(who)
        for name in names:
            wanted = page.waiting[name]
            takers = [each for each in able if each not in wanted.tried]
            wanted.taker = ""
            if takers:
                wanted.taker = takers[0]
                wanted.tried.append(takers[0])
                orders.setdefault(takers[0], []).extend(wanted.refs)
            elif not away:
                del page.waiting[name]
                page.fates[name] = STAYS
        for taker, refs in orders.items():
            self._order(self._core.fleet.workers[taker], who, refs, now)
        self._settle_if_done(who, page, now)

    def _takers(self, who: str) -> tuple[list[str], bool]:
        """Who may adopt what `who` leaves: the home worker first, then who has least. And whether
        somebody may who is away just now."""
        if self._core.stopping or self._core.stall.reason is not None:
            return [], False
        fleet = self._core.fleet
        others = [each for each in fleet if each.who not in self._pages and each.recorded]
        able = [each for each in others if fleet.place_of(each.who) is not None]
        able.sort(key=lambda each: (not each.about.get("home"), each.stored_bytes))
        return [worker.who for worker in able], len(able) < len(others)

    def _order(self, taker: Member, source: str, refs: list[Ref], now: float) -> None:
        place = self._core.fleet.place_of(source)
        if taker.peer is not None and place is not None:
            self._taking.setdefault(taker.who, set()).update((r.task, r.lease) for r in refs)
            rows = [[ref.packed] for ref in refs]
            self._core.peers.send(taker.peer, m.Adopt(rows, {source: place}), now)

    def is_taking(self, who: str, task: bytes, lease: int) -> bool:
        """Whether a worker is about to adopt what a lease has left. It may have had it before, and
        have been told to let go of that: not from now on."""
        return (task, lease) in self._taking.get(who, ())

    def _settle_if_done(self, who: str, page: _Page, now: float) -> None:
        if page.waiting:
            return
        del self._pages[who]
        if self._core.peers.by_id.get(page.peer.id) is page.peer:
            rows = [[*unkey(task), lease, fate] for (task, lease), fate in page.fates.items()]
            self._core.peers.send(page.peer, m.Settled(rows), now)

    # -- what is adopted ---------------------------------------------------------------------

    def adopted(self, worker: Member, message: m.Adopted, now: float) -> None:
        """A worker has adopted something, or says why not."""
        moved: dict[Kept, str] = {}
        failed: dict[str, list[Kept]] = {}
        for session, counter, lease, source, why in message.rows:
            name = (key(session, counter), lease)
            if not why:
                moved[name] = source
                at = now + self._core.ledger.ahead_s
                self._core.ledger.writes.append(("moved", *name, source, worker.who, at))
                continue
            self._taking.get(worker.who, set()).discard(name)
            page = self._pages.get(source)
            wanted = None if page is None else page.waiting.get(name)
            if wanted is not None and wanted.taker == worker.who:
                failed.setdefault(source, []).append(name)
        for source, names in failed.items():
            self._assign(source, self._pages[source], names, now)
        if moved:
            self._core.after_commit(partial(self._look, worker.who, moved))

    def _look(self, taker: str, moved: dict[Kept, str], now: float) -> None:
        """The moves are on disk: which of them were made? A record may have changed meanwhile."""
        about = (taker, list(moved))
        self._core.lookups.ask("held", about, partial(self._moved, taker, moved))

    def _moved(self, taker: str, moved: dict[Kept, str], rows: list[Held], now: float) -> None:
        ledger = self._core.ledger
        for held in rows:
            name, source = (held.task, held.lease), moved[held.task, held.lease]
            self._taking.get(taker, set()).discard(name)
            if held.record is None:  # it was made again, or forgotten, or has gone elsewhere
                ledger.writes.append(("drop", taker, *name, 0.0))
            else:
                self.left.add(source)
                ledger.recent.forget(held.task)
                self._core.holders.moved(held.task, held.lease, source, taker)
                ledger.kept.append((held.task, held.record))
                if ledger.journal.on:
                    session, counter = unkey(held.task)
                    ledger.journal.note(
                        "moved", session=session, first=counter, count=1, worker=taker
                    )
            page = self._pages.get(source)
            if page is not None and page.waiting.pop(name, None) is not None:
                page.fates[name] = GOES
                self._settle_if_done(source, page, now)

    # -- comings and goings, and time --------------------------------------------------------

    def greeted(self, worker: Member, now: float) -> None:
        """A worker is there (again): what it was to adopt it is told again; what it has offered
        it offers anew."""
        self._pages.pop(worker.who, None)
        self._taking.pop(worker.who, None)  # it has forgotten, too
        self.left.discard(worker.who)
        for source, page in self._pages.items():
            mine = [each for each in page.waiting.values() if each.taker == worker.who]
            self._order(worker, source, [ref for each in mine for ref in each.refs], now)
        self.tick(now)

    def tick(self, now: float) -> None:
        """What nobody was there to adopt, or one that is gone, somebody else is to; who has gone
        itself is forgotten."""
        workers = self._core.fleet.workers
        for known in (self._pages, self._taking):
            for who in known.keys() - workers.keys():
                del known[who]
        for who, page in list(self._pages.items()):
            gone = [name for name, each in page.waiting.items() if each.taker not in workers]
            if gone:
                self._assign(who, page, gone, now)
