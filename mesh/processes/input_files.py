"""Input files: what tasks of a slot take that is in files, looked at once."""

from __future__ import annotations

import os
from pathlib import Path

from ..protocol import packets
from ..protocol.checksum import crc32
from ..store import content

#: So many inputs are remembered as having been whole; then all are looked at anew.
SEEN_MAX = 10_000


class InputAstray(Exception):
    """An input of a task cannot be had here, though it was. `name` is that of its file: a stored
    key."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"its input {path} {why}")
        self.name = bytes.fromhex(Path(path).name)


class InputFiles:
    """Those of one slot."""

    def __init__(self) -> None:
        self._seen: dict[str, int] = {}  # what was whole, and when it was written

    def whole(self, file: packets.File) -> memoryview:
        """The content of a file, whose checksum is looked at when it is first taken here, unless
        the worker just has.

        Raises:
            InputAstray: it is not what it should be.
        """
        try:
            written = os.stat(file.path).st_mtime_ns  # who changes a file changes this
            view = content.mapped(file.path)
        except (OSError, ValueError) as error:
            raise InputAstray(file.path, f"cannot be read: {error}") from None
        if len(view) != file.size:
            raise InputAstray(file.path, f"has {len(view)} bytes instead of {file.size}")
        if self._seen.get(file.path) != written:
            if crc32(view) != file.crc:
                raise InputAstray(file.path, "is damaged: its checksum differs")
            if len(self._seen) >= SEEN_MAX:
                self._seen.clear()
            self._seen[file.path] = written
        return view
