"""Keeping: what a worker keeps for others, and what it has served and fetched since it started."""

from __future__ import annotations

from typing import Any

from ..protocol.transfer import WAYS


class Keeping:
    """Plain counts. The shell says what happened, REPORT tells it on.

    Attributes:
        is_changed: whether they are others than those that were told last.
    """

    def __init__(self) -> None:
        self.is_changed = False
        self._stored = (0, 0)
        self._served = [[0, 0] for _ in WAYS]
        self._fetched = [[0, 0] for _ in WAYS]

    def stored(self, results: int, size: int) -> None:
        """The store has so many results, of so many bytes together."""
        if self._stored != (results, size):
            self._stored = (results, size)
            self.is_changed = True

    @property
    def stored_bytes(self) -> int:
        """What the store holds."""
        return self._stored[1]

    def served(self, way: int, size: int, *, is_last: bool) -> None:
        """A chunk has gone to somebody; the `last` one of a result makes it served."""
        self._add(self._served[way], size, is_last)

    def fetched(self, way: int, size: int) -> None:
        """The result of another worker is here, whole."""
        self._add(self._fetched[way], size, True)

    def _add(self, counts: list[int], size: int, is_one: bool) -> None:
        counts[0] += is_one
        counts[1] += size
        self.is_changed = True

    def told(self) -> dict[str, Any]:
        """What REPORT and HELLO say of it."""
        return {
            "results": self._stored[0],
            "stored_bytes": self._stored[1],
            "served": _by_way(self._served),
            "fetched": _by_way(self._fetched),
        }


def _by_way(counts: list[list[int]]) -> dict[str, dict[str, int]]:
    return {
        name: {"count": count, "size_bytes": size}
        for name, (count, size) in zip(WAYS, counts, strict=True)
    }
