"""Echo: what a client's tasks print is shown where its script prints.

Live, as whole lines, without a prefix: as if the loop ran here. What a task printed is shown before
its result is handed out (`shown`). A thread of its own writes, for a terminal may stand still; what
it cannot keep up with is left out, and that is said: each task's log has all of it.
"""

from __future__ import annotations

import contextvars
import logging
import re
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from ..protocol import messages as m
from ..protocol import outcome
from ..task import show
from . import bar
from .transcript import Transcript

LOGGER = logging.getLogger("mesh")

#: Shown of one task: some thousand lines, more than anybody reads as they go by.
TASK_BYTES_MAX = 256 * 1024

#: Shown of all, in the long run, and at once: beyond 1 MB/s Jupyter cuts a cell's output off.
SHOWN_BYTES_PER_S = 1_000_000
BURST_BYTES = 8_000_000

#: What waits to be shown is at most so much: a terminal that stands still must not fill the memory.
WAITING_BYTES_MAX = 16 * 1024 * 1024

#: A terminal that stands still may hold up the end of a mesh for so long.
CLOSE_S = 5.0

#: What a terminal would have overwritten: all of a line before its last carriage return.
_OVERWRITTEN = re.compile(rb"[^\n]*\r(?=[^\n])")

#: Takes a task's id, and whole lines of what it has printed.
Show = Callable[[str, str], None]


def to_stdout(task: str, text: str) -> None:
    """Show it where the script prints, at this moment: a notebook's cell, a test's capture."""
    stream = sys.stdout
    if stream is None:
        return  # a program without a console
    with bar.beside():
        try:
            stream.write(text)
        except UnicodeEncodeError as error:
            stream.write(text.encode(error.encoding, "backslashreplace").decode(error.encoding))
        stream.flush()


class _Piece(NamedTuple):
    """Something to be shown of a task: a piece from `at` on, or, without one, its log."""

    counter: int
    begun: float
    at: int | None
    text: bytes
    flags: int


class Lines:
    """What is shown of one task: whole lines, up to a limit."""

    def __init__(self) -> None:
        self.transcript = Transcript()
        self._rest = b""
        self._room = TASK_BYTES_MAX

    def is_over(self) -> bool:
        """Whether as much as may be has been shown."""
        return self._room <= 0

    def add(self, text: bytes, *, last: bool = False) -> bytes:
        """The lines that `text` completes; all there is, if it is the `last`."""
        text = self._rest + text
        if b"\r" in text:
            text = _OVERWRITTEN.sub(b"", text)
        end = len(text) if last or len(text) > self._room else text.rfind(b"\n") + 1
        lines, self._rest = text[:end], text[end:]
        lines = lines[: self._room]
        self._room -= len(lines)
        return lines if not lines or lines.endswith(b"\n") else lines + b"\n"


class Allowance:
    """How much may be shown: so much a second in the long run, and a burst."""

    def __init__(self, now: float) -> None:
        self._left, self._at = float(BURST_BYTES), now

    def takes(self, size: int, now: float) -> bool:
        """Whether there is room for `size` bytes; if so, it is taken."""
        self._left = min(BURST_BYTES, self._left + (now - self._at) * SHOWN_BYTES_PER_S)
        self._at = now
        if size > self._left:
            return False
        self._left -= size
        return True


