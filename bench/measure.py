"""How samples are taken, and what is said of them."""

from __future__ import annotations

import gc
import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeVar

Sample = TypeVar("Sample")

SETTLE_S = 0.2


class Spread(NamedTuple):
    """What a few samples of one thing amount to."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, samples: Sequence[float]) -> Spread:
        return cls(statistics.median(samples), min(samples), max(samples))


def interleave(
    sides: Mapping[str, Callable[[], Sample]], repeat: int, settle: float = SETTLE_S
) -> dict[str, list[Sample]]:
    """Sample every side in turn, `repeat` times over: A B A B …, never A A B B.

    What slows the machine for a while then slows all sides of that round, and their ratio stays.
    """
    samples: dict[str, list[Sample]] = {name: [] for name in sides}
    for _ in range(repeat):
        for name, take in sides.items():
            # What the side before left (garbage here, a commit over there) isn't this one's to pay.
            gc.collect()
            time.sleep(settle)
            samples[name].append(take())
    return samples


def percentile(samples: Sequence[float], percent: float) -> float:
    """The smallest sample that at least `percent` % of the samples don't exceed (nearest rank)."""
    rank = math.ceil(len(samples) * percent / 100)
    return sorted(samples)[max(rank, 1) - 1]


def seconds_of(call: Callable[[], object]) -> float:
    """The wall time of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
