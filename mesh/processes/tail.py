"""Tail: what running tasks have printed since somebody last looked, read from the files that catch
it.

A slot says nothing while it runs: its slate tells which task it is at, and where in its file the
output of that begins. A task is first read when it was there at the look before: short ones are
over by then, and their output comes with their outcome.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from ..core.events import Printed
from ..core.tails import Tails
from .child import Child
from .slate import Note

#: Read of one task at a look, and of all together: of more the end.
READ_BYTES_MAX = 256 * 1024
LOOK_BYTES_MAX = 1024 * 1024


class Tail:
    """Reads for `tails` what slots write."""

    def __init__(self, tails: Tails) -> None:
        self._tails = tails
        self._read: dict[
            str, tuple[int, int | None]
        ] = {}  # by slot: a lease, up to where in a file

    def look(self, children: Iterable[Child]) -> list[Printed]:
        """What has been printed since the last look by tasks that somebody listens to."""
        known, self._read = self._read, {}
        found: list[tuple[Child, Note, int | None]] = []
        for child in children:
            note = child.slate.read()
            if not self._tails.is_heard(note.lease):
                continue
            lease, at = known.get(child.name, (0, None))
            if lease == note.lease:
                found.append((child, note, None if self._tails.is_new(lease) else at))
            self._read[child.name] = note.lease, at if lease == note.lease else None
        self._tails.looked()
        share = min(READ_BYTES_MAX, LOOK_BYTES_MAX // max(1, len(found)))
        pieces: list[Printed] = []
        for child, note, begin in found:
            at, text = self._new(child, note.at if begin is None else begin, share)
            if child.slate.read() == note:  # else it may be another's
                self._read[child.name] = note.lease, at + len(text)
                if text or begin is None:  # who has just come hears of it, if it was nothing
                    pieces.append(Printed(note.lease, note.begun, at - note.at, text))
        return pieces

    def _new(self, child: Child, begin: int, most: int) -> tuple[int, bytes]:
        """What is in the file of a slot behind `begin`, or its end if that is much; and where."""
        try:
            file = os.open(child.output, os.O_RDONLY)
        except OSError:
            return begin, b""  # no descriptor left, or the slot's file is gone: it is only a look
        try:
            at = max(begin, os.fstat(file).st_size - most)
            return at, os.pread(file, most, at)
        finally:
            os.close(file)
