"""A process's log: one line an event, with the time."""

from __future__ import annotations

import time
from typing import IO

from .spool import NO_ROOM


class Log:
    """Appends to the file at `target`, or writes to the stream `target`; call it with a line.

    Lines that find no room on the disk are counted; the next one that does says how many."""

    def __init__(self, target: str | IO[str]) -> None:
        self.file: IO[str] = (
            open(target, "a", buffering=1, encoding="utf-8")  # noqa: SIM115
            if isinstance(target, str)
            else target
        )
        self._lost = 0

    def __call__(self, line: str) -> None:
        stamp = time.strftime("%Y-%m-%d %H:%M:%S")
        lost = f"{stamp} {self._lost} lines were lost: no room on the disk\n" if self._lost else ""
        try:
            self.file.write(f"{lost}{stamp} {line}\n")
            self.file.flush()
            self._lost = 0
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            self._lost += 1
