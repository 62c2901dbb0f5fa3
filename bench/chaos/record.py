"""The record: a history, put in order by task and by process. Pure.

It says what happened; whether that may be is the checker's concern.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from . import calls

Event = dict[str, Any]

FOREVER = float("inf")

#: A slot ends with its worker, a worker with its owner: this soon after, on a busy machine.
FOLLOWS_S = 3.0

#: The harness's name of the mesh that is no owner's.
MAIN = "main"

#: An owner's router serves again this soon after it was killed.
OWNED_S = 3.0

#: A router that serves again is heard by everybody, and one that goes on has caught up.
BACK_S = 2.0


class Time(NamedTuple):
    """From when until when."""

    begin: float
    end: float

    def meets(self, begin: float, end: float) -> bool:
        return self.begin <= end and self.end >= begin


@dataclass
class Run:
    """One run of a task, as the task saw it. `how` is None if it never said how it ended; `took`
    is of those that take something."""

    key: str
    pid: int
    worker: int
    began: float
    ended: float = FOREVER
    how: str | None = None
    took: list[str] | None = None


@dataclass
class Task:
    """What is known of the task `key`.

    Attributes:
        asked_at, acknowledged_at: when it was first submitted, and first known to be recorded.
        value, error, retries: what it must give.
        takes: the keys of its inputs, one after the other.
        took: their fingerprints, as every run of it must have them; None if it takes nothing, or
            some of them have no value.
        is_put: whether it is an object and no call.
        is_unique: whether nobody may make its result again: that of a put, or with rerun=False.
        ids: all it was called, and when each was known to be recorded.
        runs: in the order of their begins.
        seen: what clients were told of its end.
        cancels: what clients asked for.
        verdicts: "cancelled" events that confirmed it.
    """

    key: str
    mesh: str = ""
    asked_at: float = FOREVER
    acknowledged_at: float = FOREVER
    value: str | None = None
    error: str | None = None
    retries: int = 0
    takes: list[str] = field(default_factory=list)
    took: list[str] | None = None
    is_put: bool = False
    is_unique: bool = False
    ids: dict[str, float] = field(default_factory=dict)
    runs: list[Run] = field(default_factory=list)
    seen: list[Event] = field(default_factory=list)
    cancels: list[Event] = field(default_factory=list)
    verdicts: list[Event] = field(default_factory=list)

    @property
    def acknowledged(self) -> bool:
        """Whether a client was told that it is recorded."""
        return self.acknowledged_at < FOREVER

    @property
    def known_at(self) -> float:
        """When a client was first told of its end."""
        return min((each["t"] for each in self.seen if is_end(each)), default=FOREVER)


class Record:
    """A history in order.

    Attributes:
        tasks: by key.
        deaths: process → when it died, as far as is known.
        stops: process → when it stood still.
        idle_kills: mesh → when a slot was killed that ran nothing, as far as tasks have said. It
            may have had one in hand: loading its function takes a while.
        absences: mesh → when its router served nobody.
        router_deaths: mesh → when its router was killed.
        ends: mesh → when its owner left in order, and ended at once what was not the owner's own.
        spoils: id → when its result was spoiled where it lay.
        by_id: id → task.
        settings: the event.
        events: all, by name.
    """

    def __init__(self, history: list[Event]) -> None:
        self.tasks: dict[str, Task] = {}
        self.deaths: dict[int, list[Time]] = defaultdict(list)
        self.stops: dict[int, list[Time]] = defaultdict(list)
        self.idle_kills: dict[str, list[float]] = defaultdict(list)
        self.absences: dict[str, list[Time]] = defaultdict(list)
        self.router_deaths: dict[str, list[Time]] = defaultdict(list)
        self.ends: dict[str, list[float]] = defaultdict(list)
        self.spoils: dict[str, list[Time]] = defaultdict(list)
        self.by_id: dict[str, Task] = {}
        self.events: dict[str, list[Event]] = defaultdict(list)
        for event in history:
            self.events[event["event"]].append(event)
        self.settings: Event = self.events["settings"][0]
        self._submissions()
        self._runs(history)
        self._faults()
        self._kills_of_idle_slots()
        self._own_deaths()

    def task(self, key: str) -> Task:
        return self.tasks.setdefault(key, Task(key))

    def _submissions(self) -> None:
        flushes: dict[str, list[float]] = defaultdict(list)
        for event in self.events["flushed"]:
            flushes[event["client"]].append(event["t"])
        for event in self.events["submitting"]:
            for key, call in event["calls"].items():
                task = self.task(key)
                task.mesh = event["mesh"]
                task.value, task.error = call["value"], call["error"]
                task.retries, task.is_put = call["retries"], call.get("put", False)
                task.is_unique = task.is_put or not call.get("rerun", True)
                task.asked_at = min(task.asked_at, event["t"])
                if "takes" in call:
                    self._inputs(task, call)
        for event in self.events["submitted"]:
            later = (t for t in flushes[event["client"]] if t > event["t"])
            acknowledged_at = event["t"] if "recorded" in event else min(later, default=FOREVER)
            for key, id in event["ids"].items():
                task = self.task(key)
                task.acknowledged_at = min(task.acknowledged_at, acknowledged_at)
                task.ids[id] = acknowledged_at
                self.by_id[id] = task
        for event in self.events["seen"]:
            task = self.task(event["key"])
            task.seen.append(event)
        for event in self.events["cancelling"]:
            self.task(event["key"]).cancels.append(event)
        for event in self.events["cancelled"]:
            if event["verdict"]:
                self.task(event["key"]).verdicts.append(event)

    def _inputs(self, task: Task, call: Event) -> None:
        """What a task takes, and so what it gives. Inputs were submitted before it."""
        task.takes = call["takes"]
        values = [self.tasks[key].value for key in task.takes]
        task.took = [call["data"]] if call["data"] else []
        for value in values:
            if value is None:
                task.took, task.value, task.error = None, None, "DependencyFailed"
                return
            task.took.append(value)
        if task.error is None:
            made = calls.content(calls.mixture(task.key, task.took), call["size"])
            task.value = calls.fingerprint(made)

    def _runs(self, history: list[Event]) -> None:
        running: dict[tuple[str, int], Run] = {}
        for event in history:
            if event["event"] == "began":
                run = Run(event["key"], event["pid"], event["worker"], event["t"])
                run.took = event.get("took")
                self.task(run.key).runs.append(run)
                running[run.key, run.pid] = run
            elif event["event"] == "ended":
                run = running[event["key"], event["pid"]]
                run.ended, run.how = event["t"], event["how"]

    def _faults(self) -> None:
        for fault in self.events["fault"]:
            if fault["kind"].startswith("stop"):
                self._stop(fault)
            elif fault["kind"] not in ("cut", "spoil"):  # which explain no end: nobody is gone
                self._end(fault)
            for id in fault.get("ids", ()):
                self.spoils[id].append(Time(fault["t"], fault["until"]))
        for gone in self.events["gone"]:
            if gone["role"] == "worker":
                self.deaths[gone["pid"]].append(Time(gone["t"], gone["t"]))
            elif gone["role"] == "owner" and gone["code"] == 0:
                self.ends[gone["name"]].append(gone["t"])

    def _end(self, fault: Event) -> None:
        """Somebody was killed, or told to leave."""
        killed = fault["kind"] in ("kill", "wipe")
        for pid in fault["pids"] if killed else ():
            self.deaths[pid].append(Time(fault["t"], fault["until"] + FOLLOWS_S))
        if not is_of_router(fault):
            return
        mesh = fault["mesh"]
        up = fault["until"] + OWNED_S
        if mesh == MAIN:
            ups = (event["t"] for event in self.events["up"])
            up = min((t for t in ups if t > fault["t"]), default=FOREVER)
        self.absences[mesh].append(Time(fault["t"], up + BACK_S))
        if killed:
            self.router_deaths[mesh].append(Time(fault["t"], fault["until"]))

    def _stop(self, fault: Event) -> None:
        for pid in fault["pids"]:
            over = min(
                (
                    event["t"]
                    for event in self.events["continued"]
                    if event["t"] > fault["t"] and pid in event["pids"]
                ),
                default=FOREVER,
            )
            self.stops[pid].append(Time(fault["t"], over))
            if is_of_router(fault):
                self.absences[fault["mesh"]].append(Time(fault["t"], over + BACK_S))

    def _kills_of_idle_slots(self) -> None:
        busy: dict[int, list[Time]] = defaultdict(list)
        for task in self.tasks.values():
            for run in task.runs:
                busy[run.pid].append(Time(run.began, run.ended))
        for fault in self.events["fault"]:
            if fault["kind"] == "kill" and fault["role"].endswith("slot"):
                runs = [run for pid in fault["pids"] for run in busy[pid]]
                if not any(run.meets(fault["t"], fault["until"]) for run in runs):
                    self.idle_kills[fault["mesh"]].append(fault["t"])

    def _own_deaths(self) -> None:
        """Slots that their tasks took along, or that the mesh ended with what it stopped."""
        for task in self.tasks.values():
            stopped = task.cancels or any(
                seen.get("error") in ("TaskTimeout", "TaskOutOfMemory") for seen in task.seen
            )
            for run in task.runs:
                if run.how == "dying" or run.how == "interrupted":
                    self.deaths[run.pid].append(Time(run.ended, run.ended + FOLLOWS_S))
                elif run.how is None and stopped:
                    self.deaths[run.pid].append(Time(run.began, FOREVER))

    # -- questions ---------------------------------------------------------------------------

    def died(self, run: Run, begin: float, end: float) -> bool:
        """Whether the slot or worker of `run` died in that time."""
        times = self.deaths.get(run.pid, []) + self.deaths.get(run.worker, [])
        return any(time.meets(begin, end) for time in times)

    def slot_died(self, run: Run, begin: float, end: float) -> bool:
        """Whether the slot of `run` died in that time, and not with its worker."""
        with_worker = self.deaths.get(run.worker, [])
        return any(
            time.meets(begin, end) and not any(_goes_with(time, other) for other in with_worker)
            for time in self.deaths.get(run.pid, [])
        )

    def stopped_s(self, pid: int, begin: float, end: float) -> float:
        """The longest stop of a process that reached into that time."""
        times = [t for t in self.stops.get(pid, []) if t.meets(begin, end)]
        return max((time.end - time.begin for time in times), default=0.0)

    def away(self, mesh: str, begin: float, end: float) -> bool:
        """Whether the router served nobody for some of that time."""
        return any(time.meets(begin, end) for time in self.absences[mesh])

    def spoiled(self, ids: Iterable[str], begin: float, end: float) -> bool:
        """Whether a result of one of these was spoiled in that time."""
        return any(time.meets(begin, end) for id in ids for time in self.spoils.get(id, []))

    def settled(self, mesh: str, run: Run, at: float) -> float:
        """When what happens at `at` has been told and recorded at the latest: `at`, unless router,
        worker or slot are away or stand still then, one after the other."""
        times = [*self.absences[mesh]]
        for pid in (run.pid, run.worker):
            times += [Time(stop.begin, stop.end + BACK_S) for stop in self.stops.get(pid, [])]
        for time in sorted(times):
            if time.begin <= at:
                at = max(at, time.end)
        return at


def _goes_with(slot: Time, worker: Time) -> bool:
    """Whether a slot may have died with its worker. One that is known to have died was killed at
    the beginning of its time, and is known to be dead at the end."""
    was_first = slot.begin < worker.begin and slot.end < FOREVER
    return slot.meets(*worker) and not was_first


def is_of_router(fault: Event) -> bool:
    """Whether a fault hits a router."""
    return fault["role"] in ("router", "everything", "owner", "owner's router")


def is_end(seen: Event) -> bool:
    """Whether a client was told of an end, rather than that there is none yet, or that a result
    is lost."""
    return seen["state"] in ("done", "failed", "cancelled")
