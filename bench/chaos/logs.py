"""Logs: what no log of a mesh may hold."""

from __future__ import annotations

from collections.abc import Iterator

#: Words of a process that has failed.
ALARMING = ("Traceback (most recent call last)", "died (exit code", "is not started again")

#: What Python says of an error where it can raise none, as in the callback of a weak reference.
_IGNORED = "Exception ignored in"


def alarming(log: str) -> Iterator[str]:
    """The lines of a `log` that give alarm. An interrupt of a task may come where Python ignores
    it, and says so: the task is ended by other means then."""
    lines = log.splitlines()
    for at, line in enumerate(lines):
        if any(word in line for word in ALARMING) and not _is_interrupt(lines, at):
            yield line


def _is_interrupt(lines: list[str], at: int) -> bool:
    """Whether line `at` begins the traceback of an interrupt that Python has ignored."""
    prefix, traceback, _ = lines[at].partition(ALARMING[0])
    if not traceback or at == 0 or not lines[at - 1].startswith(prefix + _IGNORED):
        return False
    for line in lines[at + 1 :]:
        if not line.startswith(f"{prefix}  "):
            return line.startswith(f"{prefix}KeyboardInterrupt")
    return False
