"""Messages about what a worker's store gives up: to another worker, or to make room.

The worker offers, a page at a time; the router says what becomes of that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .message import Message
from .shape import is_bytes, is_int, is_map, is_session, is_small, is_text, rows

#: Why a worker offers: it leaves, while the mesh goes on; or its store has a quota, and is over it.
LEAVES, FULL = 0, 1

#: What becomes of what it has offered: somebody may need it, and it is nowhere else; another store
#: has it, or nobody gets it any more; or nobody is known to need it, but it is recorded as there.
STAYS, GOES, SPARE = 0, 1, 2


@dataclass(slots=True)
class Offer(Message):
    """worker → router. What these leases stored is here: rows of [session, counter, lease]; `why`
    is LEAVES or FULL. Reply: SETTLED, of all of them."""

    COMMAND = 35
    SHAPE = (is_small, rows(is_session, is_int, is_int))

    why: int
    rows: list[list[Any]]


@dataclass(slots=True)
class Settled(Message):
    """router → worker. What is to become of what was offered: rows of [session, counter, lease,
    STAYS, GOES or SPARE]. No reply."""

    COMMAND = 36
    SHAPE = (rows(is_session, is_int, is_int, is_small),)

    rows: list[list[Any]]


@dataclass(slots=True)
class Adopt(Message):
    """router → worker. These refs name stores that are about to be left: fetch what they stand for,
    and keep it as your own. `stores` as in INPUTS. Reply: ADOPTED."""

    COMMAND = 37
    SHAPE = (rows(is_bytes), is_map)

    refs: list[list[bytes]]
    stores: dict[str, list[str]]


@dataclass(slots=True)
class Adopted(Message):
    """worker → router. Rows of [session, counter, lease, the store that the refs named, why not]:
    all that this lease stored is here, as certain as the index; or is not, with the reason. The
    link's acknowledgement is the reply."""

    COMMAND = 38
    SHAPE = (rows(is_session, is_int, is_int, is_session, is_text),)

    rows: list[list[Any]]


@dataclass(slots=True)
class Closed(Message):
    """worker → router. This worker's store goes with it: nothing of it is served again. BYE is
    next. No reply."""

    COMMAND = 39
