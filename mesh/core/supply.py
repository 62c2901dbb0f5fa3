"""Supply: what the worker's core hears and says about the inputs of its tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..protocol import messages as m
from ..protocol.outcome import RESULT, Ref, failure_body, stored_key
from ..task import key, show, unkey
from .backlog import Piece, Values
from .events import Arrived, Missed, TakenIn

if TYPE_CHECKING:
    from .worker import WorkerCore


#: Rows in one LOST.
LOST_ROWS = 4096


class Supply:
    """See the module. Of the worker of `core`.

    Attributes:
        missed_here: rows of LOST, of what the store should have and has not: to be told once.
    """

    def __init__(self, core: WorkerCore) -> None:
        self._core = core
        self._arrivals = core.slots.backlog.arrivals
        self._coming: dict[int, Values] = {}  # what the next TASKS take
        self.missed_here: list[list[Any]] = []

    def forget(self) -> None:
        """The link is opened anew: what was to come with it comes again."""
        self._coming = {}

    def recall_missed(self, missed: list[tuple[bytes, int]]) -> None:
        """What an earlier life has told, and is not here. Before the first HELLO."""
        self.missed_here = [[*unkey(task), lease, self._core.who] for task, lease in missed]

    def tell_missed(self, now: float) -> None:
        """Tell what the store should have and has not. If that is lost on its way, who looks for it
        tells."""
        rows, self.missed_here = self.missed_here, []
        for at in range(0, len(rows), LOST_ROWS):
            self._core.send(m.Lost(rows[at : at + LOST_ROWS]), now)

    def take_inputs(self, message: m.Inputs, now: float) -> None:
        """What the next tasks take."""
        self._arrivals.places |= message.stores
        self._arrivals.holders |= message.holders
        for lease, counts, _, kinds, bodies in message.rows:
            at = 0
            for each, count in enumerate(counts, lease):
                if count:
                    end = at + count
                    given = Values(kinds[at:end], bodies[at:end])
                    if each in self._coming:  # it takes more than fits into a row
                        before = self._coming[each]
                        given = Values(before.kinds + given.kinds, before.bodies + given.bodies)
                    self._coming[each] = given
                    at = end

    def take_tasks(self, message: m.Tasks, now: float) -> None:
        """New tasks, with what they take."""
        coming, self._coming = self._coming, {}
        for row in message.pieces:
            leases = range(row[2], row[2] + len(row[5]))
            inputs = {lease: coming[lease] for lease in leases if lease in coming} if coming else {}
            self._core.slots.take(Piece(row, inputs))
        self._arrivals.holders = {}

    def take_holders(self, message: m.Holders, now: float) -> None:
        """The answer to `where`."""
        self._arrivals.places |= message.stores
        self._arrivals.holders = message.holders
        self._core.slots.orders.moved += self._arrivals.moved()
        self._arrivals.holders = {}

    def where(self, refs: list[Ref], now: float) -> None:
        """The shell has trouble with the holders of these: ask for others."""
        if self._core.welcome is not None:
            rows: list[list[Any]] = [[*unkey(ref.task), ref.lease, ref.holder] for ref in refs]
            self._core.send(m.Where(rows), now)

    def relay(self, message: m.Relay) -> None:
        """Something that the shell asks, or answers, by way of the router. It may be lost."""
        if self._core.welcome is not None:
            self._core.slots.orders.sends.append(self._core.link.stamp(message))

    def arrived(self, event: Arrived, now: float) -> None:
        """An input is here, and can be had from here."""
        ref = event.ref
        self._core.slots.backlog.came(ref.key)
        self._core.adoption.arrived(ref)
        if ref.holder != self._core.who and self._core.welcome is not None:
            self._core.send(m.Copied([[*unkey(ref.task), ref.lease]]), now)

    def taken_in(self, event: TakenIn, now: float) -> None:
        """What clients have left here is in the store, and need not be looked for, or is not."""
        for session, counter, why in event.rows:
            if not why:
                self._core.slots.backlog.came(stored_key(key(session, counter), counter, RESULT))
        if self._core.welcome is not None:  # else it is asked for again
            self._core.send(m.Taken(event.rows), now)

    def missed(self, event: Missed, now: float) -> None:
        """An input cannot be had: the router hears who has lost it before what that leads to."""
        session, counter = unkey(event.ref.task)
        self._core.adoption.missed(event.ref, event.reason, now)
        rows: list[list[Any]] = [[session, counter, event.ref.lease, s] for s in event.lost]
        if rows and self._core.welcome is not None:
            self._core.send(m.Lost(rows), now)
        error = "ResultLost" if rows else "ResultUnreachable"
        text = f"its input {show(session, counter)} did not come: {event.reason}"
        body = failure_body(error, text, self._core.about.get("host", ""))
        self._core.slots.astray(event.ref.key, body)
