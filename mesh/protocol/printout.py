"""What is kept of a task's output: of much, head and tail.

A position in it is one in all that was printed, so that who has seen a part of it while the task
ran is shown the rest of it at the end, and nothing twice.
"""

from __future__ import annotations

import re

#: Kept of one task's output: half of it head, half tail.
LOG_BYTES_MAX = 1024 * 1024

_NOTE = re.compile(rb"\n?\[\.\.\. (\d+) bytes left out \.\.\.\]\n")


def note(left_out: int) -> bytes:
    """What stands in place of so many bytes."""
    return f"[... {left_out} bytes left out ...]\n".encode()


def thinned(head: bytes, left_out: int, tail: bytes) -> bytes:
    """A log that lacks `left_out` bytes between `head` and `tail`."""
    return head + (b"\n" if head else b"") + note(left_out) + tail


def rest_of(log: bytes, at: int) -> bytes:
    """What is behind byte `at` of the output that `log` was made of, as far as it was kept."""
    for begin in (0, LOG_BYTES_MAX // 2):  # of what was killed the tail alone is kept
        found = _NOTE.match(log, begin)
        if found is not None and at > begin:
            left_out, tail = int(found[1]), log[found.end() :]
            gap = begin + left_out - at
            return note(gap) + tail if gap > 0 else tail[-gap:]
    return log[at:]
