"""asyncio: awaiting futures, groups and the end of a mesh, and tasks that are coroutines."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path
from typing import Any

import pytest
import sample_tasks as tasks

from mesh import Future, Mesh, TaskTimeout


async def off_loop(function: Any, *args: Any) -> Any:
    return await asyncio.get_running_loop().run_in_executor(None, function, *args)


# -- awaiting -------------------------------------------------------------------------------------


def test_many_are_awaited_at_once_and_each_has_its_own_value(mesh: Mesh) -> None:
    async def work() -> list[int]:
        return await asyncio.gather(*(mesh.submit(pow, i, 2) for i in range(500)))

    assert asyncio.run(work()) == [i * i for i in range(500)]


def test_one_future_may_be_awaited_by_many_and_again(mesh: Mesh) -> None:
    async def work() -> list[int]:
        future = mesh.submit(pow, 2, 3)

        async def value() -> int:
            return await future

        return [*await asyncio.gather(*(value() for _ in range(20))), await future]

    assert asyncio.run(work()) == [8] * 21


def test_giving_up_an_await_ends_what_runs(mesh: Mesh, tmp_path: Path) -> None:
    begun, gate = tasks.pipe_at(tmp_path / "begun"), tasks.pipe_at(tmp_path / "gate")

    async def work() -> Future:
        future = mesh.submit(tasks.say_and_hold, begun, gate)

        async def value() -> None:
            await future

        waiting = asyncio.ensure_future(value())
        await off_loop(tasks.heard_at, begun)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        return future

    assert asyncio.run(work()).cancelled()


def test_what_is_shielded_goes_on(mesh: Mesh, tmp_path: Path) -> None:
    gate = tasks.pipe_at(tmp_path / "gate")

    async def work() -> int:
        future = mesh.submit(tasks.hold, gate, 7)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.shield(future), 0.01)
        await off_loop(tasks.let_go, gate)
        return await future

    assert asyncio.run(work()) == 7


def test_a_loop_that_is_closed_early_harms_nobody(mesh: Mesh, tmp_path: Path) -> None:
    gate = tasks.pipe_at(tmp_path / "gate")
    future, group = mesh.submit(tasks.hold, gate, 7), mesh.submit_many(pow, [2] * 5, range(5))

    async def value() -> None:
        await future

    loop = asyncio.new_event_loop()
    waiting = loop.create_task(value())
    members = loop.create_task(anext_of(group))
    loop.run_until_complete(members)
    waiting._log_destroy_pending = False  # type: ignore[attr-defined]
    loop.close()
    tasks.let_go(gate)
    assert future.result(20) == 7 and mesh.submit(pow, 2, 3).result(20) == 8


async def anext_of(group: Any) -> Future:
    async for future in group:
        return future
    raise AssertionError("it is empty")


# -- groups ---------------------------------------------------------------------------------------


def test_members_come_as_they_end(mesh: Mesh, tmp_path: Path) -> None:
    gates = [tasks.pipe_at(tmp_path / name) for name in "ab"]

    async def work() -> list[str]:
        seen: list[str] = []
        group = mesh.submit_many(tasks.hold, gates, "ab")
        await off_loop(tasks.let_go, gates[1])
        async for future in group:
            assert future.done()
            seen.append(await future)
            if len(seen) == 1:
                await off_loop(tasks.let_go, gates[0])
        seen += [await future async for future in group]  # they have ended all
        return seen

    assert asyncio.run(work()) == ["b", "a", "a", "b"]


def test_members_that_fail_come_too_and_each_comes_once(mesh: Mesh) -> None:
    async def work() -> tuple[int, int]:
        good = bad = 0
        async for future in mesh.submit_many(divmod, [7] * 300, [i % 3 for i in range(300)]):
            try:
                await future
                good += 1
            except ZeroDivisionError:
                bad += 1
        return good, bad

    assert asyncio.run(work()) == (200, 100)


def test_a_group_is_awaited_as_its_results(mesh: Mesh) -> None:
    async def work() -> None:
        assert await mesh.submit_many(pow, range(100), [2] * 100) == [i * i for i in range(100)]
        assert await mesh.submit_many(pow, [], []) == []
        with pytest.raises(ValueError, match="told"):
            await mesh.submit_many(tasks.fail, ["told"])

    asyncio.run(work())


def test_giving_up_a_group_ends_all_of_it(mesh: Mesh, tmp_path: Path) -> None:
    begun, gate = tasks.pipe_at(tmp_path / "begun"), tasks.pipe_at(tmp_path / "gate")
    group = mesh.submit_many(tasks.say_and_hold, [begun] + [os.devnull] * 5, [gate] * 6)

    async def values() -> None:
        await group

    async def work() -> None:
        waiting = asyncio.ensure_future(values())
        await off_loop(tasks.heard_at, begun)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    asyncio.run(work())
    assert group.wait(20) and group.status()["cancelled"] == 6


# -- async with -----------------------------------------------------------------------------------


def test_async_with_waits_for_what_was_submitted(nothing_left_behind: object) -> None:
    async def work() -> tuple[Future, Future]:
        async with Mesh(slots=1) as m:
            future = m.submit(tasks.nap, 0.1, 8)
        with pytest.raises(KeyError, match="left by it"):
            async with Mesh(slots=1) as m:
                endless = m.submit(tasks.nap, 600)
                raise KeyError("left by it")
        return future, endless

    future, endless = asyncio.run(work())
    assert future.result() == 8 and endless.cancelled()


def test_a_cancelled_async_with_cancels_what_it_waits_for(tmp_path: Path) -> None:
    begun, gate = tasks.pipe_at(tmp_path / "begun"), tasks.pipe_at(tmp_path / "gate")

    async def work() -> None:
        async with Mesh(slots=1) as m:
            m.submit(tasks.say_and_hold, begun, gate)

    async def main() -> None:
        working = asyncio.ensure_future(work())
        await off_loop(tasks.heard_at, begun)
        working.cancel()
        with pytest.raises(asyncio.CancelledError):
            await working

    asyncio.run(main())


# -- tasks that are coroutines --------------------------------------------------------------------


async def twice(value: int) -> int:
    await asyncio.sleep(0)
    print("said", value)
    return 2 * value


async def fail_within(text: str) -> None:
    async def inner() -> None:
        await asyncio.sleep(0)
        raise ValueError(text)

    await asyncio.gather(inner(), asyncio.sleep(600))


async def clean_up(begun: str, trace: str) -> None:
    try:
        with open(begun, "w"):
            pass
        await asyncio.sleep(600)
    except asyncio.CancelledError:
        await asyncio.sleep(0)  # it may still await
        with open(trace, "w") as said:
            said.write("clean")
        raise


def test_a_task_may_be_a_coroutine(mesh: Mesh) -> None:
    future = mesh.submit(twice, 4)
    assert future.result(20) == 8 and future.logs() == "said 4\n"
    assert mesh.submit_many(twice, range(50)).results(timeout=20) == [2 * i for i in range(50)]


def test_the_traceback_of_a_coroutine_begins_with_its_own_line(mesh: Mesh) -> None:
    with pytest.raises(ValueError, match="deep") as raised:
        mesh.submit(fail_within, "deep").result(20)
    trace = str(raised.value.__cause__)
    files = [line.split('"')[1] for line in trace.splitlines() if line.startswith("  File ")]
    assert files == [__file__, __file__]


def test_a_coroutine_that_is_cancelled_cleans_up(mesh: Mesh, tmp_path: Path) -> None:
    begun, trace = tasks.pipe_at(tmp_path / "begun"), tasks.pipe_at(tmp_path / "trace")
    future = mesh.submit(clean_up, begun, trace)
    tasks.heard_at(begun)
    assert mesh.cancel(future.id) == 1
    assert tasks.heard_at(trace) == "clean"


def test_a_coroutine_that_has_had_its_time_cleans_up(mesh: Mesh, tmp_path: Path) -> None:
    begun, trace = tasks.pipe_at(tmp_path / "begun"), tasks.pipe_at(tmp_path / "trace")
    future = mesh.options(time_limit=1).submit(clean_up, begun, trace)
    tasks.heard_at(begun)
    assert tasks.heard_at(trace) == "clean"
    with pytest.raises(TaskTimeout):
        future.result(20)


def test_a_task_may_run_a_loop_of_its_own(mesh: Mesh) -> None:
    def whole(value: int) -> int:
        return asyncio.run(twice(value))

    assert mesh.submit(whole, 4).result(20) == 8


# -- calling back ---------------------------------------------------------------------------------


def test_a_callback_that_takes_its_time_holds_up_no_news(mesh: Mesh, tmp_path: Path) -> None:
    gate, held = tasks.pipe_at(tmp_path / "gate"), threading.Event()
    slow = mesh.submit(tasks.hold, gate)
    slow.add_done_callback(lambda future: held.wait(20))
    tasks.let_go(gate)
    try:
        assert slow.wait(20)
        assert mesh.submit_many(pow, [2] * 200, range(200)).results(timeout=20)[3] == 8
    finally:
        held.set()
