"""The tally: a run in numbers, and how it is printed."""

from __future__ import annotations

from collections import Counter
from typing import Any

from .record import Event, Record, is_end
from .violation import Violation

#: Of each rule so many violations are printed; all are in the report.
SHOWN = 5


def count(history: list[Event], violations: list[Violation]) -> dict[str, Any]:
    """What the report says, as plain data."""
    record = Record(history)
    tasks = list(record.tasks.values())
    faults = Counter(f"{f['kind']} {f['role']}" for f in record.events["fault"])
    runs = sum(len(task.runs) for task in tasks)
    retried = sum(sum(run.how == "raised" for run in task.runs[:-1]) for task in tasks)
    return {
        "seed": record.settings["seed"],
        "seconds": record.settings["seconds"],
        "tasks": len(tasks),
        "acknowledged": sum(task.acknowledged for task in tasks),
        "runs": runs,
        "redeliveries": sum(max(0, len(task.runs) - 1) for task in tasks) - retried,
        "inputs": sum(len(task.takes) for task in tasks),
        "spoiled": len(record.spoils),
        "answers": sum(map(is_end, record.events["seen"])),
        "cancelled": sum(bool(task.verdicts) for task in tasks),
        "lives": Counter(event["role"] for event in record.events["started"]),
        "faults": dict(sorted(faults.items())),
        "violations": dict(Counter(violation.rule for violation in violations)),
    }


def text(tally: dict[str, Any], violations: list[Violation]) -> str:
    """The table, and the first violations of each rule."""
    rows = [(name, f"{tally[name]:,}") for name in _NUMBERS]
    rows += [(f"lives of {role}s", f"{n:,}") for role, n in sorted(tally["lives"].items())]
    rows += [(f"fault: {kind}", f"{n:,}") for kind, n in tally["faults"].items()]
    rows.append(("violations", f"{len(violations):,}"))
    width = max(len(name) for name, _ in rows)
    lines = [f"== chaos, seed {tally['seed']}, {tally['seconds']:g} s of faults"]
    lines += [f"{name:<{width}}  {number:>8}" for name, number in rows]
    shown: Counter[str] = Counter()
    for rule, about, what in violations:
        shown[rule] += 1
        if shown[rule] <= SHOWN:
            lines.append(f"{rule.upper()} {about}: {what}")
    lines += [f"{rule}: {n - SHOWN} more" for rule, n in shown.items() if n > SHOWN]
    return "\n".join(lines)


_NUMBERS = (
    "tasks",
    "acknowledged",
    "runs",
    "redeliveries",
    "inputs",
    "spoiled",
    "answers",
    "cancelled",
)