class Echo:
    """The echo of a client's tasks.

    Args:
        session: the client's.
        show: takes what is to be shown; runs in the echo's thread.
        fetch: the bytes of a log that its worker keeps.
        warn: takes a line that the user should see.
    """

    def __init__(
        self,
        session: str,
        show: Show,
        fetch: Callable[[outcome.Ref], bytes],
        warn: Callable[[str], None],
    ) -> None:
        self._session = session
        self._show, self._fetch, self._warn = show, fetch, warn
        self._waiting: deque[_Piece] = deque()
        self._waiting_bytes = 0
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closing = False
        self._taken = self._shown = 0
        self._live: set[int] = set()  # tasks of which something was heard while they ran
        self._lines: dict[int, Lines] = {}  # of these
        self._allowance = Allowance(time.monotonic())
        self._has_warned = False
        self._where = contextvars.copy_context()

    # -- for the I/O thread ------------------------------------------------------------------

    def heard(self, message: m.Printed) -> None:
        """A task of ours has printed something."""
        self._live.add(message.counter)
        self._add(
            _Piece(message.counter, message.begun, message.at, bytes(message.text), 0),
        )

    def ended(self, counters: list[int], bodies: list[bytes]) -> None:
        """Tasks of ours have ended, which is about to be told to who waits for them."""
        live = self._live
        for nth in outcome.with_log(bodies):
            live.discard(counters[nth])
            found = outcome.parse(bodies[nth])
            self._add(_Piece(counters[nth], found.begun, None, found.log, found.flags))
        if live:
            for counter in live.intersection(counters):
                live.discard(counter)
                self._add(_Piece(counter, 0.0, None, b"", 0))

    def _add(self, piece: _Piece) -> None:
        with self._changed:
            if self._closing:
                return
            if piece.at is not None and self._waiting_bytes > WAITING_BYTES_MAX:
                return  # the log will show that it is missing
            self._waiting.append(piece)
            self._waiting_bytes += len(piece.text)
            self._taken += 1
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="mesh-echo", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    # -- for the threads of the script -------------------------------------------------------

    def here(self) -> None:
        """From now on it is shown where this is called: a notebook knows its cells by context."""
        self._where = contextvars.copy_context()

    def shown(self) -> None:
        """Wait until all that has been heard so far is shown."""
        taken, thread = self._taken, self._thread
        if self._shown >= taken or thread is None or thread is threading.current_thread():
            return
        if not thread.is_alive():
            return  # in a fork there is nobody to show it
        with self._changed:
            self._changed.wait_for(lambda: self._shown >= taken or self._closing)

    def close(self) -> None:
        """Show nothing more."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(CLOSE_S)

    # -- the thread --------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closing)
                if self._closing:
                    return
                piece = self._waiting.popleft()
                self._waiting_bytes -= len(piece.text)
            try:
                self._take(piece)
            except BaseException as error:
                if not isinstance(error, OSError):  # the user's own function
                    LOGGER.exception("what tasks print cannot be shown any more")
                elif not isinstance(error, BrokenPipeError):  # else nobody reads
                    LOGGER.warning("what tasks print cannot be shown any more: %s", error)
                self.close()
                return
            with self._changed:
                self._shown += 1
                self._changed.notify_all()

    def _take(self, piece: _Piece) -> None:
        """Show what is new in a piece."""
        is_last = piece.at is None
        lines = self._lines.pop(piece.counter, None) or Lines()
        if not is_last:
            self._lines[piece.counter] = lines
        if lines.is_over():
            return
        if piece.at is not None:
            new = lines.transcript.hear(piece.begun, piece.at, piece.text)
        else:
            new = lines.transcript.end(piece.begun, self._log(piece))
        text = lines.add(new, last=is_last)
        if not text:
            return
        task = show(self._session, piece.counter)
        if lines.is_over():
            text += f"[... {task} has printed more: Future.logs() has it ...]\n".encode()
        if self._allowance.takes(len(text), time.monotonic()):
            self._where.run(self._show, task, text.decode("utf-8", "replace"))
        elif not self._has_warned:
            self._has_warned = True
            self._warn(
                "tasks print more than can be shown here, and some of it is left out: "
                "Future.logs() has it; Mesh(echo=False) shows none"
            )

    def _log(self, piece: _Piece) -> bytes:
        """The log in an outcome, or that to which it refers."""
        if not piece.flags & outcome.LOG_STORED:
            return piece.text
        try:
            return self._fetch(outcome.parse_ref(piece.text))
        except Exception as error:
            return f"[... its output cannot be shown: {error} ...]\n".encode()
