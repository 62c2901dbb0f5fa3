"""Writes: what a worker's store takes.

Plain values; store/results.py says what becomes of each.
"""

from __future__ import annotations

from typing import NamedTuple

from ..protocol.outcome import Ref


class Untold(NamedTuple):
    """How a lease ended that has stored something: to be told by the next life, if this one does
    not come to it."""

    task: bytes
    lease: int
    mesh: str
    kind: int
    body: bytes


class Told(NamedTuple):
    """The router has recorded how this lease of a task ended."""

    task: bytes
    lease: int


class Gone(NamedTuple):
    """What this lease of a task stored is not needed any more."""

    task: bytes
    lease: int


class Copy(NamedTuple):
    """What another store made lies in `incoming`. Of its first `summed` bytes the checksum is known
    to be `crc`: the rest is read."""

    ref: Ref
    summed: int
    crc: int


class Put(NamedTuple):
    """A client has left this content here."""

    ref: Ref


class Own(NamedTuple):
    """A copy is this store's own from now on: that which it was copied from is left."""

    ref: Ref


#: What a store takes.
Write = Ref | Untold | Told | Gone | Copy | Put | Own
