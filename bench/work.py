"""The tasks that are measured.

They have a module of their own because pools that spawn their children import it there, and
nothing more.
"""

from __future__ import annotations

import os
import random
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np


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


_KEPT: dict[int, np.ndarray] = {}


def numbers(count: int) -> np.ndarray:
    """An array that is there: to make it anew would be measured as well."""
    import numpy as np  # not every figure needs it

    if count not in _KEPT:
        _KEPT[count] = np.arange(count, dtype=np.float64)
    return _KEPT[count]


def made(size: int) -> bytes:
    """So many bytes that are nobody else's."""
    return random.randbytes(8) * (size // 8)


def taken(*given: Any) -> None:
    """Is given something, and does nothing with it."""


def held(begun: str) -> None:
    """Makes a file, and stays for as long as it is there."""
    Path(begun).touch()
    while os.path.exists(begun):
        time.sleep(0.01)


def first_of(*given: bytes) -> bytes:
    """One of what it is given, for all of it."""
    return given[0]
