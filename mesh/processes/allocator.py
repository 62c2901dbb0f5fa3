"""The allocator: large blocks go back to the system when they are freed, but while chunks move.

glibc raises the size from which a block is mapped on its own to the largest that was ever freed, up
to 32 MiB. Messages, writes and files of a busy moment then come from the heap, between smaller ones
that stay, and the heap grows by some bytes a task for a million tasks. With a fixed size it does
not. For the worker alone: slots and clients run what is not ours, and may want it otherwise; the
router's heap grows little, now that it keeps no payloads, and its speed with results of some
kilobytes would suffer by a fifth.

A chunk that is mapped on its own costs more for its pages, new each time, than for all that is done
with its bytes: half of the speed with which results move. So blocks of that size are kept for the
next ones while some come or go, and what that has left in the heap is given back afterwards.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable
from typing import Any

from ..protocol.transfer import CHUNK_BYTES

#: glibc's own first choice, before it learns.
MAPPED_BYTES = 128 * 1024

#: While chunks move: one of them, with what is around it, is not mapped on its own; and as much as
#: may be on the way in one moment is not given back.
BULK_MAPPED_BYTES = 2 * CHUNK_BYTES
BULK_KEPT_BYTES = 32 * 1024 * 1024

#: None have moved for so long: it is over. Giving back takes a millisecond, and new pages later.
QUIET_S = 1.0

#: Of malloc.h: the parameters of `mallopt`. Setting either stops the learning.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3


class Allocator:
    """This process's allocator, which from now on returns large blocks; where it is not glibc's,
    nothing is done."""

    def __init__(self) -> None:
        self._set: Callable[[int, int], Any] = lambda *_: 0
        self._trim: Callable[[int], Any] = lambda _: 0
        try:
            libc = ctypes.CDLL(None)
            self._set, self._trim = libc.mallopt, libc.malloc_trim
        except (OSError, AttributeError):
            pass
        self._quiet_at = math.inf
        self._keep(MAPPED_BYTES, MAPPED_BYTES)

    def moved(self, now: float) -> None:
        """Chunks come or go."""
        if self._quiet_at == math.inf:
            self._keep(BULK_MAPPED_BYTES, BULK_KEPT_BYTES)
        self._quiet_at = now + QUIET_S

    def tend(self, now: float) -> None:
        """See whether that is over."""
        if now >= self._quiet_at:
            self._quiet_at = math.inf
            self._keep(MAPPED_BYTES, MAPPED_BYTES)
            self._trim(0)

    def _keep(self, mapped: int, kept: int) -> None:
        self._set(_MMAP_THRESHOLD, mapped)
        self._set(_TRIM_THRESHOLD, kept)
