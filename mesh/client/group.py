"""Group: what one `submit_many` made; a lazy sequence of futures.

A group keeps two flat arrays, how each member ended and what it left, instead of a future per
member: a million members cost megabytes, not gigabytes. A member's future is made when it is asked
for.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from typing import TYPE_CHECKING, Any, NamedTuple, overload

from ..protocol import inputs
from ..protocol.messages import BLOCK_TASKS_MAX
from ..protocol.outcome import failure_body
from ..task import STATE_OF, SUCCESS, Kind, State, key, show
from . import again, decode
from .future import Future
from .saving import Ended

if TYPE_CHECKING:
    from .source import Source

_OPEN = 255

#: `Group.progress` yields at most this often: ten times a second is what eyes follow.
PROGRESS_S = 0.1

#: Members whose results are lost are waited for by so many threads: as many run again at once.
AGAIN_AT_ONCE = 64


class Progress(NamedTuple):
    """How far a group is: `done` and `failed` have ended; `found` of the done ones were there
    when the group was submitted."""

    done: int
    failed: int
    total: int
    found: int


class Member:
    """A member of a group as an argument: as good as its future there, and much lighter."""

    __slots__ = ("_group", "_index")

    def __init__(self, group: Group, index: int) -> None:
        self._group, self._index = group, index

    def __reduce__(self) -> Any:
        return self._group.refer(self._index)

    @property
    def meaning(self) -> str:
        """See `Future.meaning`."""
        alias = self._group.alias_of(self._index)
        return show(*self._group.task_of(self._index)) if alias is None else alias


inputs.REFERRING.add(Member)


class Group(Sequence[Future]):
    """The members of one `submit_many`, in order. Made by `Mesh`, not by hand.

    Example:
        >>> group = m.submit_many(pow, range(4), [2] * 4)
        >>> group.results()
        [0, 1, 4, 9]
        >>> group[3].id
        'k3f9x2m7.4'
    """

    def __init__(
        self,
        connection: Source,
        session: str,
        counter: int,
        size: int,
        name: str | None = None,
        aliases: list[str | None] | None = None,
    ) -> None:
        self._connection = connection
        self._session = session
        self._counter = counter
        self._aliases = aliases
        self.first = counter + 1
        self.name = name
        self.older: dict[int, tuple[str, int]] = {}  # members that are older tasks
        self._kinds = bytearray([_OPEN]) * size
        self._bodies: list[Any] = [None] * size
        self._left = size
        self._failed = 0
        self._found = 0
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._error: BaseException | None = None
        self.is_live = False  # submitted here: results are made again if they are lost

    # -- the sequence ------------------------------------------------------------------------

    @property
    def id(self) -> str:
        """The group's id, as the command line takes it."""
        return show(self._session, self._counter)

    def __len__(self) -> int:
        return len(self._kinds)

    def __repr__(self) -> str:
        done = len(self) - self._left - self._failed
        return f"<Group {self.id} of {len(self)}: {done} done, {self._failed} failed>"

    @overload
    def __getitem__(self, index: int) -> Future: ...

    @overload
    def __getitem__(self, index: slice) -> list[Future]: ...

    def __getitem__(self, index: int | slice) -> Future | list[Future]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"member {index} of a group of {len(self)}")
        index %= len(self)
        return self._connection.waiting.member(self, index)

    def task_of(self, index: int) -> tuple[str, int]:
        """The session and counter of a member."""
        return self.older.get(index, (self._session, self.first + index))

    def alias_of(self, index: int) -> str | None:
        """The user's id of a member, if it was given one here."""
        return None if self._aliases is None else self._aliases[index]

    def __reduce__(self) -> Any:
        """As an argument of a task it is a list of its members' values there."""
        return list, (list(self.members()),)

    def members(self) -> Iterator[Member]:
        """The members as arguments."""
        return map(Member, itertools.repeat(self), range(len(self)))

    def refer(self, index: int) -> Any:
        """What a member is pickled as, among the arguments of a task."""
        task = key(*self.task_of(index))
        return inputs.refer(task, self._connection.access.mesh, self)

    # -- results -----------------------------------------------------------------------------

    def results(self, errors: str = "raise", timeout: float | None = None) -> list[Any]:
        """All members' values, in order.

        Args:
            errors: what to do with members that failed: "raise" the first one's error, "skip"
                them, or "return" their errors in their places.
            timeout: seconds to wait in all.

        Raises:
            TimeoutError: they are not all there in time.
            ValueError: `errors` is none of the three.
            BaseException: see `Future.result`.
        """
        if errors not in ("raise", "skip", "return"):
            raise ValueError(f'errors= is "raise", "skip" or "return", not {errors!r}')
        self._wait(timeout, stop_at_failure=errors == "raise")
        kinds, bodies = self._kinds, self._bodies
        if errors == "raise" and self._failed:
            self.value(next(i for i, kind in enumerate(kinds) if kind not in (_OPEN, *SUCCESS)))
        fetch, kept = self._connection.fetch, self._connection.kept
        values: list[Any] = [None] * len(self)
        later: list[int] = []
        for i, kind in enumerate(kinds):
            try:
                if kept is None:
                    values[i] = decode.value_of(kind, bodies[i], "", fetch)
                else:
                    values[i] = self.value(i)
            except Exception:
                later.append(i)
        failed: set[int] = set()
        for i, (value, error) in zip(later, self._values_at_once(later)):
            if error is not None and (errors == "raise" or isinstance(error, KeyboardInterrupt)):
                raise error
            values[i] = value if error is None else error
            if error is not None:
                failed.add(i)
        if errors == "skip":
            return [value for i, value in enumerate(values) if i not in failed]
        return values

    def _values_at_once(self, indices: list[int]) -> Iterator[tuple[Any, BaseException | None]]:
        """The values of members that could not be had at the first look, or errors that name their
        tasks. What is lost is made again meanwhile: many at a time, for each takes its task's
        time."""
        pool = ThreadPoolExecutor(min(AGAIN_AT_ONCE, max(len(indices), 1)), "mesh-again")
        try:
            begun = [pool.submit(self.value, i) for i in indices]
            for each in begun:
                error = each.exception()
                yield (each.result(), None) if error is None else (None, error)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def value(self, index: int) -> Any:
        """The value of a member that has ended; raises its error."""
        raw = self._kinds[index], self._bodies[index]
        raw, value = again.load(
            self._connection,
            self.task_of(index),
            raw,
            None,
            is_live=self.is_live,
            alias=self.alias_of(index),
        )
        self._kinds[index], self._bodies[index] = raw
        return value

    def outcome(self, index: int) -> Ended:
        """What the value of a member is made of that has ended."""
        task = show(*self.task_of(index))
        return Ended(task, self._kinds[index], self._bodies[index], self._connection.fetch)

    def value_in_time(self, index: int, timeout: float | None) -> Any:
        """The value of a member, once it has ended; raises its error.

        Raises:
            TimeoutError: it has not ended within `timeout` seconds.
        """
        kinds = self._kinds
        if kinds[index] == _OPEN:
            with self._lock:
                if not self._changed.wait_for(
                    lambda: kinds[index] != _OPEN or self._error is not None, timeout
                ):
                    task = show(*self.task_of(index))
                    raise FutureTimeout(f"{task} has not ended within {timeout:g} s")
                if kinds[index] == _OPEN and self._error is not None:
                    raise self._error
        return self.value(index)

    def errors(self) -> dict[int, BaseException]:
        """The errors of the members that have failed so far, by index."""
        return {
            i: decode.error_of(kind, self._bodies[i], show(*self.task_of(i)))
            for i, kind in enumerate(self._kinds)
            if kind != _OPEN and kind not in SUCCESS
        }

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until all members have ended; False if that took longer than `timeout` seconds."""
        try:
            self._wait(timeout, stop_at_failure=False)
        except FutureTimeout:
            return False
        return True

    def _wait(self, timeout: float | None, *, stop_at_failure: bool) -> None:
        def over() -> bool:
            return not self._left or self._error is not None or stop_at_failure and self._failed > 0

        with self._lock:
            if not self._changed.wait_for(over, timeout):
                raise FutureTimeout(f"{self._left} of {len(self)} members have not ended")
            if self._error is not None:
                raise self._error

    def progress(self) -> Iterator[Progress]:
        """How far the group is, again and again until it has ended, at most ten times a second."""
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

    def _progress(self) -> Progress:
        done = len(self) - self._left - self._failed
        return Progress(done, self._failed, len(self), self._found)

    def status(self) -> dict[str, int]:
        """How many members are in each state, `total`, and `found`: whose result was there when
        the group was submitted. What a mesh without room has not taken in yet is waiting."""
        counts = {state.word: 0 for state in State}
        there = self._connection.count(self._spans()) if self._left else {}
        kinds = bytes(self._kinds)  # what has ended by now has, whatever the router said before
        for kind in set(kinds) - {_OPEN}:
            counts[STATE_OF[Kind(kind)].word] += kinds.count(kind)
        left = kinds.count(_OPEN)
        for state in (State.WAITING, State.QUEUED):
            counts[state.word] = min(left, there.get(state.word, 0))
            left -= counts[state.word]
        running = left
        if self._connection.no_room is not None:  # those that it does not know wait for room
            running = min(left, there.get(State.RUNNING.word, 0))
            counts[State.WAITING.word] += left - running
        return counts | {"running": running, "total": len(self), "found": self._found}

    def cancel(self) -> int:
        """Cancel the members that have not begun; how many that were."""
        return int(self._connection.cancel(self._spans(), running=False)["cancelled"])

    def _spans(self) -> list[tuple[str, int, int]]:
        """All members that have not ended, and more: as few spans as that takes."""
        older = [(*task, 1) for i, task in list(self.older.items()) if self._kinds[i] == _OPEN]
        return [(self._session, self.first, len(self)), *older]

    # -- for the connection ------------------------------------------------------------------

    @property
    def end(self) -> int:
        """The counter after the last member's."""
        return self.first + len(self._kinds)

    @property
    def ended(self) -> bool:
        """Whether no member is open."""
        return not self._left

    def take(self, counters: Sequence[int], kinds: Any, bodies: list[Any]) -> None:
        """Members have ended."""
        mine, left, first = self._kinds, self._bodies, self.first
        with self._lock:
            taken = 0
            for nth, counter in enumerate(counters):
                i = counter - first
                if mine[i] == _OPEN:
                    left[i] = bodies[nth]  # before the kind, by which others see that it is there
                    mine[i] = kinds[nth]
                    taken += 1
                    if kinds[nth] not in SUCCESS:
                        self._failed += 1
            self._left -= taken
            self._changed.notify_all()

    def give_up(self, index: int, why: str) -> None:
        """The members from `index` on are not submitted."""
        with self._lock:
            count = len(self) - index
            # Of the block that was being sent some may have ended already.
            ended = [kind for kind in self._kinds[index : index + BLOCK_TASKS_MAX] if kind != _OPEN]
            failed = sum(kind not in SUCCESS for kind in ended)
            self._kinds[index:] = bytes([Kind.CANCELLED]) * count
            self._bodies[index:] = [failure_body("CancelledError", why)] * count
            self._left -= count - len(ended)
            self._failed += count - failed
            self._changed.notify_all()

    @property
    def own_left(self) -> int:
        """How many members that were submitted here have not ended."""
        return self._left - sum(self._kinds[i] == _OPEN for i in list(self.older))

    def is_older(self, index: int, session: str, counter: int, *, ended: bool) -> None:
        """Member `index` is an older task. Called by the I/O thread."""
        self.older[index] = (session, counter)
        self._found += ended

    def raw(self, index: int) -> tuple[int, Any] | None:
        """How a member ended, or None."""
        kind = self._kinds[index]
        return None if kind == _OPEN else (kind, self._bodies[index])

    def open_spans(self) -> list[tuple[str, int, int]]:
        """The members that have not ended, as (session, first, count)."""
        spans: list[tuple[str, int, int]] = []
        for i, kind in enumerate(self._kinds):
            if kind != _OPEN:
                continue
            session, counter = self.task_of(i)
            if spans and spans[-1][0] == session and spans[-1][1] + spans[-1][2] == counter:
                spans[-1] = (session, spans[-1][1], spans[-1][2] + 1)
            else:
                spans.append((session, counter, 1))
        return spans

    def fail(self, error: BaseException) -> None:
        """The open members' ends will not be known. Called by the I/O thread."""
        with self._lock:
            if self._left:
                self._error = error
            self._changed.notify_all()
