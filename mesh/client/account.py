"""Account: what became of a group's members so far, as lines, rows and counts: half of `Group`.

It reads the two flat arrays of its group, how each member ended and what it left, and asks the
mesh for what they do not tell.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ..task import STATE_OF, SUCCESS, Kind, State, show
from . import decode, export, roll
from .failures import Errors, Failures
from .future import Future
from .older import Older

if TYPE_CHECKING:
    from .source import Source

#: In place of the kind of a member that has not ended.
OPEN = 255

#: `Group.progress` yields at most this often: ten times a second is what eyes follow.
PROGRESS_S = 0.1


class Progress(NamedTuple):
    """How far a group is.

    Attributes:
        done: members that have succeeded.
        failed: members that ended otherwise.
        total: all members.
        found: how many of those that are done were so when the group was submitted.
    """

    done: int
    failed: int
    total: int
    found: int


class Account(Sequence[Future]):
    """See the module."""

    name: str | None
    first: int
    older: Older
    _connection: Source
    _session: str
    _kinds: bytearray
    _bodies: list[Any]
    _left: int
    _failed: int
    _found: int
    _lock: threading.Lock
    _changed: threading.Condition
    _error: BaseException | None

    @property
    def id(self) -> str:
        """The group's id, as the command line takes it."""
        raise NotImplementedError

    def task_of(self, index: int) -> tuple[str, int]:
        """The session and counter of a member."""
        raise NotImplementedError

    def _spans(self) -> list[tuple[str, int, int]]:
        raise NotImplementedError

    def __repr__(self) -> str:
        name = "" if self.name is None else f" {self.name!r}"
        return f"<Group {self.id}{name} of {len(self):,}: {self.failures()}>"

    def errors(self) -> Errors:
        """The errors of the members that have failed so far, by index: a dict, shown as a line that
        sums them up. Each is rebuilt for it; `failures` is cheaper.

        Example:
            >>> group.errors()[17]
            ValueError('negative temperature')
        """
        failures = self.failures()
        return Errors({i: self.error_of(i) for i in self._unsuccessful()}, failures)

    def first_failed(self) -> int | None:
        """The first member that has failed so far, if there is one."""
        return next(iter(self._unsuccessful()), None)

    def error_of(self, index: int) -> BaseException:
        """The error of a member that has failed."""
        self.look()
        task = show(*self.task_of(index))
        return decode.error_of(self._kinds[index], self._bodies[index], task)

    def failures(self) -> Failures:
        """Why members have failed so far, put together by error and line of yours: cheap, however
        many there are.

        Example:
            >>> print(group.failures())
            9,700 done, 300 failed: 280× ValueError sim.py:41 (e.g. k3f9x2m7.17), 20× WorkerLost ...
        """
        failed = self._unsuccessful()
        done = sum(map(self._kinds.count, SUCCESS))

        def raw(index: int) -> tuple[int, Any]:
            return self._kinds[index], self._bodies[index]

        return Failures(done, len(self), failed, raw, lambda i: show(*self.task_of(i)))

    def _unsuccessful(self) -> list[int]:
        """The members that have ended without success."""
        self.look()
        if not self._failed:
            return []
        return [i for i, kind in enumerate(self._kinds) if kind != OPEN and kind not in SUCCESS]

    def rows(self) -> Iterator[dict[str, Any]]:
        """The members as rows of a table, lazily: dicts with ``index``, ``id``, ``name`` (the id of
        your own), ``function``, ``arguments`` (by the names of its parameters), ``state``,
        ``result`` (as it is if it is plain, else as Python shows it; None if it stays with a
        worker), ``result_bytes``, ``error``, ``where`` (your line), ``host``, ``begun_at`` (unix
        seconds), ``took_s`` and ``attempts``.

        Example:
            >>> pandas.json_normalize(list(group.rows()))
        """
        self._connection.flush(None)
        return export.rows(self._connection, self._members())

    def export(self, path: str | os.PathLike[str]) -> int:
        """Write `rows` to a file, ``.csv`` or ``.jsonl`` (a line of JSON each); how many. In the
        former each parameter has a column.

        Raises:
            ValueError: the file's name ends in neither.
            MeshError: it cannot be written.

        Example:
            >>> group.export("sweep.csv")
            200
        """
        self._connection.flush(None)
        return export.write(self._connection, self._members(), os.fspath(path))

    def _members(self) -> list[tuple[str, int, int]]:
        return roll.members(self._session, self.first, len(self), self.older)

    def progress(self) -> Iterator[Progress]:
        """How far the group is, again and again until it has ended, at most ten times a second.

        Example:
            >>> for now in group.progress():
            ...     window.set_title(f"{now.done} of {now.total}")
        """
        last = None
        while True:
            with self._lock:
                if self._error is not None:
                    raise self._error
                now = self._progress()
                ended = not self._left
                if now == last and not ended:
                    self._changed.wait()
                    continue
            yield now
            if ended:
                return
            last = now
            pause = time.monotonic() + PROGRESS_S
            with self._lock:
                while self._left and (rest := pause - time.monotonic()) > 0:
                    self._changed.wait(rest)

    def catch_up(self, ended: int) -> None:
        """Wait until it is known here how so many members ended: they have."""
        for now in self.progress():
            if now.done + now.failed >= ended:
                return

    def look(self) -> None:
        """Somebody sees how many members have failed."""
        self._connection.look(self._session, self.first, len(self))

    def _progress(self) -> Progress:
        self.look()
        done = len(self) - self._left - self._failed
        return Progress(done, self._failed, len(self), self._found)

    def status(self) -> dict[str, int]:
        """How many members are in each state, `total`, and `found`: whose result was there when
        the group was submitted. What a mesh without room has not taken in yet is waiting.

        Example:
            >>> group.status()["running"]
            4
        """
        self.look()
        counts = {state.word: 0 for state in State}
        there = self._connection.count(self._spans()) if self._left else {}
        kinds = bytes(self._kinds)  # what has ended by now has, whatever the router said before
        for kind in set(kinds) - {OPEN}:
            counts[STATE_OF[Kind(kind)].word] += kinds.count(kind)
        left = kinds.count(OPEN)
        for state in (State.WAITING, State.QUEUED):
            counts[state.word] = min(left, there.get(state.word, 0))
            left -= counts[state.word]
        running = left
        if self._connection.no_room is not None:  # those that it does not know wait for room
            running = min(left, there.get(State.RUNNING.word, 0))
            counts[State.WAITING.word] += left - running
        return counts | {"running": running, "total": len(self), "found": self._found}
