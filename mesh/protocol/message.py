"""Message: what all messages of the protocol have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .shape import Check


@dataclass(slots=True)
class Message:
    """What all messages share: a command number, a shape, and whether the link numbers them."""

    COMMAND: ClassVar[int]
    SHAPE: ClassVar[tuple[Check, ...]] = ()
    #: A sequenced message is numbered, acknowledged, and sent again if it was not recorded.
    SEQUENCED: ClassVar[bool] = True
