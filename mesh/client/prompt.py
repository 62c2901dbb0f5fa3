"""Prompt: somebody types what this interpreter runs, in a session or a notebook.

What is interrupted there ends neither the interpreter nor its mesh: what was waited for goes on,
and the next line that is typed waits behind it. So it is said, once for each interrupt.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from .source import Source


def is_at_prompt() -> bool:
    """Whether somebody types what this interpreter runs: a session or a notebook."""
    return hasattr(sys, "ps1") or bool(sys.flags.inspect)


@contextmanager
def rest_told(source: Source, id: str, left: Callable[[], int], total: int = 1) -> Iterator[None]:
    """Wait inside for the `total` tasks that `id` means: at a prompt who interrupts that is told
    how many of them are `left`, and go on, unless a `with` is left by it, which cancels them."""
    try:
        yield
    except KeyboardInterrupt:
        if is_at_prompt() and not source.is_in_with and (count := left()):
            many = f"{count:,} of {total:,} tasks of {id} go" if total > 1 else f"{id} goes"
            them = "them" if total > 1 else "it"
            line = f"mesh: {many} on; m.cancel({id!r}) ends {them}"
            print(line, file=sys.stderr, flush=True)
        raise
