"""Complaints: what a child writes to the outputs it was born with, as lines for its parent's log.

A slot leads its outputs into a file for its tasks as soon as it can (capture.py). What comes
before, such as the traceback of one that cannot start, and what it says of itself later, goes
through a pipe, so that each line becomes a record that names the process. The end of the pipe says
nothing: what a task has forked may hold it open.
"""

from __future__ import annotations

import os

#: A line that is longer is told in pieces of this: what a pipe holds on Linux.
LINE_BYTES_MAX = 65536


class Complaints:
    """The pipe of one child. `write` is its end for the child: `started` when that has it.

    Raises:
        OSError: there is no descriptor left.
    """

    def __init__(self) -> None:
        self._read, self.write = os.pipe()
        os.set_blocking(self._read, False)
        self._rest = b""

    def started(self) -> None:
        """The child has its end, or never will."""
        os.close(self.write)

    def lines(self, *, last: bool = False) -> list[str]:
        """The lines since the last call, without waiting; with the `last`, one that has no end."""
        text = self._rest
        while len(text) < LINE_BYTES_MAX:
            try:
                more = os.read(self._read, LINE_BYTES_MAX)
            except BlockingIOError:
                break
            if not more:
                break
            text += more
        *lines, self._rest = text.split(b"\n")
        if last or len(self._rest) >= LINE_BYTES_MAX:
            lines.append(self._rest)
            self._rest = b""
        return [line.decode("utf-8", "replace") for line in lines if line.strip()]

    def close(self) -> None:
        """Free the descriptor."""
        os.close(self._read)
