"""Clearing: what a worker's store lets go of.

It is removed behind all that is to be stored before it. What the router has asked for is told when
it is gone; on a new connection the router asks again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..protocol import messages as m
from ..task import key

if TYPE_CHECKING:
    from .worker import WorkerCore


class Clearing:
    """Of the store of the worker of `core`."""

    def __init__(self, core: WorkerCore) -> None:
        self._core = core
        self._rows: list[list[Any]] = []  # session, counter, lease: from this turn
        self._to_tell: list[list[Any]] = []  # those of them that the router has asked for
        self._going: dict[int, list[list[Any]]] = {}  # by ticket, what is told when it is gone

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
