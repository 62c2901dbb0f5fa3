"""Surroundings: the environment and the folder that a task runs in, as if where it was submitted.

Between two tasks they are what they were before: what one is given, or where it goes, is nothing to
the next. That costs a plain task nothing: a change of folder is noticed, not looked for.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any


class Surroundings:
    """Those of one slot. A task whose folder is not on this host runs in `shelter`, which is made
    then; `say` tells of that."""

    def __init__(self, shelter: Path, say: Callable[[str], None]) -> None:
        self._shelter, self._say = shelter, say
        self._missing: set[str] = set()  # folders that were not here, once that was said
        self._before: dict[str, str | None] = {}  # what is to be put back
        self._begin = self._folder = self._here()
        os.chdir = self._noticing(os.chdir)
        os.fchdir = self._noticing(os.fchdir)

    def _here(self) -> str:
        """Where this process is: in the shelter, if the folder that it was started in is gone."""
        with suppress(FileNotFoundError):
            return os.getcwd()
        self._shelter.mkdir(exist_ok=True)
        os.chdir(self._shelter)
        return str(self._shelter)

    def _noticing(self, change: Callable[..., None]) -> Callable[..., None]:
        def changed(*args: Any, **kwargs: Any) -> None:
            self._folder = ""  # nobody knows
            change(*args, **kwargs)

        changed.__name__, changed.__doc__ = change.__name__, change.__doc__
        return changed

    def enter(self, env: dict[str, str], cwd: str | None, home: str) -> None:
        """Take a task's surroundings: `cwd`, which must be there, else `home`.

        Raises:
            OSError: `cwd` is not there.
        """
        for name, value in env.items():
            self._before[name] = os.environ.get(name)
            os.environ[name] = value
        folder = cwd or home or self._begin
        if folder != self._folder:
            self._go(folder, must=cwd is not None)

    def _go(self, folder: str, *, must: bool) -> None:
        try:
            os.chdir(folder)
        except OSError as error:
            if must:
                why = f"{error.strerror}: the cwd= of this task, on {socket.gethostname()}"
                raise type(error)(error.errno, why, folder) from None
            self._shelter.mkdir(exist_ok=True)
            os.chdir(self._shelter)
            if folder not in self._missing:
                self._missing.add(folder)
                self._say(
                    f"no folder {folder} here ({error.strerror}): "
                    f"what was submitted there runs in {self._shelter}"
                )
        self._folder = folder

    def leave(self) -> None:
        """Put the environment back; the folder is the next task's business."""
        if not self._before:
            return
        for name, value in self._before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        self._before.clear()
