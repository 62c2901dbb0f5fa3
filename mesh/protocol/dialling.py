"""The messages about whether workers can reach somebody: a doctor's way back."""

from __future__ import annotations

from dataclasses import dataclass

from .message import Message
from .shape import is_dialled, is_int, is_text, is_texts


@dataclass(slots=True)
class Dial(Message):
    """router → worker. Try to get in at these addresses, ``tcp://HOST:PORT#KEY``, with a key pair
    that was made for that. Reply: DIALLED. May be lost."""

    COMMAND = 66
    SEQUENCED = False
    SHAPE = (is_int, is_texts, is_text, is_text)

    token: int
    addresses: list[str]
    public: str
    secret: str


@dataclass(slots=True)
class Dialled(Message):
    """worker → router. What came of each address: after how many seconds it let the worker in, or
    why it did not. May be lost. No reply."""

    COMMAND = 67
    SEQUENCED = False
    SHAPE = (is_int, is_dialled)

    token: int
    came: dict[str, str | float]
