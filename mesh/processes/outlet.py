"""Outlet: what a task prints that shares its process with others.

A descriptor belongs to the process, so only what Python prints is caught: `sys.stdout` and
`sys.stderr` lead to the file of the task whose code prints, told by its context. What C code and
commands write to descriptors 1 and 2 is in the worker's log.
"""

from __future__ import annotations

import os
from contextvars import ContextVar
from pathlib import Path
from typing import Any, TextIO

from .capture import Catch, text_stream


class Outlet(Catch):
    """The output of the tasks of one thread. `path` is made anew; the worker removes it."""

    def __init__(self, path: Path, log: int) -> None:
        super().__init__(path, log)
        self.stdout, self.stderr = text_stream(self.file), text_stream(self.file)

    def settle(self) -> int:
        """The size of the file, with all that was printed in it."""
        for index, stream in enumerate((self.stdout, self.stderr)):
            try:
                stream.flush()
            except (OSError, ValueError):  # the task has closed it: its own choice
                name = ("stdout", "stderr")[index]
                setattr(self, name, text_stream(self.file))
        return os.fstat(self.file).st_size


#: The outlet of the task whose code runs here; none in threads that are nobody's.
HERE: ContextVar[Outlet | None] = ContextVar("outlet", default=None)


class Stream:
    """`sys.stdout` or `sys.stderr` by `name`: the stream of that name of who prints, else
    `otherwise`."""

    def __init__(self, name: str, otherwise: TextIO) -> None:
        self._name, self._otherwise = name, otherwise

    def __getattr__(self, name: str) -> Any:
        outlet = HERE.get()
        stream = self._otherwise if outlet is None else getattr(outlet, self._name)
        return getattr(stream, name)
