"""Failures: why members of a group failed, put together by cause.

A cause is the class of an error and the user's own line that it came from, or, of a task that took
its slot or worker down, the host. Bodies are read as text and no error is rebuilt: a million
failures cost what LOOKS_MAX of them do.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, overload

from ..errors import BY_NAME, Failure
from ..protocol import outcome
from ..task import Kind

#: Of more failures than this so many, evenly spread, are looked at, and stand for all: 0.2 s.
LOOKS_MAX = 20_000

#: Causes that are told in words; the rest are counted.
CAUSES_SHOWN = 5

#: Of an example's message.
MESSAGE_CHARS = 200

#: Stands for the class of an error where there is none.
CANCELLED = "cancelled"

#: A frame in a formatted traceback.
_FRAME = re.compile(r'^[ |]*File "([^"\n]+)", line (\d+)', re.M)

#: What in a file's path tells that its lines are not the user's.
_LIBRARY = re.compile(r"/(?:site|dist)-packages/|/lib/python3|^<frozen ")

#: How a slot ended, in the message of the task that took it down.
_HOW = re.compile(r": it (.+) on ")


class Cause(NamedTuple):
    """Why some members failed.

    Attributes:
        error: the name of the error's class, or ``cancelled``.
        where: the user's line, ``sim.py:41``; the host, ``on n2``, of what was lost there; or "".
        members: how many.
        example: the id of the first of them.
        message: the first line of its error's message.
    """

    error: str
    where: str
    members: int
    example: str
    message: str

    def __str__(self) -> str:
        what = f"{self.error} {self.where}".rstrip()
        return f"{self.members:,}× {what} (e.g. {self.example})"


class Failures(Sequence[Cause]):
    """The causes, the most frequent first. As text a line that sums up the group.

    Attributes:
        done, failed, total: members that succeeded, that ended otherwise, and all.
        cancelled: how many of those that ended otherwise were cancelled.
        is_estimate: there are so many that the counts are of a sample of 20,000, scaled.

    Example:
        >>> print(group.failures())
        9,700 done, 300 failed: 280× ValueError sim.py:41 (e.g. k3f9x2m7.17), 20× WorkerLost ...
        >>> group.failures()[0].message
        'negative temperature'
    """

    def __init__(
        self,
        done: int,
        total: int,
        failed: Sequence[int],
        raw: Callable[[int], tuple[int, Any]],
        id: Callable[[int], str],
    ) -> None:
        self.done, self.failed, self.total = done, len(failed), total
        self.is_estimate = len(failed) > LOOKS_MAX
        step = len(failed) / LOOKS_MAX if self.is_estimate else 1.0
        looked = min(len(failed), LOOKS_MAX)
        counts: dict[tuple[str, str], list[Any]] = {}
        for nth in range(looked):
            index = failed[int(nth * step)]
            error, where, message = cause_of(*raw(index))
            entry = counts.setdefault((error, where), [0, index, message])
            entry[0] += 1
        causes = [
            Cause(error, where, round(count * step), id(index), message)
            for (error, where), (count, index, message) in counts.items()
        ]
        self._causes = sorted(causes, key=lambda cause: -cause.members)
        self.cancelled = sum(each.members for each in causes if each.error == CANCELLED)

    def __len__(self) -> int:
        return len(self._causes)

    @overload
    def __getitem__(self, index: int) -> Cause: ...

    @overload
    def __getitem__(self, index: slice) -> list[Cause]: ...

    def __getitem__(self, index: int | slice) -> Cause | list[Cause]:
        return self._causes[index]

    def __iter__(self) -> Iterator[Cause]:
        return iter(self._causes)

    def __str__(self) -> str:
        left = self.total - self.done - self.failed
        line = f"{self.done:,} done"
        line += f", {left:,} not ended" if left else ""
        line += f", {self.cancelled:,} cancelled" if self.cancelled else ""
        causes = [each for each in self._causes if each.error != CANCELLED]
        if not causes:
            return line
        told = ", ".join(map(str, causes[:CAUSES_SHOWN]))
        more = len(causes) - CAUSES_SHOWN
        told += f", and {more} other causes" if more > 0 else ""
        failed = self.failed - self.cancelled
        return f"{line}, {failed:,} failed: {'about ' if self.is_estimate else ''}{told}"

    def __repr__(self) -> str:
        return f"<Failures {self}>"


class Errors(dict[int, BaseException]):
    """Errors by the index of their member: a dict. Shown as a line that sums them up.

    Example:
        >>> group.errors()
        <Errors 2 done, 1 failed: 1× ValueError sim.py:41 (e.g. k3f9x2m7.17)>
    """

    def __init__(self, errors: dict[int, BaseException], failures: Failures) -> None:
        super().__init__(errors)
        self._failures = failures

    def __repr__(self) -> str:
        return f"<Errors {self._failures}>"


def cause_of(kind: int, body: Any) -> tuple[str, str, str]:
    """The class of a failure's error, where it came from, and its message."""
    if kind == Kind.CANCELLED:
        return CANCELLED, "", ""
    try:
        failure, _ = outcome.parse_failure(outcome.parse(body).rest)
    except ValueError as error:  # whatever a slot has made of it
        return "PayloadError", "", f"not readable: {error}"
    return of_failure(kind, failure)


def of_failure(kind: int, failure: Failure) -> tuple[str, str, str]:
    """The class of the error that ended a task so, without its module; where that came from; and
    the beginning of its message."""
    name = failure.kind
    if kind in (Kind.ERROR, Kind.FINAL) or name not in BY_NAME:
        name = name.rpartition(".")[2]
    message = failure.message.strip().partition("\n")[0][:MESSAGE_CHARS]
    if kind not in (Kind.SLOT_LOST, Kind.WORKER_LOST):
        return name, line_of(failure.traceback), message
    how = _HOW.search(failure.message)
    where = f"on {failure.host}" if failure.host else ""
    return name, where + (f", {how[1]}" if how else ""), message


def line_of(traceback: str) -> str:
    """The last line of the user's code in a traceback, as ``sim.py:41``; "" if there is none."""
    frames = _FRAME.findall(traceback)
    own = [frame for frame in frames if not _LIBRARY.search(frame[0])]
    if not frames:
        return ""
    path, number = (own or frames)[-1]
    return f"{path.rpartition('/')[2]}:{number}"
