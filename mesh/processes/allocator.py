"""The allocator: large blocks go back to the system when they are freed.

glibc raises the size from which a block is mapped on its own to the largest that was ever freed, up
to 32 MiB. Messages, writes and files of a busy moment then come from the heap, between smaller ones
that stay, and the heap grows by some bytes a task for a million tasks. With a fixed size it does
not. For the worker alone: slots and clients run what is not ours, and may want it otherwise; the
router's heap grows little, now that it keeps no payloads, and its speed with results of some
kilobytes would suffer by a fifth.
"""

from __future__ import annotations

import ctypes

#: glibc's own first choice, before it learns.
MAPPED_BYTES = 128 * 1024

#: Of malloc.h: the parameters of `mallopt`. Setting either stops the learning.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3


def keep_little() -> None:
    """Have this process's allocator return large blocks; where it is not glibc's, do nothing."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    mallopt(_MMAP_THRESHOLD, MAPPED_BYTES)
    mallopt(_TRIM_THRESHOLD, MAPPED_BYTES)
