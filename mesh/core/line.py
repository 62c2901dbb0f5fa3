"""Line: what a slot was sent and has not answered, packet by packet.

A packet's tasks have consecutive leases and are answered in order. The slot reads the oldest
packet first, but the worker may take unread ones out while it does, so any but the first can
leave from the middle.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator


class Line:
    """The leases in one slot's line, oldest first."""

    __slots__ = ("_count", "_packets")

    def __init__(self) -> None:
        self._packets: deque[list[int]] = deque()  # [next lease to be answered, end]
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[int]:
        for low, high in self._packets:
            yield from range(low, high)

    def __contains__(self, lease: int) -> bool:
        return any(low <= lease < high for low, high in self._packets)

    @property
    def first(self) -> int | None:
        """The lease that runs, if any does."""
        return self._packets[0][0] if self._packets else None

    @property
    def in_hand(self) -> range:
        """What is left of the first packet: what the slot may be at."""
        return range(*self._packets[0]) if self._packets else range(0)

    def add(self, low: int, high: int) -> None:
        """A packet of the leases [low, high) was sent."""
        self._packets.append([low, high])
        self._count += high - low

    def answered(self) -> None:
        """The first lease was answered."""
        packet = self._packets[0]
        packet[0] += 1
        self._count -= 1
        if packet[0] == packet[1]:
            self._packets.popleft()

    def remove(self, leases: Iterable[int]) -> None:
        """These leases were not read, and are taken out: whole packets, or parts of one that was
        too big to travel as one, of which slot and worker may have read in turns."""
        gone = set(leases)
        kept: deque[list[int]] = deque()
        for low, high in self._packets:
            if gone.isdisjoint(range(low, high)):
                kept.append([low, high])
                continue
            for lease in range(low, high):
                if lease in gone:
                    continue
                if kept and kept[-1][1] == lease and lease - 1 >= low and lease - 1 not in gone:
                    kept[-1][1] = lease + 1
                else:
                    kept.append([lease, lease + 1])
        self._packets = kept
        self._count = sum(high - low for low, high in kept)
