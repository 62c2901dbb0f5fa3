"""The messages about what clients put: see `core/puts.py` for what becomes of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .message import Message
from .shape import is_blob, is_int, is_kinds, is_session, is_small, is_text, rows


@dataclass(slots=True)
class Put(Message):
    """client → router. Objects that tasks may take: rows of [counter, kind, body, is_argument]. A
    body is that of an outcome: a value, or a ref to content that the client has left with the
    worker of that store. The link's acknowledgement says: it is in the store, and recorded.

    Replies: OUTCOMES for each, of kind REFUSED for what cannot be had.
    """

    COMMAND = 45
    SHAPE = (rows(is_int, is_kinds, is_blob, is_small),)

    rows: list[list[Any]]


@dataclass(slots=True)
class Take(Message):
    """router → worker. A client has left content with you: rows of [session, counter, size,
    crc32]. Take it into the store. Reply: TAKEN."""

    COMMAND = 46
    SHAPE = (rows(is_session, is_int, is_int, is_int),)

    rows: list[list[Any]]


@dataclass(slots=True)
class Taken(Message):
    """worker → router. Rows of [session, counter, why not]: in the store, as certain as its index;
    or not, with the reason. The link's acknowledgement is the reply."""

    COMMAND = 47
    SHAPE = (rows(is_session, is_int, is_text),)

    rows: list[list[Any]]
