"""Future: one task, as its client holds it."""

from __future__ import annotations

import codecs
import concurrent.futures
import contextlib
import functools
import queue
import time
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any

from ..errors import TaskNotFound
from ..protocol import inputs
from ..task import STATE_OF, SUCCESS, Kind, State, key, show
from . import again, decode
from .novalue import NoValue
from .prompt import rest_told
from .saving import Ended
from .story import Story
from .transcript import Transcript

if TYPE_CHECKING:
    from .source import Source


#: What a task that runs has printed so far is there within this, if it is: a task that waits where
#: it will run has nobody to say so.
SO_FAR_S = 2.0

#: Stands for a task's error until somebody asks for it: the I/O thread runs no user's code.
_NOT_DECODED = Exception("not decoded yet")


class Future(NoValue, concurrent.futures.Future):
    """A `concurrent.futures.Future` of a task on a mesh. Made by `Mesh.submit`, not by hand.

    Its value is decoded, and if need be fetched from the worker that keeps it, when it is asked
    for. Callbacks run in a thread of their own, never in the one that talks to the router.

    Example:
        >>> future = m.submit(pow, 2, 10)
        >>> future.id
        'k3f9x2m7.0'
        >>> future.result()
        1024
    """

    def __init__(
        self, connection: Source, session: str, counter: int, alias: str | None = None
    ) -> None:
        super().__init__()
        self._connection = connection
        self._session = session
        self._counter = counter
        self._alias = alias
        self._raw: tuple[int, Any] | None = None
        self._value: Any = None
        self._is_loaded = False
        self.is_live = False  # submitted here: its result is made again if it is lost

    @property
    def id(self) -> str:
        """The task's id, as the command line takes it."""
        return show(self._session, self._counter)

    def __repr__(self) -> str:
        return f"<Future {self.id} {self._state.lower()}>"

    def result(self, timeout: float | None = None) -> Any:
        """The task's value.

        Args:
            timeout: seconds to wait; None waits for the task, not for a mesh that is gone.

        Raises:
            TimeoutError: it is not there in time.
            concurrent.futures.CancelledError: the task was cancelled.
            RouterUnreachable: the mesh is gone.
            ResultLost, ResultUnreachable: a large result cannot be fetched. What is lost is made
                again, unless the task says `rerun=False`, for a future that `submit` returned, also
                of a call that was found under its id.
            BaseException: what the task raised, with the remote traceback as its cause.

        Example:
            >>> m.submit(pow, 2, 10).result(timeout=60)
            1024
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        error = self.exception(timeout)
        if error is not None:
            try:
                raise error.with_traceback(None)  # each time it is raised from here alone
            finally:  # no cycle through the traceback; who shows its arguments finds them all
                self = None  # type: ignore[assignment]
                del error
        if not self._is_loaded:
            rest = None if deadline is None else max(0.0, deadline - time.monotonic())
            assert self._raw is not None, "it has ended, and without an error"
            task = (self._session, self._counter)
            self._raw, self._value = again.load(
                self._connection, task, self._raw, rest, is_live=self.is_live, alias=self._alias
            )
            self._is_loaded = True
        return self._value

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """What the task raised, or None. Waits as `result` does; fetches nothing.

        Raises:
            TimeoutError: it has not ended in time.
            concurrent.futures.CancelledError: the task was cancelled.

        Example:
            >>> m.submit(int, "x").exception()
            ValueError("invalid literal for int() with base 10: 'x'")
        """
        try:
            with contextlib.nullcontext() if self.done() else self._awaited():
                error = super().exception(timeout)
        except concurrent.futures.TimeoutError:
            raise concurrent.futures.TimeoutError(
                f"{self.id} has not ended within {timeout:g} s, and goes on; "
                "explain() tells what it waits for"
            ) from None
        self._connection.shown()
        if error is not None:
            self._connection.look(self._session, self._counter)
        if error is _NOT_DECODED:
            kind, body = self._raw  # type: ignore[misc]
            error = self._exception = decode.error_of(kind, body, self.id)
        return error

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the task has ended, however it ended, and fetch nothing; False if that took
        longer than `timeout` seconds.

        Raises:
            RouterUnreachable: the mesh is gone.
        """
        try:
            with contextlib.nullcontext() if self.done() else self._awaited():
                error = super().exception(timeout)
        except concurrent.futures.CancelledError:
            return True
        except concurrent.futures.TimeoutError:
            return False
        self._connection.shown()
        if error is not None and self._raw is None:
            raise error
        return True

    def _awaited(self) -> contextlib.AbstractContextManager[None]:
        """Somebody waits for its end, inside."""
        self._connection.check_process()
        return rest_told(self._connection, self.id, lambda: not self.done())

    @property
    def state(self) -> str | None:
        """How the task ended: ``done``, ``failed``, …; None while it has not, as far as is known
        here."""
        if self._raw is None:
            return None
        self._connection.look(self._session, self._counter)
        return STATE_OF[Kind(self._raw[0])].word

    def cancel(self) -> bool:
        """Cancel the task unless it runs or has ended: the router's verdict.

        A running task is never stopped; `Mesh.cancel` does that.

        Example:
            >>> future.cancel() or m.cancel(future.id)  # also if it runs
        """
        if self.done():
            return self.cancelled()
        tally = self._connection.cancel([(self._session, self._counter, 1)], running=False)
        if tally["cancelled"]:
            concurrent.futures.wait([self])  # the news is on its way
        return self.cancelled()

    def stop(self) -> None:
        """Cancel the task, also if it runs, and wait until that is over: for who awaited it."""
        tally = self._connection.cancel([(self._session, self._counter, 1)], running=True)
        if tally["cancelled"]:
            concurrent.futures.wait([self])  # the news is on its way

    def logs(self) -> str:
        """What the task has printed: all of it once it has ended, else what its run has so far; of
        more than 1 MiB the first and the last half.

        Raises:
            RouterUnreachable: the mesh is gone.

        Example:
            >>> print(m.future("T=2.30").logs())
            step 1000: energy -1.74
        """
        text = b""
        if not self.done():
            there = self._connection.count([(self._session, self._counter, 1)])
            if there.get(State.RUNNING.word):
                with contextlib.closing(self._heard(SO_FAR_S)) as heard:
                    text = next(heard, b"")
            elif not any(there.values()):
                self.wait()  # it has ended, and the news of it is on its way
        if self.done():
            _, text = self._logged()
        return text.decode("utf-8", "replace")

    def follow(self) -> Iterator[str]:
        """What the task prints, piece by piece as it does, until it has ended; what its run has
        printed before comes first.

        Raises:
            RouterUnreachable: the mesh is gone.

        Example:
            >>> for text in m.submit(simulate, 2.3).follow():
            ...     print(text, end="")
        """
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        for text in self._heard(None):
            if text:
                yield decoder.decode(text)

    def _heard(self, timeout: float | None) -> Generator[bytes, None, None]:
        """What the task prints, in pieces; what is heard first may be empty. Ends after `timeout`
        seconds without a piece."""
        transcript = Transcript()
        with self._connection.follow(self._session, self._counter) as pieces:
            self.add_done_callback(lambda _: pieces.put(None))
            while True:
                try:
                    piece = pieces.get(timeout=timeout)
                except queue.Empty:
                    return
                if piece is None:
                    break
                yield transcript.hear(piece.begun, piece.at, bytes(piece.text))
        yield transcript.end(*self._logged())

    def _logged(self) -> tuple[float, bytes]:
        """When the run began with which the task has ended, and what that printed."""
        if self._raw is None:
            self.result()  # raises why nothing is known of it
        assert self._raw is not None
        return self._connection.log_of(self._raw[1])

    def explain(self) -> Story:
        """What became of the task so far: every run with host, times and end, and what it waits for
        now. Printed, it reads as lines; as a dict it is for programs (see `Story`).

        Raises:
            RouterUnreachable: no answer.
            TaskNotFound: the mesh does not know the task, or not any more.

        Example:
            >>> print(m.future("last").explain())
        """
        self._connection.look(self._session, self._counter)
        about = {"session": self._session, "counter": self._counter}
        told = self._connection.ask("explain", about)
        if told is None:
            raise TaskNotFound(f"no task {self.id} on this mesh, or not any more")
        return Story(told)

    def outcome(self) -> Ended:
        """What its value is made of, once it is done."""
        kind, body = self._raw  # type: ignore[misc]  # it is
        return Ended(self.id, kind, body, self._connection.fetch)

    def __await__(self) -> Generator[Any, None, Any]:
        """``await future``: its value, waited for, fetched and decoded off the loop. Who is
        cancelled meanwhile has the task cancelled, also if it runs: `asyncio.shield` leaves it be.

        Example:
            >>> async def main():
            ...     return await asyncio.wait_for(m.submit(simulate, 2.3), 60)
        """
        from . import awaiting

        return awaiting.result_of(self).__await__()

    def __reduce__(self) -> Any:
        """As an argument of a task it stands for its value there."""
        return inputs.refer(*self.reference(), self)

    def reference(self) -> tuple[bytes, str]:
        """Which task of which mesh it is."""
        return key(self._session, self._counter), self._connection.access.mesh

    @property
    def meaning(self) -> str:
        """What a call that takes it is told apart by: the user's id of the task, if it has one,
        which is the same in the next script; else the task."""
        return self.id if self._alias is None else self._alias

    # -- for the connection ------------------------------------------------------------------

    def settle(self, kind: int, body: Any) -> None:
        """The task has ended. Called once, by the I/O thread."""
        self._raw = (kind, body)
        if kind == Kind.CANCELLED:
            super().cancel()
            self.set_running_or_notify_cancel()
        elif kind in SUCCESS:
            self.set_result(None)
        else:
            self.set_exception(_NOT_DECODED)

    def is_older(self, session: str, counter: int) -> None:
        """Its alias was taken by the same call: it is that older task."""
        self._session, self._counter = session, counter

    def fail(self, error: BaseException) -> None:
        """The task's end will not be known. Called by the I/O thread."""
        if not self.done():
            self.set_exception(error)

    def _invoke_callbacks(self) -> None:
        for callback in self._done_callbacks:  # type: ignore[attr-defined]
            self._connection.call(functools.partial(callback, self))


inputs.REFERRING.add(Future)
