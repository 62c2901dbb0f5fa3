"""Walltime: when the time of this process ends, by whom has given it that time.

Slurm and PBS know, each in its own way; a user may say so. Nothing is guessed: what nobody tells of
has no end, and what cannot be asked is said.
"""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

#: A manager answers within this, or it is down: what waits for it is a worker that has a CPU.
ASK_S = 10.0

#: What managers write into the environment of what begins, and what does not change any more.
AT_BEGIN = frozenset({"SLURM_JOB_END_TIME", "PBS_WALLTIME"})

#: A worker leaves so long before its time ends: what runs has half of it, and what it keeps goes
#: elsewhere in the other half. But of a short time not more than this part.
LEAVE_BEFORE_S, LEAVE_BEFORE_PART = 60.0, 0.1

_CLOCK = re.compile(r"(?:(\d+)-)?(\d+(?::\d{1,2}){0,2})")


class Walltime(NamedTuple):
    """There are `left_s` seconds; `by` says who says so."""

    left_s: float
    by: str

    @property
    def leave_before_s(self) -> float:
        """How long before its end to leave, if nobody says so."""
        return min(LEAVE_BEFORE_S, self.left_s * LEAVE_BEFORE_PART)


def clock_s(text: str) -> float | None:
    """The seconds of a time as managers write it: ``1-02:03:04``, ``1-02``, ``01:00:00``, ``30:00``
    or ``90``; None if it is none."""
    found = _CLOCK.fullmatch(text.strip())
    if found is None:
        return None
    numbers = [int(each) for each in found[2].split(":")]
    if found[1] is not None:  # hours are first behind days, and else seconds last
        numbers += [0] * (3 - len(numbers))
    seconds = 0
    for number in numbers:
        seconds = seconds * 60 + number
    return float(seconds + int(found[1] or 0) * 86_400)


def ask(argv: Sequence[str]) -> str:
    """What a manager's command says.

    Raises:
        OSError: it cannot be run, fails, or does not end.
    """
    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=ASK_S
        )
    except subprocess.TimeoutExpired:
        raise OSError(f"no answer within {ASK_S:g} s") from None
    if done.returncode:
        why = done.stderr.strip().splitlines()[-1:]
        raise OSError("".join(why) or f"exit code {done.returncode}")
    return done.stdout


def find(
    environ: Mapping[str, str],
    say: Callable[[str], None],
    now: float | None = None,
    ask: Callable[[Sequence[str]], str] = ask,
) -> Walltime | None:
    """How long this process has, by its environment and the manager that this names; None: for
    ever. `say` hears why that cannot be known. `now` is unix time."""
    now = time.time() if now is None else now
    try:
        found = _of_slurm(environ, now, ask) or _of_pbs(environ, now, ask)
    except (OSError, ValueError) as error:
        say(f"it is not known when this job ends: {error}; say so with --time-limit")
        return None
    if found is not None and found.left_s <= 0:  # a shell may be older than it seems
        say(f"the job of its environment has ended, says {found.by}: that is not minded")
        return None
    return found


def again(
    environ: Mapping[str, str],
    now: float | None = None,
    ask: Callable[[Sequence[str]], str] = ask,
) -> Walltime | None:
    """How long this process has by now, for its job may have been given more time; None: for ever.

    Raises:
        OSError, ValueError: that cannot be known.
    """
    now = time.time() if now is None else now
    lasting = {name: value for name, value in environ.items() if name not in AT_BEGIN}
    return _of_slurm(lasting, now, ask) or _of_pbs(lasting, now, ask)


def _of_slurm(
    environ: Mapping[str, str], now: float, ask: Callable[[Sequence[str]], str]
) -> Walltime | None:
    """By the environment, which old versions say it not in, else by squeue."""
    end = environ.get("SLURM_JOB_END_TIME", "")
    if end.isdecimal():
        return Walltime(int(end) - now, "SLURM_JOB_END_TIME")
    job = environ.get("SLURM_JOB_ID")
    if job is None:
        return None
    rows = [line.split() for line in _asked(ask, "squeue", "-h", "-j", job, "-o", "%A %L")]
    left = next((row[1] for row in rows if row[0] == job), None)  # of an array it tells all
    if left is None:
        raise ValueError(f"squeue knows of no job {job}")
    seconds = clock_s(left)
    if seconds is None and left not in ("UNLIMITED", "NOT_SET"):
        raise ValueError(f"squeue says that job {job} has {left!r} left")
    return None if seconds is None else Walltime(seconds, "squeue")


def _of_pbs(
    environ: Mapping[str, str], now: float, ask: Callable[[Sequence[str]], str]
) -> Walltime | None:
    """By qstat, which has it in other words wherever it is made; else by the environment, which
    does not say when the job began."""
    job = environ.get("PBS_JOBID")
    if job is None:
        return None
    given = environ.get("PBS_WALLTIME", "")
    try:
        rows = _asked(ask, "qstat", "-f", job)
    except OSError:
        if not given.isdecimal():
            raise
        return Walltime(float(given), "PBS_WALLTIME")
    told = dict(re.findall(r"^\s*([\w.]+) = (.*)$", "\n".join(rows), re.M))
    if (left := clock_s(told.get("Walltime.Remaining", ""))) is not None:
        return Walltime(left, "qstat")
    walltime = clock_s(told.get("Resource_List.walltime", ""))
    if walltime is None:
        return None
    began = told.get("stime") or told.get("start_time")
    if began is not None:
        used = now - time.mktime(time.strptime(began.strip(), "%a %b %d %H:%M:%S %Y"))
    else:
        used = clock_s(told.get("resources_used.walltime", "")) or 0.0
    return Walltime(walltime - max(0.0, used), "qstat")


def _asked(ask: Callable[[Sequence[str]], str], *argv: str) -> list[str]:
    try:
        return ask(argv).splitlines()
    except OSError as error:
        raise OSError(f"{argv[0]}: {error}") from None
