"""Parting: a worker that leaves, while the mesh goes on, offers what its store holds to others.

A page at a time, while what runs here still runs; and once more when that has ended and is
recorded. It goes when the router has said of each page what becomes of it, or when its time is
over. What others have by then it lets go of as it leaves.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ..protocol import messages as m
from ..protocol.stores import GOES, LEAVES, STAYS
from ..task import key
from .events import Listed

if TYPE_CHECKING:
    from .worker import WorkerCore

#: Leases in one OFFER. They are fetched several at once, and the next page waits for the slowest.
OFFER_ROWS = 256

#: Without a router it waits so long for one: that of a mesh that ends does not come back.
PATIENCE_S = 3.0


class Parting:
    """Of the worker of `core`.

    Attributes:
        gone: rows of what others have taken over.
        is_fleeting: whether the store goes with its worker, if nothing stays there that is needed.
        is_closed: whether the router was told that it does.
    """

    def __init__(self, core: WorkerCore) -> None:
        self._core = core
        self.gone: list[list[Any]] = []
        self.is_fleeting = self.is_closed = False
        self._until: float | None = None  # when its time is over; None: it hands over nothing
        self._behind: bytes | None = b""  # where the next page begins; None: that was the last
        self._page: list[list[Any]] = []  # offered, and not settled
        self._is_listing = False
        self._is_due = False  # it goes on by itself
        self._is_last_round = False  # nothing ran any more when it began
        self._taken: set[tuple[bytes, int]] = set()  # what is gone
        self._lonely_since = math.inf
        self._stays = False  # whether something that is needed stays here

    def begin(self, until: float) -> None:
        """Hand over what is here, until then."""
        self._until = until

    def hurry(self, until: float) -> None:
        """There is no more time than until then."""
        if self._until is not None:
            self._until = min(self._until, until)

    def end(self) -> None:
        """Hand over no more: the mesh ends, or there is no time."""
        self._until = None

    def rest(self, seconds: float) -> None:
        """This process was stopped for so long."""
        self._lonely_since += seconds

    @property
    def is_complete(self) -> bool:
        """Whether all was offered, and of all it is known what becomes of it."""
        return self._is_last_round and self._behind is None and not self._page

    def is_over(self, now: float) -> bool:
        """Whether there is nothing left to hand over, or no time for it."""
        if self._until is None or now >= self._until or self.is_complete:
            return True
        return now >= self._lonely_since + PATIENCE_S

    def deadline(self, now: float) -> float:
        """When it goes on, or is over, at the latest."""
        if self._is_due:
            return now
        times = () if self._until is None else (self._until, self._lonely_since + PATIENCE_S)
        return min((at for at in times if at > now), default=math.inf)

    def go_on(self, is_quiet: bool, now: float) -> None:
        """Have the next page listed. `is_quiet`: nothing more will be stored here."""
        self._is_due = False
        is_lonely = self._core.welcome is None
        self._lonely_since = min(self._lonely_since, now) if is_lonely else math.inf
        if is_lonely or self.is_over(now) or self._page or self._is_listing:
            return
        if self._behind is None and is_quiet and not self._is_last_round:
            self._behind = b""
        if self._behind is not None:
            if not self._behind:
                self._is_last_round, self._stays = is_quiet, False
            self._is_listing = True
            self._core.slots.orders.list_behind = self._behind

    def listed(self, event: Listed, now: float) -> None:
        """The store has told what it holds."""
        self._is_listing = False
        self._behind = event.behind
        rows = [row for row in event.rows if (key(*row[:2]), row[2]) not in self._taken]
        self._page = rows
        self._is_due = True
        self.offer(now)

    def offer(self, now: float) -> None:
        """Tell the router, or tell it again on a new connection, if there is one."""
        if self._page and self._core.welcome is not None:
            self._core.send(m.Offer(LEAVES, self._page), now)

    def say_goodbye(self, now: float) -> None:
        """The last words: also that the store goes along, if nobody needs what is left in it."""
        self.is_closed = (
            self.is_fleeting and self._until is not None and self.is_complete and not self._stays
        )
        if self.is_closed:
            self._core.send(m.Closed(), now)
        self._core.send(m.Bye(), now)

    def settled(self, message: m.Settled, now: float) -> None:
        """The router says what becomes of what was offered, here or for want of room."""
        if not self._page or not message.rows or message.rows[0][:3] not in self._page:
            self._core.clearing.settled(message)
            return
        for session, counter, lease, fate in message.rows:
            if fate == GOES:
                self._taken.add((key(session, counter), lease))
                self.gone.append([session, counter, lease])
            self._stays |= fate == STAYS
        self._page = []
