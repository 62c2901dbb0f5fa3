"""A task's story, as far as memory knows it: where an open task is, and what it waits for.

What has been is in the store (store/story.py); this is what is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..options import option
from ..protocol.inputs import split
from ..task import ENDED, State, key, show, unkey
from . import refusals
from .block import Block, Tries

if TYPE_CHECKING:
    from .router import RouterCore

#: Of the tasks that wait for a result, so many are told.
NEEDED_BY_MAX = 20

#: Of the inputs that a task waits for, so many are told, and so many named in words.
INPUTS_MAX, NAMED_MAX = 20, 4


def of_open_task(core: RouterCore, session: str, counter: int, now: float) -> dict[str, Any]:
    """State, current lease, losses and what a task waits for; nothing of one that has ended."""
    found = core.ledger.blocks.find(session, counter)
    if found is None or found[0].states[found[1]] >= ENDED:
        return {}
    block, i = found
    state = State(block.states[i])
    tries = block.tries.get(i) or Tries()
    told: dict[str, Any] = {"state": state.word}
    if i in block.recovering:  # to its record it is done
        told = {"recovering": state.word}
    told |= {
        "errors": tries.errors,
        "slot_losses": tries.slot_losses,
        "worker_losses": tries.worker_losses,
    }
    if state is State.RUNNING:
        return told | _where(core, block, i, now)
    if state is State.WAITING:
        missing = core.ledger.inputs.waits_for(block, i)
        if missing:
            return told | _inputs_of(missing, block, i)
        store = core.holders.waits_for(block, i)
        return told | {"waits_for": store or _time_of(core, block, i, tries, now)}
    words = _hindrance_of(core, now)
    if words is None and block.need is not None:
        return told | refusals.of_need(core, block.need, now)
    return told | {"waits_for": words or _turn_of(core)}


def _inputs_of(missing: list[tuple[bytes, str]], block: Block, i: int) -> dict[str, Any]:
    """That a task waits for these inputs: the first of them in words."""
    rows = [{"id": show(*unkey(task)), "state": state} for task, state in missing[:INPUTS_MAX]]
    named = ", ".join(f"{row['id']} ({row['state']})" for row in rows[:NAMED_MAX])
    more = len(missing) - min(len(missing), NAMED_MAX)
    taken = len(set(split(block.inputs[i])))  # type: ignore[index]  # it has some
    words = f"{len(missing)} of its {taken} inputs" if taken > 1 else "its input"
    words = f"{words}: {named}" + (f", and {more} more" if more else "")
    return {"waits_for": words, "missing": {"count": len(missing), "inputs": rows}}


def of_result(core: RouterCore, session: str, counter: int, told: dict[str, Any]) -> dict[str, Any]:
    """Where the result of a task that is done is now, how it was fetched, and who needs it."""
    count, waiting = core.ledger.inputs.needed_by(key(session, counter), NEEDED_BY_MAX)
    found: dict[str, Any] = {"needed_by": {"count": count, "waiting": waiting}}
    result = told.get("result")
    if result is not None:
        result = result | {"fetched": core.fetches.of(session, counter)}
        if result["store"] is not None:
            result["is_away"] = core.fleet.place_of(result["store"]) is None
        found["result"] = result
    return found


def _where(core: RouterCore, block: Block, i: int, now: float) -> dict[str, Any]:
    id = show(block.session, block.first + i)
    for worker in core.fleet:
        for lease, (held, index, since) in worker.held.items():
            if held is not block or index != i:
                continue
            slots = worker.about.get("running", [])
            begun = [slot.get("pid") for slot in slots if slot.get("task") == id]
            host = worker.about.get("host")
            told: dict[str, Any] = {
                "lease": lease,
                "worker": worker.who,
                "host": host,
                "given_at": since + core.ledger.ahead_s,
                "pid": begun[0] if begun else None,
            }
            if worker.peer is None:
                told["waits_for"] = (
                    f"its worker on {host} to come back: it has lost its connection, and is given "
                    f"up after {core.settings.lost_after_s:g} s"
                )
            elif not begun:
                told["waits_for"] = f"a slot on {host}, or has just begun there"
            return told
    return {}


def _time_of(core: RouterCore, block: Block, i: int, tries: Tries, now: float) -> str:
    is_suspect = tries.worker_losses >= core.settings.worker_losses_max
    if (block, i) in core.fleet.quarantine or is_suspect and tries.due <= now:
        return (
            f"a worker of its own: it was lost with its worker {tries.worker_losses} times, and "
            f"runs alone next"
        )
    if not tries.errors and tries.due > now:
        return f"an input that could not be brought: it is tried again in {tries.due - now:.1f} s"
    allowed = option(block.options, "retries")
    return (
        f"its next run, in {max(tries.due - now, 0.0):.1f} s: {tries.errors} of {allowed} retries "
        f"are used up"
    )


def _hindrance_of(core: RouterCore, now: float) -> str | None:
    """What any queued task waits for just now, if that is not its turn."""
    if core.stall.reason is not None:
        return f"room to record what becomes of it: {core.stall.reason}"
    rest = core.grace_s(now)
    if rest is not None:
        return (
            f"the workers of the router's last life, one of which may run it still: {rest:.1f} s "
            f"at most"
        )
    if not any(worker.slots and worker.peer is not None for worker in core.fleet):
        return "a worker with a slot: the mesh has none. Start one with `mesh worker`"
    return None


def _turn_of(core: RouterCore) -> str:
    workers = [worker for worker in core.fleet if worker.slots and worker.peer is not None]
    slots = sum(worker.slots for worker in workers)
    queued = core.ledger.counts[State.QUEUED]
    return f"a slot: {queued} tasks are queued, {slots} slots work on {len(workers)} workers"
