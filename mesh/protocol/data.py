"""Messages about data: what tasks take, where it is, and how it comes to who wants it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .inputs import are_inputs
from .message import Message
from .shape import (
    is_blob,
    is_blobs,
    is_bytes,
    is_int,
    is_ints,
    is_kinds,
    is_map,
    is_session,
    is_small,
    is_text,
    rows,
)


@dataclass(slots=True)
class Inputs(Message):
    """router → worker. What tasks take that come in the next TASKS: rows of [lease, counts, task
    ids, kinds, bodies]: so many each under consecutive leases, in the order in which their payloads
    number them; a lease of very many has several rows. A body is a value, or a ref; `stores` says
    where those are that refs name: [addresses, host, folder]; `holders`, by task, all of them that
    have what there are copies of. No reply."""

    COMMAND = 29
    SHAPE = (rows(is_int, is_ints, are_inputs, is_kinds, is_blobs), is_map, is_map)

    rows: list[list[Any]]
    stores: dict[str, list[str]]
    holders: dict[str, list[str]]


@dataclass(slots=True)
class Fetched(Message):
    """peer → router. What it has fetched: rows of [session, counter, way, bytes]; the ways are
    those of `transfer.WAYS`, by number. May be lost. No reply."""

    COMMAND = 52
    SEQUENCED = False
    SHAPE = (rows(is_session, is_int, is_small, is_int),)

    rows: list[list[Any]]


@dataclass(slots=True)
class Lost(Message):
    """worker → router. Stored results that are not, or not whole, where they should be: rows of
    [session, counter, lease, store]. No reply."""

    COMMAND = 48
    SHAPE = (rows(is_session, is_int, is_int, is_session),)

    rows: list[list[Any]]


@dataclass(slots=True)
class Copied(Message):
    """worker → router. It has a copy of what these leases stored: rows of [session, counter,
    lease]. No reply."""

    COMMAND = 40
    SHAPE = (rows(is_session, is_int, is_int),)

    leases: list[list[Any]]


@dataclass(slots=True)
class Where(Message):
    """worker → router. Who holds what these leases stored, and where is that now: rows of [session,
    counter, lease, the store that the ref names]. Reply: HOLDERS."""

    COMMAND = 41
    SHAPE = (rows(is_session, is_int, is_int, is_session),)

    leases: list[list[Any]]


@dataclass(slots=True)
class Holders(Message):
    """router → worker. The answer to WHERE: `stores` and `holders` as in INPUTS. No reply."""

    COMMAND = 42
    SHAPE = (is_map, is_map)

    stores: dict[str, list[str]]
    holders: dict[str, list[str]]


@dataclass(slots=True)
class Relay(Message):
    """peer → router, router → peer. One message of a transfer, between two that cannot reach each
    other: its `head`, and the frame behind it. May be lost. Reply: see README.md."""

    COMMAND = 43
    SEQUENCED = False
    SHAPE = (is_text, is_int, is_bytes, is_blob)

    store: str
    number: int
    head: bytes
    content: Any
