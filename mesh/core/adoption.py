"""Adoption: what another worker leaves is fetched, and kept as if it had been made here.

The shell brings it as it brings inputs. All that a lease has stored is here before the store is
told that these copies are its own; when that is committed, the router is told. It asks again on the
next connection for what it has not been told of.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..protocol import messages as m
from ..protocol.outcome import Ref, parse_ref
from ..task import unkey
from .events import Owned

if TYPE_CHECKING:
    from .worker import WorkerCore


class _Wanted:
    """What a lease has stored, and which of that is not here yet."""

    __slots__ = ("missing", "refs")

    def __init__(self) -> None:
        self.refs: list[Ref] = []
        self.missing: set[bytes] = set()


class Adoption:
    """Of the worker of `core`."""

    def __init__(self, core: WorkerCore) -> None:
        self._core = core
        self._wanted: dict[tuple[bytes, int], _Wanted] = {}

    def forget(self) -> None:
        """The link is opened anew: it is asked for again."""
        self._wanted.clear()

    def take_adopt(self, message: m.Adopt, now: float) -> None:
        """The router wants something kept here."""
        refs = [parse_ref(row[0]) for row in message.refs]
        why = self._why_not(sum(ref.size for ref in refs))
        if why:
            for task, lease, holder in {(ref.task, ref.lease, ref.holder) for ref in refs}:
                self._core.send(m.Adopted([[*unkey(task), lease, holder, why]]), now)
            return
        arrivals = self._core.slots.backlog.arrivals
        arrivals.places |= message.stores
        for ref in refs:
            wanted = self._wanted.setdefault((ref.task, ref.lease), _Wanted())
            if ref.key not in wanted.missing:
                wanted.refs.append(ref)
                wanted.missing.add(ref.key)
                arrivals.want(ref)

    def _why_not(self, size: int) -> str:
        """Why so much cannot be kept here; "" if it can."""
        if self._core.leaving is not None:
            return "this worker leaves, too"
        if not self._core.clearing.has_room(size):
            return "its store has a quota, and no room for it"
        return ""

    def arrived(self, ref: Ref) -> None:
        """Something is here."""
        wanted = self._wanted.get((ref.task, ref.lease))
        if wanted is None or ref.key not in wanted.missing:
            return
        wanted.missing.remove(ref.key)
        if not wanted.missing:
            del self._wanted[ref.task, ref.lease]
            slots = self._core.slots
            slots.orders.own.append((slots.next_ticket(), wanted.refs))

    def missed(self, ref: Ref, reason: str, now: float) -> None:
        """Something could not be brought."""
        if self._wanted.pop((ref.task, ref.lease), None) is not None:
            self._tell([[*unkey(ref.task), ref.lease, ref.holder, reason]], now)

    def owned(self, event: Owned, now: float) -> None:
        """The store has it, or has it not."""
        self._tell(event.rows, now)

    def _tell(self, rows: list[list[Any]], now: float) -> None:
        if self._core.welcome is not None:  # else it is asked for again
            self._core.send(m.Adopted(rows), now)
