"""A process's log: one line an event, with the time."""

from __future__ import annotations

import time
from typing import IO


class Log:
    """Appends to the file at `target`, or writes to the stream `target`; call it with a line."""

    def __init__(self, target: str | IO[str]) -> None:
        self.file: IO[str] = (
            open(target, "a", buffering=1, encoding="utf-8")  # noqa: SIM115
            if isinstance(target, str)
            else target
        )

    def __call__(self, line: str) -> None:
        stamp = time.strftime("%Y-%m-%d %H:%M:%S")
        self.file.write(f"{stamp} {line}\n")
