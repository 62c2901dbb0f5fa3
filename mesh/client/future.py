"""Future: one task, as its client holds it."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from ..errors import PayloadError
from ..task import Kind, show
from . import decode

if TYPE_CHECKING:
    from .connection import Connection


class Future(concurrent.futures.Future):  # type: ignore[type-arg]
    """A `concurrent.futures.Future` of a task on a mesh. Made by `Mesh.submit`, not by hand.

    Its value is decoded, and if need be fetched from the worker that keeps it, when it is asked
    for. Callbacks run in a thread of their own, never in the one that talks to the router.

    Example:
        >>> future = m.submit(pow, 2, 10)
        >>> future.id
        'k3f9x2m1.0'
        >>> future.result()
        1024
    """

    def __init__(self, connection: Connection, session: str, counter: int) -> None:
        super().__init__()
        self._connection = connection
        self._session = session
        self._counter = counter
        self._raw: tuple[int, Any] | None = None
        self._error: BaseException | None = None
        self._value: Any = None
        self._is_decoded = False

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
            ResultLost, ResultUnreachable: a large result cannot be fetched.
            BaseException: what the task raised, with the remote traceback as its cause.
        """
        super().result(timeout)
        self._decode(timeout)
        if self._error is not None:
            try:
                raise self._error
            finally:
                self = None  # type: ignore[assignment]  # no cycle through the traceback
        return self._value

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """What the task raised, or None. Waits and raises as `result` does."""
        error = super().exception(timeout)
        if error is not None:
            return error
        self._decode(timeout)
        return self._error

    def cancel(self) -> bool:
        """Cancel the task unless it runs or has ended: the router's verdict.

        A running task is never stopped; `Mesh.cancel` does that.
        """
        if self.done():
            return self.cancelled()
        tally = self._connection.cancel([(self._session, self._counter, 1)], running=False)
        return bool(tally["cancelled"])

    def logs(self) -> str:
        """What the task printed, once it has ended."""
        if self._raw is None:
            self.exception()
        assert self._raw is not None
        return self._connection.log_of(self._raw[1])

    def __await__(self) -> Generator[Any, None, Any]:
        return self._wait().__await__()

    async def _wait(self) -> Any:
        loop = asyncio.get_running_loop()
        try:
            await asyncio.wrap_future(_Watched(self))
        except asyncio.CancelledError:
            if not self.done():
                await loop.run_in_executor(None, self.cancel)
            raise
        return await loop.run_in_executor(None, self.result)

    def __reduce__(self) -> Any:
        raise PayloadError(
            f"{self!r} cannot travel as an argument: pass future.result(), or the value"
        )

    # -- for the connection ------------------------------------------------------------------

    def settle(self, kind: int, body: Any) -> None:
        """The task has ended. Called once, by the I/O thread."""
        self._raw = (kind, body)
        if kind == Kind.CANCELLED:
            super().cancel()
            self.set_running_or_notify_cancel()
        else:
            self.set_result(None)

    def is_older(self, session: str, counter: int) -> None:
        """Its alias was taken by the same call: it is that older task."""
        self._session, self._counter = session, counter

    def fail(self, error: BaseException) -> None:
        """The task's end will not be known. Called by the I/O thread."""
        if not self.done():
            self.set_exception(error)

    def _decode(self, timeout: float | None) -> None:
        if self._is_decoded:
            return
        assert self._raw is not None
        kind, body = self._raw
        try:
            self._value = decode.value_of(kind, body, self.id, self._connection.fetch, timeout)
        except BaseException as error:
            if isinstance(error, (KeyboardInterrupt, TimeoutError)):
                raise
            self._error = error
        self._is_decoded = True

    def _invoke_callbacks(self) -> None:
        if self._done_callbacks:  # type: ignore[attr-defined]
            self._connection.call(super()._invoke_callbacks)  # type: ignore[misc]


class _Watched(concurrent.futures.Future):  # type: ignore[type-arg]
    """Done when `future` is: without its value, so that awaiting decodes nothing on the loop."""

    def __init__(self, future: Future) -> None:
        super().__init__()
        future.add_done_callback(lambda _: self.done() or self.set_result(None))
