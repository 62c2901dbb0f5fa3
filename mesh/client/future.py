"""Future: one task, as its client holds it."""

from __future__ import annotations

import concurrent.futures
import functools
import time
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from ..errors import TaskNotFound
from ..protocol import inputs
from ..task import STATE_OF, SUCCESS, Kind, key, show
from . import again, decode
from .saving import Ended
from .story import Story

if TYPE_CHECKING:
    from .source import Source


#: Stands for a task's error until somebody asks for it: the I/O thread runs no user's code.
_NOT_DECODED = Exception("not decoded yet")


class Future(concurrent.futures.Future):
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
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        error = self.exception(timeout)
        if error is not None:
            try:
                raise error
            finally:
                del self, error  # no cycle through the traceback
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
        """
        if not self.done():
            self._connection.check_process()
        error = super().exception(timeout)
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
            error = super().exception(timeout)
        except concurrent.futures.CancelledError:
            return True
        except concurrent.futures.TimeoutError:
            return False
        if error is not None and self._raw is None:
            raise error
        return True

    @property
    def state(self) -> str | None:
        """How the task ended: ``done``, ``failed``, …; None while it has not, as far as is known
        here."""
        return None if self._raw is None else STATE_OF[Kind(self._raw[0])].word

    def cancel(self) -> bool:
        """Cancel the task unless it runs or has ended: the router's verdict.

        A running task is never stopped; `Mesh.cancel` does that.
        """
        if self.done():
            return self.cancelled()
        tally = self._connection.cancel([(self._session, self._counter, 1)], running=False)
        if tally["cancelled"]:
            concurrent.futures.wait([self])  # the news is on its way
        return self.cancelled()

    def logs(self) -> str:
        """What the task printed, once it has ended."""
        concurrent.futures.wait([self])
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
        return self._wait().__await__()

    async def _wait(self) -> Any:
        import asyncio  # only who awaits has it loaded, and then long since

        loop = asyncio.get_running_loop()
        try:
            await asyncio.wrap_future(_Watched(self))
        except asyncio.CancelledError:
            if not self.done():
                await loop.run_in_executor(None, self.cancel)
            raise
        return await loop.run_in_executor(None, self.result)

    def __reduce__(self) -> Any:
        """As an argument of a task it stands for its value there."""
        task = key(self._session, self._counter)
        return inputs.refer(task, self._connection.access.mesh, self)

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


class _Watched(concurrent.futures.Future):
    """Done when `future` is: without its value, so that awaiting decodes nothing on the loop."""

    def __init__(self, future: Future) -> None:
        super().__init__()
        future.add_done_callback(self._follow)

    def _follow(self, _: concurrent.futures.Future) -> None:
        if not self.done():
            self.set_result(None)
