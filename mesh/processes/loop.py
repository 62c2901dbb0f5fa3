"""Loop: the one loop of asyncio of a process with threads, on which the coroutines of all of them
run at once."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from types import CoroutineType
from typing import Any


class Loop:
    """A loop in a thread of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._run, name="mesh-loop", daemon=True).start()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        while True:
            try:
                self._loop.run_forever()
            except BaseException:
                pass  # sys.exit() in a coroutine ends that one alone: see `Errand`

    def begin(self, coroutine: CoroutineType[Any, Any, Any]) -> Errand:
        """Have a coroutine run, in this thread's context."""
        return Errand(self._loop, coroutine)


class Errand:
    """A coroutine that runs on `loop`."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, coroutine: CoroutineType[Any, Any, Any]
    ) -> None:
        self._loop, self._coroutine = loop, coroutine
        self._task: asyncio.Task[Any] | None = None
        self._ended = threading.Event()
        loop.call_soon_threadsafe(self._begin, context=contextvars.copy_context())

    def _begin(self) -> None:
        self._task = self._loop.create_task(self._coroutine)
        self._task.add_done_callback(lambda _: self._ended.set())

    def cancel(self) -> None:
        """Cancel it; it may clean up."""
        self._loop.call_soon_threadsafe(self._cancel)  # not before it has begun

    def _cancel(self) -> None:
        assert self._task is not None, "it was begun before"
        self._task.cancel()

    def result(self) -> Any:
        """Wait for its end: what it returns, or raises."""
        self._ended.wait()
        assert self._task is not None, "it has ended"
        return self._task.result()
