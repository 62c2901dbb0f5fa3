"""Awaiting: what a loop of asyncio may wait for: a future, a group, its members as they end, and
the end of a mesh.

Nothing here holds up the loop: what waits, fetches or decodes does so in a thread of the loop's
executor. Who is cancelled while it awaits tasks has them cancelled.

asyncio is imported when somebody awaits, who has it by then: to import it costs as much as the rest
of Mesh.
"""

from __future__ import annotations

import concurrent.futures
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import MeshError
from ..task import SUCCESS

if TYPE_CHECKING:
    from .future import Future
    from .group import Group

T = TypeVar("T")


class _Ended(concurrent.futures.Future):
    """Done when `future` is: without its value, so that awaiting decodes nothing on the loop."""

    def __init__(self, future: Future) -> None:
        super().__init__()
        future.add_done_callback(self._follow)

    def _follow(self, _: concurrent.futures.Future) -> None:
        if not self.done():
            self.set_result(None)


async def result_of(future: Future) -> Any:
    """The value of a task, or what it raised."""
    import asyncio

    try:
        await asyncio.wrap_future(_Ended(future))
    except asyncio.CancelledError:
        if not future.done():
            await _give_up(future.stop)
        raise
    return await off_loop(future.result)


async def results_of(group: Group) -> list[Any]:
    """The values of all members, in order; raises when the first has failed."""
    import asyncio

    try:
        async with aclosing(ends_of(group)) as ends:
            async for index in ends:
                ended = group.raw(index)
                if ended is not None and ended[0] not in SUCCESS:
                    break
    except asyncio.CancelledError:
        await _give_up(group.stop)
        raise
    return await off_loop(group.results)


async def ends_of(group: Group) -> AsyncGenerator[int, None]:
    """The members of a group by index, in the order in which they end; first those that have.

    Raises:
        RouterUnreachable: the others' ends will not be known.
    """
    import asyncio

    loop, woken = asyncio.get_running_loop(), asyncio.Event()
    came: deque[int] = deque()

    def hear(indices: Iterable[int]) -> None:
        came.extend(indices)
        with suppress(RuntimeError):  # the loop was closed: nobody waits any more
            loop.call_soon_threadsafe(woken.set)

    left = len(group)
    group.listen(hear)
    try:
        while left:
            woken.clear()
            error = group.broken  # before the look at what came: that counts
            while came:
                left -= 1
                yield came.popleft()
            if error is not None and left:
                raise error
            if left:
                await woken.wait()
    finally:
        group.unlisten(hear)


async def off_loop(call: Callable[[], T], give_up: Callable[[], object] | None = None) -> T:
    """What `call` returns, from a thread. Who is cancelled meanwhile calls `give_up`, by which it
    ends sooner, and waits for it all the same."""
    import asyncio

    calling = asyncio.get_running_loop().run_in_executor(None, call)
    if give_up is None:
        return await calling
    try:
        return await asyncio.shield(calling)
    except asyncio.CancelledError:
        await _give_up(give_up)
        await asyncio.wait([calling])
        raise


async def _give_up(stop: Callable[[], object]) -> None:
    """End tasks that nobody awaits any more. Who gives up is not told that the mesh is gone."""
    with suppress(MeshError):
        await off_loop(stop)
