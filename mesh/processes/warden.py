"""The warden: when its worker is gone, however it went, it ends what the worker's slots have
started. Then it goes, too.

Its standard input is a pipe that the worker alone holds open, and on which it is told of slots:
``+ PID START`` and ``- PID START``, a line each. When that ends, whatever is in a slot's process
group or session is killed, and whatever has the worker's mark in its environment, which children
inherit wherever they go. The kernel tells of the pipe's end whatever has become of the worker, so
this works when everything but the warden was killed at once.

It never outlives its work, and never hits a stranger: a process is known by its number and the time
it started at. It is a process of its own, run with ``-I -S``, and must stay small: it imports
nothing of ours, and almost nothing else.
"""

from __future__ import annotations

import os
import sys
import time

#: What is killed has gone after so long, or the kernel cannot let it go; nobody can help then.
END_S = 4.0

#: What is killed takes a moment to be gone; what it has just started is found in the next round.
ROUND_S = 0.01

#: SIGKILL, everywhere. The module `signal` would be a quarter of this process's memory.
_KILL = 9


def main() -> None:
    """``python -I -S warden.py MARK``: serve until the end of standard input, then end the rest."""
    mark = sys.argv[1].encode()
    slots = hear()
    if not os.path.exists("/proc/self/stat"):
        end_groups(slots)
        return
    until = time.monotonic() + END_S
    while found := wards(slots, mark):
        for pid, start in found:
            kill(pid, start)
        if time.monotonic() > until:
            return
        time.sleep(ROUND_S)


def hear() -> dict[int, int]:
    """The slots that there were when the worker went: process ids, with their start times."""
    slots: dict[int, int] = {}
    rest = b""
    while more := os.read(0, 65536):
        *lines, rest = (rest + more).split(b"\n")
        for line in lines:
            sign, pid, start = line.split()
            if sign == b"+":
                slots[int(pid)] = int(start)
            else:
                slots.pop(int(pid), None)
    return slots


def wards(slots: dict[int, int], mark: bytes) -> list[tuple[int, int]]:
    """The living processes that are to end: process ids, with their start times."""
    found: list[tuple[int, int]] = []
    groups = {pid: start for pid, start in slots.items() if start_of(pid) in (None, start)}
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        state = state_of(pid)
        if state is None:
            continue
        group, session, start = state
        ours = any(each in groups and start >= groups[each] for each in (group, session))
        if ours or mark in environment_of(pid):
            found.append((pid, start))
    return found


def state_of(pid: int) -> tuple[int, int, int] | None:
    """Process group, session and start time of a living process."""
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            words = file.read().rpartition(b")")[2].split()
    except OSError:
        return None  # it has ended
    if words[0] in (b"Z", b"X"):
        return None  # it has, and its parent has not looked yet
    return int(words[2]), int(words[3]), int(words[19])


def start_of(pid: int) -> int | None:
    """When a process started, in ticks since the machine did; None if there is none."""
    state = state_of(pid)
    return None if state is None else state[2]


def environment_of(pid: int) -> bytes:
    """What a process was started with. Nothing of another user's."""
    try:
        with open(f"/proc/{pid}/environ", "rb", buffering=0) as file:
            return file.readall()
    except OSError:
        return b""


def kill(pid: int, start: int) -> None:
    """Kill the process that had this number at that time, and no later one."""
    try:
        process = os.pidfd_open(pid)
    except (OSError, AttributeError):
        process = -1  # it has ended, or the kernel is older than this
    try:
        if start_of(pid) != start:
            return
        if process < 0:
            os.kill(pid, _KILL)
        else:
            import signal

            signal.pidfd_send_signal(process, signal.SIGKILL)
    except OSError:
        pass  # it was faster, or has become another user's
    finally:
        if process >= 0:
            os.close(process)


def end_groups(slots: dict[int, int]) -> None:
    """Where there is no /proc: end the groups of those slots that were not buried."""
    for pid in slots:
        try:
            os.killpg(pid, _KILL)
        except OSError:
            pass  # nobody is left in it


if __name__ == "__main__":
    main()
