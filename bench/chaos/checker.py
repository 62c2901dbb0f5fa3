"""The checker: what a history has in it that must not be. Pure: it reads events and nothing else.

Each rule is a promise of docs/guarantees.md turned around; what a fault explains is no violation,
and what counts as an explanation is said where it is looked for. Those about what tasks take are in
lineage.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from . import lineage
from .record import FOREVER, MAIN, Event, Record, Run, Task, is_end
from .violation import Violation

#: An outcome is recorded this long after its run, while nobody is away; so are cancellations
#: carried out.
RECORDED_S = 2.0

#: The share of `lost_after_s` beyond which a stop may cost a worker its tasks.
LONG_STOP = 0.7

#: Descriptors that a router may have more at the end: what libraries open when first needed.
DESCRIPTORS_MORE = 8

#: Who had no router leaves within this: it was waited for, for some time.
FAR_S = 15.0


def check(history: list[Event]) -> list[Violation]:
    """All violations in a history."""
    record = Record(history)
    found: list[Violation] = []
    for task in record.tasks.values():
        for rule in (_lost, _changed, _wrong, _unexplained_runs, _uncancelled, _too_few_runs):
            found += rule(record, task)
        for about_inputs in lineage.RULES:
            found += about_inputs(record, task)
    for of_all in (_ends, _said, _descriptors):
        found += of_all(record)
    return found


# -- tasks ----------------------------------------------------------------------------------------


def _lost(record: Record, task: Task) -> Iterator[Violation]:
    """P1: what was acknowledged comes to an end, and is known by its id. What was not may be
    forgotten with its router, even if a client was told its end."""
    if task.is_put and all(record.by_id[id] is not task for id in task.ids):
        return  # the same was put again, under the same id: that is asked for
    if task.acknowledged and not any(is_end(s) or s["state"] == "lost" for s in task.seen):
        state = task.seen[-1]["state"] if task.seen else "never asked for"
        yield Violation("lost", task.key, f"acknowledged as {_ids(task)}, and {state}")
        return
    for seen in task.seen:
        if seen["state"] == "unknown" and task.ids.get(seen["id"], FOREVER) < seen["t"]:
            yield Violation("lost", task.key, f"{seen['id']} was acknowledged, and is unknown")


def _changed(record: Record, task: Task) -> Iterator[Violation]:
    """P2: one recorded outcome: whoever asks, and whenever, is told the same."""
    told: dict[tuple[str, str | None], Event] = {}
    for seen in filter(is_end, task.seen):
        told.setdefault((seen["state"], seen.get("value") or seen.get("error")), seen)
    for verdict in task.verdicts:
        told.setdefault(("cancelled", None), verdict)
    if len(told) > 1:
        stories = "; ".join(
            f"{' '.join(filter(None, outcome))} ({seen['client']} at {seen['t']:.3f})"
            for outcome, seen in told.items()
        )
        yield Violation("changed", task.key, stories)


def _wrong(record: Record, task: Task) -> Iterator[Violation]:
    """What is told is what the call must give; failures are those that it must have, or that what
    happened to it explains."""
    for seen in filter(is_end, task.seen):
        state, error = seen["state"], seen.get("error")
        if state == "done" and seen["value"] != task.value:
            wanted = task.value or f"{task.error} instead of a value"
            yield Violation("wrong", task.key, f"{seen['value']}, not {wanted}")
        elif state == "cancelled" and not task.cancels:
            yield Violation("wrong", task.key, "cancelled, and nobody asked for it")
        elif state == "failed" and error == "WorkerLost" and _was_lost(record, task):
            continue
        elif error == "DependencyFailed":
            continue  # whether it may: lineage.py
        elif state == "failed" and error != task.error:
            wanted = task.error or "a value"
            yield Violation("failed", task.key, f"{error} ({seen.get('text')}), not {wanted}")
        else:
            continue
        return


def _was_lost(record: Record, task: Task) -> bool:
    """P4: whether its slots or workers died under it as often as is allowed."""
    workers = 0
    slots = sum(task.asked_at <= t <= task.known_at for t in record.idle_kills[task.mesh])
    for run in task.runs:
        until = min(run.ended, FOREVER) + RECORDED_S
        if record.slot_died(run, run.began, until):
            slots += 1
        elif record.died(run, run.began, until):
            workers += 1
    settings = record.settings
    return slots >= settings["slot_losses_max"] or workers >= settings["worker_losses_max"]


def _unexplained_runs(record: Record, task: Task) -> Iterator[Violation]:
    """P3: run again only because its slot or worker is gone, because it raised and may, or because
    its result was lost."""
    raised, forgotten = 0, False
    for run, following in pairwise(task.runs):
        unrecorded = _is_unrecorded(record, task, run)
        if not (unrecorded or _is_explained(record, task, run, following)):
            raised += run.how == "raised"
            if run.how == "raised" and raised <= task.retries:
                continue
            yield Violation("doubled", task.key, _story(task))
            return
        if following.began <= task.known_at or unrecorded:
            continue
        forgotten = forgotten or _is_forgotten(record, task, run)
        if forgotten:
            continue
        stopped = _stood_still(record, run, following)  # it was given to another before it ended
        excused = _was_spoiled(record, task, run, following) or _is_forgotten_rerun(
            record, task, run, following.began
        )
        if not (stopped or excused):
            yield Violation("resurrected", task.key, _story(task))
            return


def _is_explained(record: Record, task: Task, run: Run, following: Run) -> bool:
    """Whether what happened to `run` lets another follow."""
    begin, end = run.began, following.began
    if _stood_still(record, run, following) or _was_spoiled(record, task, run, following):
        return True
    if run.how in ("returned", "raised"):
        # Its outcome is recorded soon: a death long after explains nothing.
        end = min(end, record.settled(task.mesh, run, run.ended + RECORDED_S))
    if record.died(run, begin, end) or any(begin <= t <= end for t in record.ends[task.mesh]):
        return True
    return _is_forgotten_rerun(record, task, run, end)


def _is_forgotten_rerun(record: Record, task: Task, run: Run, end: float) -> bool:
    """Whether `run` made a lost result again, which its router alone knew, and that died by then:
    the next one is asked anew."""
    spoils = [time for id in task.ids for time in record.spoils.get(id, [])]
    since = max((t.begin for t in spoils if task.runs[0].began < t.begin < run.began), default=None)
    if task.is_unique or since is None:
        return False
    if len(task.ids) > 1:
        return True  # who submits the call anew meanwhile has a run of its own
    return any(time.meets(since, end) for time in record.router_deaths[task.mesh])


def _was_spoiled(record: Record, task: Task, run: Run, following: Run) -> bool:
    """Whether a result of `task` was spoiled in between, and may be made again."""
    return not task.is_unique and record.spoiled(task.ids, run.began, following.began)


def _stood_still(record: Record, run: Run, following: Run) -> bool:
    """Whether the worker of `run` stood still for so long that it was given up."""
    longest_s = record.stopped_s(run.worker, run.began, following.began)
    return longest_s > LONG_STOP * record.settings["lost_after_s"]


def _is_unrecorded(record: Record, task: Task, run: Run) -> bool:
    """P2's remark: tasks are dispatched before they are on disk. If the router dies in between, its
    client submits them again, and nobody knows of the first run."""
    end = min(task.acknowledged_at, run.ended + RECORDED_S)
    return any(time.meets(task.asked_at, end) for time in record.router_deaths[task.mesh])


def _is_forgotten(record: Record, task: Task, run: Run) -> bool:
    """P2's remark: a client was told before the outcome was on disk, and then the router died, and
    the worker, before it could tell it again, too."""
    if not record.away(task.mesh, task.known_at - RECORDED_S, task.known_at + RECORDED_S):
        return False
    until = record.settled(task.mesh, run, task.known_at + RECORDED_S)
    return record.died(run, run.began, until)


def _uncancelled(record: Record, task: Task) -> Iterator[Violation]:
    """What was confirmed to be cancelled does not begin. Where a running task may be stopped, the
    word has to travel to who holds it, who may be away or stand still."""
    for verdict in task.verdicts:
        for run in task.runs:
            if run.began <= verdict["t"]:
                continue
            late = run.began - verdict["t"]
            held = record.stopped_s(run.worker, verdict["t"] - RECORDED_S, run.began)
            away = record.away(task.mesh, verdict["t"] - RECORDED_S, run.began)
            if verdict["running"] and (late < RECORDED_S or held or away):
                continue
            text = f"began {late:.3f} s after it was confirmed that it never would: {_story(task)}"
            yield Violation("uncancelled", task.key, text)
            return


def _too_few_runs(record: Record, task: Task) -> Iterator[Violation]:
    """What failed by its own error had all its retries; what is done has run."""
    for seen in task.seen:
        begun = task.is_put or any(run.began < seen["t"] for run in task.runs)
        if seen["state"] == "done" and not begun:
            yield Violation("wrong", task.key, "done, and never begun")
            return
    failed = any(seen.get("error") == task.error for seen in task.seen if task.error)
    raised = sum(run.how == "raised" for run in task.runs)
    if failed and task.error == "ValueError" and raised <= task.retries:
        text = f"raised {raised} times, and has {task.retries} retries: {_story(task)}"
        yield Violation("given up", task.key, text)


# -- processes ------------------------------------------------------------------------------------


def _ends(record: Record) -> Iterator[Violation]:
    """P5, P7: nobody hangs, nobody dies by itself, nothing is left."""
    for event in record.events["hung"]:
        yield Violation("hung", event["who"], "no end, no answer")
    for event in record.events["trouble"]:
        text = f"{event['what']}: {event['error']}: {event['text']}"
        yield Violation("trouble", event["client"], text)
    for event in record.events["leftover"]:
        yield Violation("leftover", event["what"].split(":")[0], event["what"])
    for event in record.events["gone"]:
        if not (event["expected"] or event["code"] == 0 or _had_no_mesh(record, event)):
            text = f"ended by itself with code {event['code']}"
            yield Violation("crashed", f"{event['name']}, process {event['pid']}", text)


def _had_no_mesh(record: Record, gone: Event) -> bool:
    """Whether somebody left because its mesh was stopped in order, or had no router to join."""
    told = {"client": (75,), "owner": (75,), "worker": (3,)}
    return gone["code"] in told.get(gone["role"], ()) and record.away(
        gone["name"] if gone["role"] == "owner" else MAIN, gone["t"] - FAR_S, gone["t"]
    )


def _said(record: Record) -> Iterator[Violation]:
    """What a process said that none should."""
    for event in record.events["said"]:
        yield Violation("said", event["who"], event["line"])


def _descriptors(record: Record) -> Iterator[Violation]:
    """P7: the router has no more descriptors than it had with the same peers."""
    counts = {event["when"]: event for event in record.events["descriptors"]}
    if {"first", "last"} <= counts.keys():
        more = counts["last"]["count"] - counts["first"]["count"]
        if more > DESCRIPTORS_MORE:
            yield Violation("leftover", "descriptors", f"the router has {more} more than at first")


def _ids(task: Task) -> str:
    return ", ".join(sorted(task.ids)) or "no id"


def _story(task: Task) -> str:
    """The runs of a task."""
    return "; ".join(
        f"run {nth} in {run.pid} of {run.worker} from {run.began:.3f} "
        + (f"to {run.ended:.3f} ({run.how})" if run.how else "without an end")
        for nth, run in enumerate(task.runs, 1)
    )
