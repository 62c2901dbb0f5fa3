"""Refusals: why a queued task is not given to the workers that there are, worker by worker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .member import Member
from .need import Need

if TYPE_CHECKING:
    from .router import RouterCore

#: Of the workers that do not take a task so many are told, and so many reasons in words.
WORKERS_MAX, NAMED_MAX = 20, 4


def of_need(core: RouterCore, need: Need, now: float) -> dict[str, Any]:
    """That a task waits for what it asks for, and what each worker has instead. `is_able` says
    whether any could run it."""
    workers = [worker for worker in core.fleet if worker.slots and worker.peer is not None]
    never = {worker: worker.capacity.lacks(need, now) for worker in workers}
    able = [worker for worker in workers if never[worker] is None]
    alike: dict[str, list[Member]] = {}
    for worker in able or workers:
        alike.setdefault(never[worker] or _not_now(worker, need), []).append(worker)
    reasons = sorted(alike.items(), key=lambda each: len(each[1]))  # rare ones tell most
    rows = [
        {"id": worker.who, "host": worker.about.get("host"), "why": why}
        for why, group in reasons
        for worker in group
    ]
    named = "; ".join(f"{_named(group)}: {why}" for why, group in reasons[:NAMED_MAX])
    if left := sum(len(group) for _, group in reasons[NAMED_MAX:]):
        named += f"; and {left} more"
    if able:
        words = f"a worker with {need}: {len(able)} of {len(workers)} could run it. {named}"
    else:
        words = f"a worker with {need}: none of {len(workers)} has that. {named}"
    return {"waits_for": words, "is_able": bool(able), "refusals": rows[:WORKERS_MAX]}


def _named(group: list[Member]) -> str:
    """Who they are, in words."""
    first = group[0]
    more = f" and {len(group) - 1} more" if len(group) > 1 else ""
    return f"{first.about.get('host') or first.who}{more}"


def _not_now(worker: Member, need: Need) -> str:
    """Why a worker that could run it does not just now."""
    if worker.reserved or worker.saved_for is not None and worker.saved_for != need:
        return "is kept free for another task"
    if worker.window <= 0:
        return "takes nothing now"
    busy = worker.capacity.busy(need)
    shown = worker.capacity.shown()
    parts = [f"{shown[name]['used']} of {shown[name]['has']} {name} in use" for name in busy]
    return ", ".join(parts) or "its slots are busy"
