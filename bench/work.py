"""The tasks that are measured.

They have a module of their own because pools that spawn their children import it there, and
nothing more.
"""

import random
from typing import Any


def noop(*_: Any) -> None:
    """Does nothing: what is timed is the way there and back."""


def fails_or_is_large(number: int) -> bytes | None:
    """Now and then an error at random, now and then a result that stays with its worker."""
    if number % 100 == 1 and random.random() < 0.7:
        raise ValueError(number)
    return bytes(20_000) if number % 1000 == 2 else None


def identity(data: bytes) -> bytes:
    """Sends its argument back, so that payloads travel both ways."""
    return data
