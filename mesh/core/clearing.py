"""Clearing: what a worker's store lets go of.

It is removed behind all that is to be stored before it. What the router has asked for is told when
it is gone; on a new connection the router asks again.

A store may have a quota. When it is over that, copies go that no lease here takes, since others
have them; then the router is asked which of the oldest results may go. If none may, the worker
takes no new tasks until there is room; what runs is kept even so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..options import show_size
from ..protocol import messages as m
from ..protocol.outcome import parse_ref
from ..protocol.stores import FULL, GOES
from ..task import key
from .events import Oldest

if TYPE_CHECKING:
    from .worker import WorkerCore

#: So much of a quota is to be free when room was made: else it would be made for each result.
SPARE_PART = 0.05

#: Rows that the router is asked about at once.
OFFER_ROWS = 256

#: When nothing may go, it is asked again after this long.
FULL_S = 10.0

_FIRST = (-1, b"")


class Clearing:
    """Of the store of the worker of `core`.

    Attributes:
        quota_bytes: what the store should take at most; None: whatever there is room for.
        is_full: whether it is over that, and nothing may go.
    """

    def __init__(self, core: WorkerCore) -> None:
        self._core = core
        self.quota_bytes: int | None = None
        self.is_full = False
        self._rows: list[list[Any]] = []  # session, counter, lease: from this turn
        self._to_tell: list[list[Any]] = []  # those of them that the router has asked for
        self._going: dict[int, list[list[Any]]] = {}  # by ticket, what is told when it is gone
        self._is_asking = False  # the store, or the router
        self._behind: tuple[int, bytes] = _FIRST  # what the router has been asked about
        self._again_at = 0.0

    def drop(self, rows: list[list[Any]], *, told: bool = False) -> None:
        """Let go of what these leases have stored; the router is `told`, if it has asked."""
        self._rows += rows
        self._to_tell += rows if told else []

    def order(self) -> None:
        """Have it removed: the last of this turn's tickets."""
        if not self._rows:
            return
        orders = self._core.slots.orders
        rows, self._rows = self._rows, []
        orders.drop_ticket = self._core.slots.next_ticket()
        self._going[orders.drop_ticket], self._to_tell = self._to_tell, []
        orders.drop = [(key(session, counter), lease) for session, counter, lease in rows]
        for gone in orders.drop:
            self._core.slots.backlog.arrivals.gone(*gone)

    def committed(self, ticket: int, now: float) -> None:
        """What was to go under tickets up to this one is gone."""
        for each in [each for each in self._going if each <= ticket]:
            rows = self._going.pop(each)
            if rows and self._core.welcome is not None:  # else it is asked for again
                self._core.send(m.Dropped(rows), now)

    # -- the quota ---------------------------------------------------------------------------

    def forget(self) -> None:
        """The link is opened anew: what the router was asked it is asked again."""
        self._is_asking = False

    @property
    def _over_bytes(self) -> int:
        return 0 if self.quota_bytes is None else self._core.keeping.stored_bytes - self.quota_bytes

    def has_room(self, size: int) -> bool:
        """Whether so much more would be within the quota."""
        return self.quota_bytes is None or self._over_bytes + size <= 0

    def look(self, now: float) -> None:
        """See whether something is to go."""
        if self._over_bytes <= 0:
            self._behind = _FIRST
            if self.is_full:
                self.is_full = False
                self._core.send(m.Done([], self._core.window), now)
            return
        is_going = self._rows or self._going
        is_busy = self._is_asking or is_going or self._core.leaving is not None
        if not is_busy and now >= self._again_at:
            self._is_asking = True
            self._core.slots.orders.oldest_behind = self._behind

    def oldest(self, event: Oldest, now: float) -> None:
        """The store has said what it has had for longest."""
        assert self.quota_bytes is not None, "it was asked because of that"
        over = self._over_bytes + int(self.quota_bytes * SPARE_PART)
        taken = self._taken()
        gone = []
        for *row, size in event.copies:
            if over > 0 and (key(row[0], row[1]), row[2]) not in taken:
                gone.append(row)
                over -= size
        page = []
        for *row, size in event.own[:OFFER_ROWS] if over > 0 else ():
            if over > 0:
                page.append(row)
                over -= size
        self._is_asking = bool(page)
        if gone:
            self.drop(gone)
            self._say_lost(gone, now)
        if page:
            self._behind = (page[-1][2], key(page[-1][0], page[-1][1]))
            self._core.send(m.Offer(FULL, page), now)
        elif not gone:
            self._fill(now)

    def _taken(self) -> set[tuple[bytes, int]]:
        """The results that leases here take: task and lease."""
        pieces = dict.fromkeys(self._core.slots.held.values())
        refs = [ref for piece in pieces for each in piece.inputs.values() for ref in each.refs()]
        return {(ref.task, ref.lease) for ref in map(parse_ref, refs)}

    def _say_lost(self, rows: list[list[Any]], now: float) -> None:
        self._core.send(m.Lost([[*row, self._core.who] for row in rows]), now)

    def _fill(self, now: float) -> None:
        """Nothing may go, for now."""
        self._behind, self._again_at = _FIRST, now + FULL_S
        if not self.is_full:
            self.is_full = True
            self._core.give_back_all()
            assert self.quota_bytes is not None, "it has one"
            self._core.slots.orders.warning = (
                f"the store has more than its quota of {show_size(self.quota_bytes)}, and nothing "
                f"in it may go: it takes no new tasks"
            )

    def settled(self, message: m.Settled) -> None:
        """The router has said what may go."""
        self._is_asking = False
        self.drop([row[:3] for row in message.rows if row[3] == GOES])
