"""Lookups: questions to the store, and what is to happen when it answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

#: Takes the answer and the time at which it came.
Then = Callable[[Any, float], None]


class Lookups:
    """`asked` is what this turn wants looked up; `found` continues where the question was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, str, Any]] = []
        self._then: dict[int, Then] = {}
        self._token = 0

    def ask(self, what: str, about: Any, then: Then) -> None:
        """Ask the store; `then` is called in a later turn."""
        self._token += 1
        self._then[self._token] = then
        self.asked.append((self._token, what, about))

    def found(self, token: int, answer: Any, now: float) -> None:
        """The store has answered."""
        self._then.pop(token)(answer, now)
