"""Generations: a mapping of limited size, the older half of which goes at once.

One entry after the other would take longer to let go of than to keep, for what is on the way of
every task. What is kept again is young again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Generations(Generic[Value]):
    """Values by name, of which `most` bytes are to be kept: whoever keeps them lets the older
    generation go, with `age`, when it `is_full`."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._young: dict[bytes, Value] = {}
        self._old: dict[bytes, Value] = {}
        self._young_bytes = self._old_bytes = 0

    def keep(
        self, values: Mapping[bytes, Value] | Iterable[tuple[bytes, Value]], size: int
    ) -> None:
        """Keep these, which take `size` bytes in all."""
        self._young.update(values)
        self._young_bytes += size

    def find(self, names: Iterable[bytes]) -> list[Value | None]:
        """The value of each of these; None for those that are not here."""
        young, old = self._young, self._old
        return [young[name] if name in young else old.get(name) for name in names]

    @property
    def is_full(self) -> bool:
        """Whether something should go."""
        size = self._young_bytes
        return size > self._most // 2 or size + self._old_bytes > self._most

    def age(self) -> None:
        """Let go of the older generation; a new one begins."""
        self._old, self._young = self._young, {}
        self._old_bytes, self._young_bytes = self._young_bytes, 0

    def forget(self, name: bytes) -> None:
        """Let go of one."""
        self._young.pop(name, None)
        self._old.pop(name, None)

    def clear(self) -> None:
        """Let go of all."""
        self.age()
        self.age()
