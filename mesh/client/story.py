"""Story: what became of a task so far, for people and for programs."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from ..options import show_size

#: A lease's number is in the low bits, the epoch of the router that gave it above.
_EPOCH_SHIFT = 40

#: Of ids that may be many, so many are shown.
IDS_MAX = 8

#: What the end of a run is called.
_HOW = {
    "value": "gave its result",
    "stored": "gave its result, which stays with the worker",
    "error": "raised",
    "final": "raised",
    "slot_lost": "lost its slot",
    "worker_lost": "lost its worker",
    "timed_out": "took too long",
    "refused": "could not be run, or its result not kept",
    "cancelled": "was cancelled",
    "expired": "expired",
    "out_of_memory": "used too much memory",
    "interrupted": "was interrupted, which counts as nothing",
}


class Story(dict[str, Any]):
    """A dict of plain values; as text, lines for people.

    Its keys: ``id``, ``name`` (the task's own id), ``function``, ``group``, ``state``, ``options``,
    ``submitted_at``; ``inputs``, the ids of the tasks whose results it takes; and ``runs``, the
    leases that began or were lost, oldest first, each with ``lease``, ``worker``, ``host``,
    ``given_at``, ``begun_at``, ``ended_at``, ``took_s``, ``how``, ``error`` and ``message``.

    ``result`` says where its own is: ``size_bytes``, ``lease``, ``store`` and ``host`` (None: it is
    with the router), ``is_away``, and how often it was ``fetched`` since the router's start, by
    way; ``moves`` how it came there, if the worker that made it has left: ``from``, ``to``, ``at``;
    ``needed_by`` how many tasks that have not ended take it, and some that wait for it.

    Of a task that has not ended also ``errors``, ``slot_losses``, ``worker_losses``; while it runs
    ``lease``, ``worker``, ``host``, ``given_at``, ``pid``; and ``waits_for``, in words. If that is
    inputs, ``missing`` has their ``count``, and of the first ``inputs`` each ``id`` and ``state``.
    If it is what a worker must have, ``refusals`` has of some workers each ``id``, ``host`` and
    ``why`` it is not given the task; ``is_able`` says whether any could run it.
    The same of one whose result was lost and is made again: its ``state`` stays ``done``, and
    ``recovering`` is how far that is. Times are unix seconds; what is not known is None or not
    there.

    Example:
        >>> print(m.submit(simulate, 2.3).explain())
        k3f9x2m7.17 sim.simulate: queued
          submitted 2026-11-22 14:05:03
          waits for a worker with a slot: the mesh has none. Start one with `mesh worker`
    """

    def __str__(self) -> str:
        own = f" {self['name']!r}" if self.get("name") is not None else ""
        state = self["state"]
        if self.get("recovering"):
            state = f"{state}, recovering: its result was lost, and its next run is " + str(
                self["recovering"]
            )
        lines = [f"{self['id']}{own} {self['function']}: {state}"]
        options = "".join(f", {name}={value!r}" for name, value in self["options"].items())
        group = f", in group {self['group']}" if self.get("group") is not None else ""
        day, clock = _clock(self["submitted_at"])
        lines.append(f"  submitted {day} {clock}{options}{group}".rstrip())
        if self.get("inputs"):
            lines.append(f"  takes {_some(self['inputs'])}")
        lines += [f"  {_run(run, day)}" for run in self["runs"]]
        if self.get("lease") is not None:
            process = f", process {self['pid']}" if self.get("pid") else ""
            lines.append(f"  {_run(self, day)}{process}")
        if self.get("waits_for"):
            lines.append(f"  waits for {self['waits_for']}")
        for move in self.get("moves", ()):
            lines.append(f"  {_move(move, day)}")
        if self.get("result") is not None:
            lines.append(f"  {_result(self['result'])}")
        if self.get("needed_by", {}).get("count"):
            lines.append(f"  {_needed_by(**self['needed_by'])}")
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"<Story {self['id']} {self['state']}, {len(self['runs'])} runs>"


def _result(result: Mapping[str, Any]) -> str:
    """Where a result is, and how it was fetched."""
    size = show_size(result["size_bytes"])
    if result["store"] is None:
        return f"its result, {size}, is with the router"
    away = ", which is away" if result.get("is_away") else ""
    line = f"its result, {size}, is with {result['host'] or '?'}, worker {result['store']}{away}"
    fetched = result.get("fetched")
    if fetched is None:  # nobody has counted: no mesh runs
        return line
    ways = ", ".join(f"{count} {way}" for way, count in fetched.items() if count)
    return f"{line}; fetched {sum(fetched.values())} times" + (f": {ways}" if ways else "")


def _move(move: Mapping[str, Any], day: str) -> str:
    """How what the last run left has moved, of a task that was submitted on `day`."""
    date, clock = _clock(move["at"])
    at = clock if date == day else f"{date} {clock}"
    return f"{at}: worker {move['from']} left, and worker {move['to']} has its result"


def _needed_by(count: int, waiting: list[str]) -> str:
    line = f"{count} {'task takes' if count == 1 else 'tasks take'} its result"
    return f"{line}; waiting for it: {_some(waiting)}" if waiting else line


def _some(ids: list[str]) -> str:
    return ", ".join(ids[:IDS_MAX]) + (", …" if len(ids) > IDS_MAX else "")


def _run(run: Mapping[str, Any], day: str) -> str:
    """One run, of a task that was submitted on `day`."""
    line = f"lease {_lease(run['lease'])}" if run["lease"] else "no lease"
    for what in ("given", "begun", "ended"):
        if run.get(f"{what}_at"):
            date, clock = _clock(run[f"{what}_at"])
            line += f", {what} {clock}" if date == day else f", {what} {date} {clock}"
        if what == "given" and run.get("worker"):
            line += f" to {run.get('host') or '?'}, worker {run['worker']}"
        if what == "begun" and run.get("took_s") is not None:
            line += f", took {run['took_s']:.3g} s"
    if "how" not in run:
        return line
    line += f": {_HOW.get(run['how'], run['how'])}"
    if run.get("message"):
        first = str(run["message"]).strip().partition("\n")[0]
        error = str(run["error"] or "").removeprefix("builtins.")
        line += f" {error}: {first}" if run["how"] in ("error", "final") else f": {first}"
    return line


def _lease(number: int) -> str:
    """``2/17``: the router's second life, its seventeenth lease."""
    return f"{number >> _EPOCH_SHIFT}/{number & (1 << _EPOCH_SHIFT) - 1}"


def _clock(at: float | None) -> tuple[str, str]:
    """Date and time."""
    if at is None:
        return "?", ""
    day, _, clock = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at)).partition(" ")
    return day, clock
