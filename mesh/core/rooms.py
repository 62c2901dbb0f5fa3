"""Rooms: which workers have room, and which have more than they can begin, kept as that changes.

Whoever changes what a worker holds or takes says so with `touch`; before tasks are given out those
touched are sorted in anew. So giving tasks out costs what has changed and what is given, however
many workers there are.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, islice

from .member import Member

#: Idle slots, and the place in each of the orders below; None is none.
_Place = tuple[int, int | None, int | None, int | None]

#: In each place who came there first is first.
_Sorted = dict[int, dict[Member, None]]


class Rooms:
    """The workers that take more, and those that could give something back.

    Attributes:
        idle_slots: slots of all of them that have nothing to run.
        changed: who was touched since this was emptied, and takes more: so what did not fit may.
    """

    def __init__(self) -> None:
        self._touched: dict[Member, None] = {}
        self._places: dict[Member, _Place] = {}  # as they were sorted in
        self._idle: _Sorted = {}  # by load
        self._roomy: _Sorted = {}  # by load, in bits
        self._ahead: _Sorted = {}  # by how much they have to spare, in bits
        self._roomy_count = 0
        self.idle_slots = 0
        self.changed: dict[Member, None] = {}

    def touch(self, worker: Member) -> None:
        """What `worker` holds or takes has changed."""
        self._touched[worker] = None

    def drop(self, worker: Member) -> None:
        """`worker` is gone."""
        self._touched.pop(worker, None)
        self.changed.pop(worker, None)
        self._take_out(worker)

    def settle(self) -> None:
        """Sort in who was touched."""
        for worker in self._touched:
            load = worker.load
            self.changed[worker] = None
            idle = max(worker.idle_slots, 0)
            spare = max(worker.spare, 0) if worker.peer is not None else 0
            place = (
                idle,
                load if idle else None,
                load.bit_length() if worker.room > 0 else None,
                spare.bit_length() or None,
            )
            if self._places.get(worker) == place:
                continue
            self._take_out(worker)
            self._places[worker] = place
            self.idle_slots += idle
            self._roomy_count += place[2] is not None
            for key, sort in zip(place[1:], (self._idle, self._roomy, self._ahead), strict=True):
                if key is not None:
                    sort.setdefault(key, {})[worker] = None
        self._touched.clear()

    def _take_out(self, worker: Member) -> None:
        place = self._places.pop(worker, None)
        if place is None:
            return
        self.idle_slots -= place[0]
        self._roomy_count -= place[2] is not None
        for key, sort in zip(place[1:], (self._idle, self._roomy, self._ahead), strict=True):
            if key is not None:
                del sort[key][worker]
                if not sort[key]:
                    del sort[key]

    @property
    def idlest(self) -> Member | None:
        """Of those with a slot that idles one with the fewest tasks."""
        return next(iter(self._idle[min(self._idle)])) if self._idle else None

    @property
    def busiest(self) -> Member | None:
        """One that holds more tasks than its slots can begin: none has twice as many to spare."""
        return next(iter(self._ahead[max(self._ahead)])) if self._ahead else None

    @property
    def roomy(self) -> Iterator[Member]:
        """Those with room, or kept free for somebody; who has fewer tasks is earlier."""
        return chain.from_iterable(self._roomy[load] for load in sorted(self._roomy))

    def to_share(self, tasks: int) -> list[Member]:
        """Among whom so many tasks are to be shared: if there are fewer of them than workers with
        room those with few tasks, else all, those with little room first."""
        if tasks < self._roomy_count:
            return list(islice(self.roomy, tasks))
        return sorted(self.roomy, key=lambda worker: worker.room)
