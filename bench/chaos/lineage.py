"""Lineage: the checker's rules about tasks that take the results of others.

What an input was told to be is in the history: so is, for each run, what it took, and when the
runs of its inputs had ended. Only a result that was spoiled excuses that one is lost, and only one
that nobody may make again, because it was put or for rerun=False, excuses that somebody fails for
it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from .record import Event, Record, Task, is_end
from .violation import Violation

#: A task's id, as texts have it.
_ID = re.compile(r"\b[0-9a-z]{8}\.[0-9]+\b")


def _took_wrong(record: Record, task: Task) -> Iterator[Violation]:
    """What a run is given is what its inputs have come to."""
    for run in task.runs:
        if task.takes and run.took != task.took:
            wanted = "nothing: an input has no value" if task.took is None else task.took
            who = f"a run in {run.pid} of {run.worker} at {run.began:.3f}"
            text = f"{who} took {run.took}, not {wanted}"
            yield Violation("wrong input", task.key, text)
            return


def _early(record: Record, task: Task) -> Iterator[Violation]:
    """It begins when its inputs have ended, and well."""
    for run in task.runs:
        for key in task.takes:
            source = record.tasks[key]
            if source.is_put:
                continue
            if not any(r.how == "returned" and r.ended <= run.began for r in source.runs):
                text = f"began at {run.began:.3f}, before any run of its input {key} had returned"
                yield Violation("early", task.key, text)
                return


def _in_spite(record: Record, task: Task) -> Iterator[Violation]:
    """What takes something that failed or was cancelled is not done."""
    done = next((seen for seen in task.seen if seen["state"] == "done"), None)
    if done is None:
        return
    for key in task.takes:
        ends = {seen["state"] for seen in record.tasks[key].seen if is_end(seen)}
        if ends & {"failed", "cancelled"}:
            text = f"done, though its input {key} is {' and '.join(sorted(ends))}"
            yield Violation("in spite", task.key, text)
            return


def _failed_for_nothing(record: Record, task: Task) -> Iterator[Violation]:
    """What fails for its inputs names the first cause: who failed or was cancelled, is not known,
    or is lost for good."""
    for seen in task.seen:
        if seen.get("error") != "DependencyFailed":
            continue
        named = [id for id in _ID.findall(seen["text"]) if id not in task.ids]
        if not any(_is_cause(record, task, id, seen) for id in named):
            ends = {key: _end_of(record.tasks[key]) for key in task.takes}
            yield Violation("no cause", task.key, f"{seen['text']}; its inputs: {ends}")
        return


def _is_cause(record: Record, task: Task, id: str, seen: Event) -> bool:
    """Whether `task` may have failed for what came of the task `id`."""
    source = record.by_id.get(id)
    if _is_unique(source) and record.spoiled([id], 0.0, seen["t"]):
        return True
    if source is None or not _descends(record, task, source):
        return False
    for told in source.seen:
        if told["state"] == "cancelled" or told["state"] == "unknown" and told["id"] == id:
            return True
        if told["state"] == "failed" and told["error"] != "DependencyFailed":
            return True
    return False


def _is_unique(source: Task | None) -> bool:
    """Whether nobody may make this again. What is none of the load's is the arguments of a call."""
    return source is None or source.is_unique


def _descends(record: Record, task: Task, source: Task) -> bool:
    """Whether `task` takes what `source` gives, or what that leads to."""
    todo, known = list(task.takes), set()
    while todo:
        key = todo.pop()
        if key == source.key:
            return True
        if key not in known:
            known.add(key)
            todo += record.tasks[key].takes
    return False


def _lost_for_nothing(record: Record, task: Task) -> Iterator[Violation]:
    """A result is lost only if it was spoiled; and then it is made again for who holds its future,
    if that can be."""
    for seen in task.seen:
        if seen["state"] != "lost":
            continue
        if not record.spoiled(
            task.ids, 0.0, seen["t"]
        ):  # who asks for it by a younger id gets this
            yield Violation("lost result", task.key, f"{seen['id']}: {seen['text']}")
            return
        named = [id for id in _ID.findall(seen["text"]) if record.spoiled([id], 0.0, seen["t"])]
        sources = [record.by_id.get(id) for id in named]
        if seen.get("live") and _is_own(record, seen) and not any(map(_is_unique, sources)):
            yield Violation("not made again", task.key, f"{seen['client']} was told {seen['text']}")
            return


def _is_own(record: Record, seen: Event) -> bool:
    """Whether who was told something of a task is who had submitted it, as no older one."""
    return any(
        event["client"] == seen["client"] and seen["id"] in event["ids"].values()
        for event in record.events["submitted"]
    )


def _end_of(task: Task) -> str:
    ends = [seen["state"] for seen in task.seen]
    return ", ".join(dict.fromkeys(ends)) or "never asked for"


RULES = (_took_wrong, _early, _in_spite, _failed_for_nothing, _lost_for_nothing)
