"""The end of processes: waited for, never polled for. Linux: by pidfd."""

from __future__ import annotations

import os
import select
import signal

#: What was told to go may take this long to be gone.
GOING_S = 5.0


def await_end(pid: int, timeout_s: float = GOING_S) -> bool:
    """Wait until process `pid` has ended (a zombie has); False if it takes longer."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], timeout_s)[0])
    finally:
        os.close(descriptor)


def kill(pid: int) -> None:
    """Kill -9, and wait for the end."""
    os.kill(pid, signal.SIGKILL)
    assert await_end(pid)
