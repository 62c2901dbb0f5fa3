"""Garbage: how often Python looks for circles of objects in processes that make few."""

from __future__ import annotations

import gc

#: A router or worker makes many objects that live as long as a task waits, and next to no circles.
#: By default each 700 of them are looked through, and now and then all there are: a fifth of the
#: time in which the router's core deals with the tasks of a graph.
THRESHOLDS = 20_000, 20, 20


def collect_seldom() -> None:
    """From now on, in this process; what was imported is never looked through again."""
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
