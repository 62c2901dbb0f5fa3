"""Group: what one `submit_many` made; a lazy sequence of futures.

A group keeps two flat arrays, how each member ended and what it left, instead of a future per
member: a million members cost megabytes, not gigabytes. A member's future is made when it is asked
for.
"""

from __future__ import annotations

import itertools
import math
import threading
import time
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import aclosing, nullcontext
from typing import TYPE_CHECKING, Any, overload

from ..protocol.messages import BLOCK_TASKS_MAX
from ..protocol.outcome import failure_body
from ..task import SUCCESS, Kind, key, show
from . import again, decode, roll
from .account import OPEN, Account
from .bar import SHOW_EVERY_S, Bar
from .future import Future
from .member import Member
from .older import Older
from .prompt import rest_told
from .saving import Ended

if TYPE_CHECKING:
    from .source import Source

#: Hears which members have ended, or of nothing: that no more will be heard.
Hear = Callable[[Iterable[int]], None]


class Group(Account):
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
        self.aliases = aliases
        self.first = counter + 1
        self.name = name
        self.older = Older()
        self._kinds = bytearray([OPEN]) * size
        self._bodies: list[Any] = [None] * size
        self._left = size
        self._failed = 0
        self._found = 0
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._hearing: list[Hear] = []
        self._error: BaseException | None = None
        self.is_live = False  # submitted here: results are made again if they are lost

    # -- the sequence ------------------------------------------------------------------------

    @property
    def id(self) -> str:
        """The group's id, as the command line takes it."""
        return show(self._session, self._counter)

    @property
    def key(self) -> tuple[str, int]:
        """The same as a session and a counter."""
        return self._session, self._counter

    def __len__(self) -> int:
        return len(self._kinds)

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
        return self.older.task(index) or (self._session, self.first + index)

    def alias_of(self, index: int) -> str | None:
        """The user's id of a member, if it was given one here."""
        return None if self.aliases is None else self.aliases[index]

    def __reduce__(self) -> Any:
        """As an argument of a task it is a list of its members' values there."""
        return list, (list(self.members()),)

    def members(self) -> Iterator[Member]:
        """The members as arguments."""
        return map(Member, itertools.repeat(self), range(len(self)))

    def reference(self, index: int) -> tuple[bytes, str]:
        """The id of a member, and the mesh that it is of."""
        if self.older:
            return key(*self.task_of(index)), self._connection.access.mesh
        return key(self._session, self.first + index), self._connection.access.mesh

    # -- results -----------------------------------------------------------------------------

    def results(
        self, errors: str = "raise", timeout: float | None = None, *, progress: bool = False
    ) -> list[Any]:
        """All members' values, in order.

        Args:
            errors: what to do with members that failed: "raise" the first one's error, "skip"
                them, or "return" their errors in their places.
            timeout: seconds to wait in all.
            progress: show on standard error how far they are; see `wait`.

        Raises:
            TimeoutError: they are not all there in time.
            ValueError: `errors` is none of the three.
            BaseException: see `Future.result`. A note says how the group is (Python 3.11).

        Example:
            >>> rows = m.submit_many(simulate, temperatures).results(progress=True)
        """
        if errors not in ("raise", "skip", "return"):
            raise ValueError(f'errors= is "raise", "skip" or "return", not {errors!r}')
        self._wait(timeout, stop_at_failure=errors == "raise", progress=progress)
        self.look()
        kinds, bodies = self._kinds, self._bodies
        if errors == "raise" and self._failed:
            self._raise_first()
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
        for i, (value, error) in zip(later, again.load_many(self.value, later)):
            if error is not None and (errors == "raise" or isinstance(error, KeyboardInterrupt)):
                raise error
            values[i] = value if error is None else error
            if error is not None:
                failed.add(i)
        if errors == "skip":
            return [value for i, value in enumerate(values) if i not in failed]
        return values

    def _raise_first(self) -> None:
        """Raise the error of the first member that failed, with a note on all."""
        first = self._unsuccessful()[0]
        try:
            self.value(first)
        except BaseException as error:
            if hasattr(error, "add_note"):
                error.add_note(f"{show(*self.task_of(first))}, a member of {self!r}")
            raise

    def value(self, index: int) -> Any:
        """The value of a member that has ended; raises its error."""
        raw = self._kinds[index], self._bodies[index]
        if raw[0] not in SUCCESS:
            raise self.error_of(index)  # from here: what is shown of it has few lines of ours
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
        if not self.ends_within(index, timeout):
            task = show(*self.task_of(index))
            raise FutureTimeout(f"{task} has not ended within {timeout:g} s")
        self._connection.shown()
        return self.value(index)

    def ends_within(self, index: int, timeout: float | None) -> bool:
        """Wait until a member has ended; False if that took longer than `timeout` seconds."""
        kinds = self._kinds
        if kinds[index] == OPEN:
            with self._lock:
                if not self._changed.wait_for(
                    lambda: kinds[index] != OPEN or self._error is not None, timeout
                ):
                    return False
                if kinds[index] == OPEN and self._error is not None:
                    raise self._error
        return True

    def retry_failed(self) -> Group:
        """Run the members that failed or were cancelled again, with the same function, as it was
        submitted, and the same arguments.

        Returns:
            A group of as many members, in the same order: new tasks in place of those, the others
            as they are. This one, if none has failed.

        Raises:
            MeshError: the mesh has forgotten their function.

        Example:
            >>> rows = group.retry_failed().results()
        """
        from . import retry  # it makes groups

        return retry.members(self._connection, self)

    def wait(self, timeout: float | None = None, *, progress: bool = False) -> bool:
        """Wait until all members have ended; False if that took longer than `timeout` seconds.

        Args:
            timeout: default: as long as it takes.
            progress: show on standard error how far they are, and at the end what failed: a bar on
                a terminal and in a notebook (with ``meshrun[progress]``), elsewhere a few lines.
        """
        try:
            self._wait(timeout, stop_at_failure=False, progress=progress)
        except FutureTimeout:
            return False
        return True

    def _wait(self, timeout: float | None, *, stop_at_failure: bool, progress: bool) -> None:
        def over() -> bool:
            return not self._left or self._error is not None or stop_at_failure and self._failed > 0

        deadline = None if timeout is None else time.monotonic() + timeout
        with (
            rest_told(self._connection, self.id, lambda: self._left, len(self)),
            Bar(len(self)) if progress else nullcontext() as bar,
        ):
            is_over = is_late = False
            while True:
                if bar is not None:  # at once: the rate is that from here on
                    bar.show(len(self) - self._left - self._failed, self._failed)
                if is_over:
                    break
                if is_late:
                    raise FutureTimeout(f"{self._left} of {len(self)} members have not ended")
                rest = None if deadline is None else max(0.0, deadline - time.monotonic())
                step = (
                    rest if bar is None else min(SHOW_EVERY_S, math.inf if rest is None else rest)
                )
                with self._lock:
                    is_over = self._changed.wait_for(over, step)
                is_late = step == rest
        self._connection.shown()
        if bar is not None and self._failed:
            bar.say(str(self.failures()))
        if self._error is not None and self._left:
            raise self._error

    def __await__(self) -> Generator[Any, None, list[Any]]:
        """``await group``: what `results` gives, waited for and fetched off the loop. Who is
        cancelled meanwhile has the members cancelled, also those that run.

        Example:
            >>> async def main():
            ...     return await m.submit_many(simulate, temperatures)
        """
        from . import awaiting

        return awaiting.results_of(self).__await__()

    async def __aiter__(self) -> AsyncIterator[Future]:
        """``async for future in group``: the members' futures as they end, however they do; those
        that have ended first. Each is done: await it for its value. Who stops early cancels
        nothing.

        Raises:
            RouterUnreachable: the mesh is gone; from then on nothing is known.

        Example:
            >>> async def main():
            ...     async for future in m.submit_many(simulate, temperatures):
            ...         print(future.id, await future)
        """
        from . import awaiting

        async with aclosing(awaiting.ends_of(self)) as ends:
            async for index in ends:
                yield self[index]

    def stop(self) -> None:
        """Cancel all members, also those that run: for who awaited them."""
        self._connection.cancel(self._spans(), running=True)

    def cancel(self) -> int:
        """Cancel the members that have not begun; how many that were."""
        return int(self._connection.cancel(self._spans(), running=False)["cancelled"])

    def _spans(self) -> list[tuple[str, int, int]]:
        """All members that have not ended, and more: as few spans as that takes."""
        older = [
            (session, first, count)
            for i, session, first, count in self.older
            if self._kinds.count(OPEN, i, i + count)
        ]
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

    def is_own(self, counter: int) -> bool:
        """Whether a task of this session is a member, rather than a number whose member is an
        older task."""
        return self.older.task(counter - self.first) is None

    def take(self, counters: Sequence[int], kinds: Any, bodies: list[Any]) -> None:
        """Members have ended."""
        mine, left, first = self._kinds, self._bodies, self.first
        with self._lock:
            taken: list[int] = []
            for nth, counter in enumerate(counters):
                i = counter - first
                if mine[i] == OPEN:
                    left[i] = bodies[nth]  # before the kind, by which others see that it is there
                    mine[i] = kinds[nth]
                    taken.append(i)
                    if kinds[nth] not in SUCCESS:
                        self._failed += 1
            self._left -= len(taken)
            self._tell(taken)

    def _tell(self, ended: Iterable[int]) -> None:
        """Wake who waits for members; under the lock."""
        self._changed.notify_all()
        for hear in self._hearing:
            hear(ended)

    def listen(self, hear: Hear) -> None:
        """Have `hear` called with members that have ended, each once, from any thread."""
        self._connection.check_process()
        with self._lock:
            self._hearing.append(hear)
            hear([i for i, kind in enumerate(self._kinds) if kind != OPEN])

    def unlisten(self, hear: Hear) -> None:
        """End that."""
        with self._lock:
            self._hearing.remove(hear)

    @property
    def broken(self) -> BaseException | None:
        """Why no more will be heard of its members, if so."""
        return self._error

    def give_up(self, index: int, why: str) -> None:
        """The members from `index` on are not submitted."""
        with self._lock:
            count = len(self) - index
            # Of the block that was being sent some may have ended already.
            ended = [kind for kind in self._kinds[index : index + BLOCK_TASKS_MAX] if kind != OPEN]
            opened = [i for i in range(index, len(self)) if self._kinds[i] == OPEN]
            failed = sum(kind not in SUCCESS for kind in ended)
            self._kinds[index:] = bytes([Kind.CANCELLED]) * count
            self._bodies[index:] = [failure_body("CancelledError", why)] * count
            self._left -= count - len(ended)
            self._failed += count - failed
            self._tell(opened)

    @property
    def own_left(self) -> int:
        """How many members that were submitted here have not ended."""
        return self._left - sum(self._kinds.count(OPEN, i, i + n) for i, _, _, n in self.older)

    def is_older(self, index: int, session: str, counter: int, *, ended: bool) -> None:
        """Member `index` is an older task. Called by the I/O thread."""
        self.older.add(index, session, counter)
        self._found += ended

    def raw(self, index: int) -> tuple[int, Any] | None:
        """How a member ended, or None."""
        kind = self._kinds[index]
        return None if kind == OPEN else (kind, self._bodies[index])

    def open_spans(self) -> list[tuple[str, int, int]]:
        """The members that have not ended, as (session, first, count)."""
        return roll.merged(self.task_of(i) for i, kind in enumerate(self._kinds) if kind == OPEN)

    def fail(self, error: BaseException) -> None:
        """The open members' ends will not be known. Called by the I/O thread."""
        with self._lock:
            if self._left:
                self._error = error
            self._tell(())
