"""The tasks that are measured.

They have a module of their own because pools that spawn their children import it there, and
nothing more.
"""

from typing import Any


def noop(*_: Any) -> None:
    """Does nothing: what is timed is the way there and back."""


def identity(data: bytes) -> bytes:
    """Sends its argument back, so that payloads travel both ways."""
    return data
