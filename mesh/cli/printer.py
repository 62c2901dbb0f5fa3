"""The printer: what jobs wrote goes to standard output and standard error, job by job."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import IO

from .jobs import Ending, Job


class Printer:
    """Prints what jobs wrote, never that of two in between each other.

    Args:
        in_order: in the order in which the jobs began, not as they end.
        tagged: with the job's values in front of each line.
        aside: what is to be around printing.

    Attributes:
        printed: how many jobs are done with.
    """

    def __init__(
        self, *, in_order: bool, tagged: bool, aside: Callable[[], AbstractContextManager[None]]
    ) -> None:
        self._in_order = in_order
        self._tagged = tagged
        self._aside = aside
        self._early: dict[int, tuple[bytes, bytes]] = {}
        self.printed = 0

    def begin(self, task: str, job: Job) -> None:
        """A job was begun, as this task."""

    def take(self, nth: int, task: str, job: Job, ending: Ending) -> None:
        """The job that was the nth to begin, from 0 on, as `task`, has ended.

        Raises:
            BrokenPipeError: nobody reads any more.
        """
        tag = tag_of(job) if self._tagged else b""
        self._early[nth] = tagged(tag, ending.stdout), tagged(tag, ending.stderr)
        while (following := self.printed if self._in_order else nth) in self._early:
            self._print(*self._early.pop(following))
            self.printed += 1

    def check(self) -> None:
        """See that somebody reads.

        Raises:
            BrokenPipeError: nobody does any more, as far as is known.
        """

    def _print(self, out: bytes, err: bytes) -> None:
        if out or err:
            with self._aside():
                write(sys.stdout.buffer, out)
                write(sys.stderr.buffer, err)


def tag_of(job: Job) -> bytes:
    """What stands in front of a job's lines."""
    return " ".join(job.values).encode("utf-8", "surrogateescape") + b"\t"


def tagged(tag: bytes, text: bytes) -> bytes:
    """`text` with `tag` in front of each line."""
    return b"".join(tag + line for line in io.BytesIO(text)) if tag else text


def write(stream: IO[bytes], text: bytes) -> None:
    """Write it now."""
    if text:
        stream.write(text)
        stream.flush()
