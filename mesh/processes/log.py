"""A process's log: one line an event, with the time; for people, or as JSON for programs."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
import traceback
from collections.abc import Iterable
from typing import IO, Any

from ..protocol import outcome
from ..task import show


class Log:
    """Appends to the file at `target`, or writes to the stream `target`; call it with a line.

    Lines that cannot be written, for want of room or since nobody reads the stream any more, are
    counted; the next one that can says how many. No process ends for the sake of its log.

    Args:
        target: a path, or a stream.
        as_json: one JSON object a line, each with ``time`` (unix seconds), ``pid`` and ``event``.
    """

    def __init__(self, target: str | IO[str], *, as_json: bool = False) -> None:
        self.file: IO[str] = (
            open(target, "a", buffering=1, encoding="utf-8")  # noqa: SIM115
            if isinstance(target, str)
            else target
        )
        self.as_json = as_json
        self.about: dict[str, Any] = {}  # what is to be known about every line
        self._lost = 0
        self._why: str | None = None

    def __call__(self, line: str, event: str = "said", **about: Any) -> None:
        """Log `line`; for programs it is an `event`, with what is to be known `about` it."""
        self._write([self._line(line, event, about)])

    def catch_crashes(self) -> None:
        """In a log for programs, errors that nobody catches are records, too. Call it in a process
        that has no other use of its standard error."""
        if self.as_json:
            sys.excepthook = self._crashed
            threading.excepthook = self._crashed_aside
            sys.unraisablehook = self._crashed_aside

    def _crashed_aside(self, about: Any) -> None:
        self._crashed(about.exc_type, about.exc_value, about.exc_traceback)

    def _crashed(self, kind: Any, error: Any, trace: Any) -> None:
        text = "".join(traceback.format_exception(kind, error, trace))
        self(text.rstrip(), "crashed", type=kind.__name__)

    def keep(self, journal: Iterable[dict[str, Any]]) -> None:
        """Log what a core noted: a line for each task that a row stands for."""
        lines = []
        for row in journal:
            about = dict(row)
            event, session = about.pop("event"), about.pop("session", None)
            if session is None:
                lines.append(self._line("", event, about))
                continue
            first, count, lease = about.pop("first"), about.pop("count"), about.pop("lease", None)
            about |= _times(about.pop("body", None))
            for n in range(count):
                each = {"task": show(session, first + n)}
                each |= {} if lease is None else {"lease": lease + n}
                lines.append(self._line("", event, each | about))
        if lines:
            self._write(lines)

    def keep_output(self, task: str, lease: int, body: bytes) -> None:
        """Log what a task printed, of its outcome's body; much of it is stored elsewhere."""
        found = outcome.parse(body)
        if not found.flags & outcome.LOG_STORED:
            for line in found.log.decode("utf-8", "replace").splitlines():
                self(f"{task}: {line}", "printed", task=task, lease=lease)

    def _line(self, text: str, event: str, about: dict[str, Any]) -> str:
        if not self.as_json:
            return f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n"
        row = (
            {"time": round(time.time(), 6), "pid": os.getpid(), "event": event} | self.about | about
        )
        return json.dumps(row | {"text": text} if text else row, default=str) + "\n"

    def _write(self, lines: list[str]) -> None:
        if self._lost:
            text = f"{self._lost} lines were lost: {self._why}"
            lines.insert(0, self._line(text, "lost lines", {"count": self._lost}))
        try:
            self.file.write("".join(lines))
            self.file.flush()
            self._lost = 0
        except OSError as error:
            self._lost += len(lines)
            self._why = error.strerror


def _times(body: Any) -> dict[str, float]:
    """When the run began whose outcome has this body (unix time), and how long it took; nothing if
    it had no chance to say so."""
    try:
        found = outcome.parse(body or b"")
    except ValueError:
        return {}
    times = {"begun_at": round(found.begun, 6), "took_s": round(found.took_s, 6)}
    return times if found.begun else {}
