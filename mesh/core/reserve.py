"""Reserve: workers that fill up no more, so that a task which needs much has its turn.

Small tasks pass a big one that waits. Where they never leave enough free at once it would wait for
ever; so when nothing of a need was given out for SAVE_AFTER_S, the worker that lacks least of it
takes nothing else until it has that. No more than one in SAVED_SHARE workers is held back so, for
what has waited longest: the others go on with what there is to do.
"""

from __future__ import annotations

from .fleet import Fleet
from .member import Member
from .ready import NeedQueue, Ready

#: Long enough that small tasks make way by themselves where they can: a worker that empties idles.
SAVE_AFTER_S = 5.0

SAVED_SHARE = 8


class Reserve:
    """Of the workers of `fleet`, for what waits in `ready`. `has_freed` is set when one takes other
    things again."""

    def __init__(self, fleet: Fleet, ready: Ready) -> None:
        self._fleet = fleet
        self._ready = ready
        self._saved: dict[Member, NeedQueue] = {}
        self.has_freed = False

    def served(self, worker: Member) -> None:
        """`worker` was given what it was held back for, or is not needed for it any more."""
        if self._saved.pop(worker, None) is not None:
            worker.saved_for = None
            self.has_freed = True
            self._fleet.rooms.touch(worker)

    def tick(self, now: float) -> None:
        """Hold back whom somebody waits for, and nobody else."""
        for worker, queue in list(self._saved.items()):
            if self._fleet.workers.get(worker.who) is not worker:
                del self._saved[worker]
            elif not queue.has_any() or not self._could(worker, queue, now):
                self.served(worker)
            else:
                self._empty(worker, now)
                self._fleet.rooms.touch(worker)  # it is looked at anew
        waiting: list[tuple[float, NeedQueue]] = []
        for queue in list(self._ready.needs.values()):
            if not queue.has_any():
                self._ready.emptied(queue)
            elif queue.waits_since is None:
                queue.waits_since = now
            elif now - queue.waits_since >= SAVE_AFTER_S and queue not in self._saved.values():
                waiting.append((queue.waits_since, queue))
        most = max(1, len(self._fleet.workers) // SAVED_SHARE)
        for _, queue in sorted(waiting, key=lambda each: each[0]):
            if len(self._saved) >= most:
                return
            self._save(queue, now)

    def _save(self, queue: NeedQueue, now: float) -> None:
        able = [
            worker
            for worker in self._fleet
            if worker.saved_for is None and not worker.reserved and self._could(worker, queue, now)
        ]
        if not able:
            return
        need = queue.need
        best = min(able, key=lambda each: (each.capacity.shortage(need), each.load))
        best.saved_for = need
        self._saved[best] = queue
        self._fleet.rooms.touch(best)
        self._empty(best, now)

    def _could(self, worker: Member, queue: NeedQueue, now: float) -> bool:
        return worker.takes and worker.capacity.lacks(queue.need, now) is None

    def _empty(self, worker: Member, now: float) -> None:
        """What waits there goes elsewhere."""
        if worker.spare > 0 and not worker.recalled and now >= worker.recall_after:
            self._fleet.recall_from(worker, worker.spare, now)
