"""How samples are taken, and what is said of them."""

from __future__ import annotations

import gc
import math
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

Sample = TypeVar("Sample")

SETTLE_S = 0.2

#: Written at a time, as a chunk is: Linux has lists of free memory by the size of its pieces.
BRING_BYTES = 512 * 1024


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


def bring_in(folder: Path, size: int) -> None:
    """Have so many bytes of memory at hand for files in `folder`.

    A virtual machine gives free memory back to its host. To have a page of it again, which the
    kernel of a machine never notices, takes longer than to copy ten; who comes first would pay.
    """
    os.sync()  # what sides before have written goes to disk now, and not while this one is timed
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        for _ in range(-(-size // BRING_BYTES)):
            file.write(bytes(BRING_BYTES))


class Peak:
    """The most that `read` gives while this is open, looked at again and again.

    Attributes:
        growth: how much more that was than at first.
    """

    EVERY_S = 0.02

    def __init__(self, read: Callable[[], float]) -> None:
        self._read = read
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.growth = 0.0

    def _watch(self) -> None:
        while not self._over.wait(self.EVERY_S):
            self.growth = max(self.growth, self._read() - self._first)

    def __enter__(self) -> Peak:
        self._first = self._read()
        self._thread.start()
        return self

    def __exit__(self, *about: object) -> None:
        self._over.set()
        self._thread.join()
