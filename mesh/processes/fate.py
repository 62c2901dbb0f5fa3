"""Fate: what a slot asks the kernel for: to be ended with its worker, and before its worker is."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path


def be_killed_first() -> None:
    """On Linux: when the machine runs out of memory, the kernel's killer takes what runs tasks,
    and neither the worker, who says so, nor the router."""
    try:
        Path("/proc/self/oom_score_adj").write_text("500")
    except OSError:
        pass  # not Linux, or a container that does not have it


def die_with_parent(parent: int) -> None:
    """On Linux the kernel ends this process with its parent, whatever it is doing."""
    if sys.platform != "linux":
        return
    import ctypes

    set_parent_death_signal = 1
    ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)  # it died before we asked
