"""Futures: waiting, cancelling, calling back, awaiting, and what a task printed."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ALL_COMPLETED, FIRST_COMPLETED, FIRST_EXCEPTION, CancelledError
from pathlib import Path

import pytest
import sample_tasks as tasks

from mesh import Future, Mesh, TaskNotFound


@pytest.fixture
def busy(own_mesh: Mesh, tmp_path: Path):
    """A mesh whose two slots are held; what is submitted now stays queued."""
    mesh = own_mesh
    gates = [tasks.pipe_at(tmp_path / f"busy{i}") for i in range(2)]
    begun = [tasks.pipe_at(tmp_path / f"began{i}") for i in range(2)]
    holding = mesh.submit_many(tasks.say_and_hold, begun, gates)
    for pipe in begun:
        tasks.heard_at(pipe)
    yield mesh
    for gate in gates:
        tasks.let_go(gate)
    assert holding.wait(20)


# -- waiting --------------------------------------------------------------------------------------


def test_a_result_can_be_waited_for_too_shortly(busy: Mesh) -> None:
    future = busy.submit(pow, 2, 3)
    for wait in (future.result, future.exception):
        with pytest.raises(concurrent.futures.TimeoutError, match=f"{future.id} .*within 0.01 s"):
            wait(timeout=0.01)
    assert not future.done()
    assert future.cancel()


def test_the_tools_of_concurrent_futures_work(mesh: Mesh, tmp_path: Path) -> None:
    gate = tasks.pipe_at(tmp_path / "gate")
    slow, quick = mesh.submit(tasks.hold, gate, "slow"), mesh.submit(pow, 2, 3)
    done, pending = concurrent.futures.wait([slow, quick], 20, return_when=FIRST_COMPLETED)
    assert (done, pending) == ({quick}, {slow})
    arriving = concurrent.futures.as_completed([slow, quick], timeout=20)
    assert next(arriving) is quick
    tasks.let_go(gate)
    assert next(arriving) is slow
    done, pending = concurrent.futures.wait([slow, quick], 20, return_when=ALL_COMPLETED)
    assert done == {slow, quick} and not pending


def test_waiting_for_the_first_error_ends_at_the_first_error(mesh: Mesh, tmp_path: Path) -> None:
    gate = tasks.pipe_at(tmp_path / "gate")
    slow, large = mesh.submit(tasks.hold, gate), mesh.submit(bytes, 100_000)
    concurrent.futures.wait([large], 20)
    bad = mesh.submit(tasks.fail, "first")
    started = time.monotonic()
    done, pending = concurrent.futures.wait([slow, large, bad], 20, return_when=FIRST_EXCEPTION)
    assert time.monotonic() - started < 10, "it did not fetch results while it looked for errors"
    assert slow in pending and bad in done
    tasks.let_go(gate)
    assert slow.result(20) is None


def test_a_mesh_is_an_executor_for_those_who_take_one(mesh: Mesh) -> None:
    def doubled(executor: concurrent.futures.Executor) -> list[int]:
        return list(executor.map(lambda x: 2 * x, range(5)))

    assert isinstance(mesh, concurrent.futures.Executor)
    assert doubled(mesh) == [0, 2, 4, 6, 8]


# -- cancelling -----------------------------------------------------------------------------------


def test_a_queued_task_can_be_cancelled_and_never_runs(busy: Mesh, tmp_path: Path) -> None:
    future = busy.submit(tasks.note, str(tmp_path), "trace")
    assert future.cancel() and future.cancelled() and future.done()
    with pytest.raises(CancelledError):
        future.result(20)
    with pytest.raises(CancelledError):
        future.exception(20)
    assert future.cancel(), "again: it still is"
    done, _ = concurrent.futures.wait([future], 20)
    assert done == {future}
    assert not (tmp_path / "trace").exists()


def test_a_running_task_is_not_cancelled_by_its_future(mesh: Mesh, tmp_path: Path) -> None:
    begun, gate = tasks.pipe_at(tmp_path / "begun"), tasks.pipe_at(tmp_path / "gate")
    future = mesh.submit(tasks.say_and_hold, begun, gate, "whole")
    tasks.heard_at(begun)
    assert not future.cancel() and not future.cancelled()
    tasks.let_go(gate)
    assert future.result(20) == "whole"
    assert not future.cancel()


def test_a_running_task_is_stopped_by_its_mesh(mesh: Mesh, tmp_path: Path) -> None:
    begun = tasks.pipe_at(tmp_path / "begun")
    future = mesh.submit(tasks.say_and_sleep, begun, 600)
    pid = int(tasks.heard_at(begun))
    assert mesh.cancel(future.id) == 1
    with pytest.raises(CancelledError):
        future.result(20)
    assert mesh.cancel(future.id) == 0, "it has ended"
    assert mesh.submit(tasks.pid).result(20) != pid, "its process went with it"


def test_what_a_stopped_task_has_started_is_stopped_too(mesh: Mesh, tmp_path: Path) -> None:
    begun = tasks.pipe_at(tmp_path / "begun")

    def run_command(begun: str) -> None:
        child = subprocess.Popen(["sleep", "600"])
        with open(begun, "w") as said:
            said.write(str(child.pid))
        child.wait()

    future = mesh.submit(run_command, begun)
    command = os.pidfd_open(int(tasks.heard_at(begun)))
    try:
        assert mesh.cancel(future.id) == 1
        assert concurrent.futures.wait([future], 20).done
        import select

        assert select.select([command], [], [], 10)[0], "the command runs on"
    finally:
        os.close(command)


def test_what_waits_at_a_worker_can_be_cancelled_like_what_waits_in_the_queue(
    tmp_path: Path,
) -> None:
    begun, gate = tasks.pipe_at(tmp_path / "begun"), tasks.pipe_at(tmp_path / "gate")
    with Mesh(slots=1) as m:
        assert m.submit_many(pow, [2] * 500, [1] * 500).wait(20)  # it learns that tasks are quick
        m.submit(tasks.say_and_hold, begun, gate)
        tasks.heard_at(begun)
        futures = m.submit_many(tasks.note, [str(tmp_path)] * 20, map(str, range(20)))
        verdicts = [future.cancel() for future in futures]
        tasks.let_go(gate)
    assert verdicts == [True] * 20
    assert not [path for path in tmp_path.iterdir() if path.name.isdigit()]


def test_cancelling_leaves_the_tasks_beside_it_alone(busy: Mesh) -> None:
    futures = [busy.submit(pow, 2, i) for i in range(20)]
    assert all(future.cancel() for future in futures[::2])
    group = busy.submit_many(pow, [2] * 10, range(10))
    assert group[3].cancel()
    assert not any(future.done() for future in futures[1::2])
    assert group.errors().keys() == {3}


def test_a_group_can_be_cancelled_as_a_whole(busy: Mesh) -> None:
    group = busy.submit_many(pow, [2] * 300, range(300))
    assert group.cancel() == 300
    assert group.wait(20)
    assert group.status()["cancelled"] == 300
    with pytest.raises(CancelledError):
        group.results()
    assert all(isinstance(error, CancelledError) for error in group.errors().values())


def test_cancelling_a_group_by_its_id_stops_what_runs(mesh: Mesh, tmp_path: Path) -> None:
    begun = tasks.pipe_at(tmp_path / "begun")
    group = mesh.submit_many(tasks.say_and_sleep, [begun] + [os.devnull] * 5, [600] * 6)
    tasks.heard_at(begun)
    assert mesh.cancel(group.id) == 6
    assert group.wait(20)
    assert mesh.submit(pow, 2, 3).result(20) == 8


# -- calling back ---------------------------------------------------------------------------------


def test_callbacks_run_in_a_thread_where_they_may_wait(mesh: Mesh, tmp_path: Path) -> None:
    gate = tasks.pipe_at(tmp_path / "gate")
    names: list[str] = []
    seen = threading.Event()

    def call_back(future: concurrent.futures.Future) -> None:
        names.append(threading.current_thread().name)
        assert mesh.submit(pow, 2, future.result()).result(20) == 16  # would hang in an I/O thread
        seen.set()

    mesh.submit(tasks.hold, gate, 4).add_done_callback(call_back)
    tasks.let_go(gate)
    assert seen.wait(20)
    assert names == ["mesh-callbacks"]


def test_a_callback_that_fails_does_not_stop_the_next(mesh: Mesh, tmp_path: Path) -> None:
    gate = tasks.pipe_at(tmp_path / "gate")
    seen = threading.Event()

    def bad(future: concurrent.futures.Future) -> None:
        raise RuntimeError("expected in this test's log")

    def worse(future: concurrent.futures.Future) -> None:
        raise SystemExit("expected, too")

    first = mesh.submit(tasks.hold, gate)
    for call_back in (bad, worse, lambda future: seen.set()):
        first.add_done_callback(call_back)
    tasks.let_go(gate)
    assert seen.wait(20)
    seen.clear()
    os.unlink(gate)
    second = mesh.submit(tasks.hold, tasks.pipe_at(tmp_path / "gate"))
    second.add_done_callback(lambda future: seen.set())
    tasks.let_go(gate)
    assert seen.wait(20)


def test_callbacks_come_for_failures_and_cancellations_too(busy: Mesh) -> None:
    future = busy.submit(pow, 2, 2)
    seen: list[bool] = []
    called = threading.Event()
    future.add_done_callback(lambda each: (seen.append(each.cancelled()), called.set()))
    assert future.cancel() and called.wait(20)
    assert seen == [True]
    future.add_done_callback(lambda each: seen.append(True))  # at once: it has ended
    assert seen == [True, True]


def test_callbacks_have_run_when_the_mesh_is_left() -> None:
    seen: list[int] = []
    with Mesh(slots=1) as m:
        for i in range(50):
            m.submit(pow, i, 2).add_done_callback(lambda future: seen.append(future.result()))
    assert sorted(seen) == [i * i for i in range(50)]


def test_a_callback_may_close_the_mesh() -> None:
    m = Mesh(slots=1)
    closed = threading.Event()
    m.submit(pow, 2, 2).add_done_callback(lambda future: (m.shutdown(), closed.set()))
    assert closed.wait(20)
    with pytest.raises(RuntimeError, match="closed"):
        m.submit(pow, 2, 2)


# -- awaiting -------------------------------------------------------------------------------------


def test_futures_can_be_awaited(mesh: Mesh) -> None:
    async def work() -> list[int]:
        first = await mesh.submit(pow, 2, 3)
        rest = await asyncio.gather(*(mesh.submit(pow, 2, i) for i in range(50)))
        return [first, *rest]

    assert asyncio.run(work()) == [8, *(2**i for i in range(50))]


def test_awaiting_a_failure_raises_it(mesh: Mesh) -> None:
    async def work() -> None:
        await mesh.submit(tasks.fail, "awaited")

    with pytest.raises(ValueError, match="awaited"):
        asyncio.run(work())


def test_the_loop_goes_on_while_a_large_result_is_awaited(mesh: Mesh, tmp_path: Path) -> None:
    gate = tasks.pipe_at(tmp_path / "gate")

    async def work() -> int:
        waiting = asyncio.ensure_future(gathered())
        for _ in range(100):
            await asyncio.sleep(0)
        assert not waiting.done()
        await asyncio.get_running_loop().run_in_executor(None, tasks.let_go, gate)
        return await waiting

    async def gathered() -> int:
        await mesh.submit(tasks.hold, gate)
        return len(await mesh.submit(bytes, 3_000_000))

    assert asyncio.run(work()) == 3_000_000


def test_giving_up_an_await_cancels_the_task(busy: Mesh, tmp_path: Path) -> None:
    future = busy.submit(tasks.note, str(tmp_path), "trace")

    async def work() -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(future, 0.05)

    async def task_of_its_own() -> None:
        waiting = asyncio.ensure_future(wait())
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    async def wait() -> None:
        await other

    asyncio.run(work())
    assert future.cancelled() and not (tmp_path / "trace").exists()
    other = busy.submit(pow, 2, 2)
    asyncio.run(task_of_its_own())
    assert other.cancelled()


# -- what a task printed --------------------------------------------------------------------------


def speak() -> None:
    import ctypes

    print("from print", flush=False)
    print("to stderr", file=sys.stderr)
    os.write(1, b"from a descriptor\n")
    subprocess.run(["echo", "from a command"], check=True)
    libc = ctypes.CDLL(None)
    libc.puts(b"from C")
    libc.fflush(None)


def log_of(future: Future) -> str:
    """What a task has printed when it has ended."""
    assert future.wait(20)
    return future.logs()


def test_logs_hold_all_that_a_task_printed(mesh: Mesh) -> None:
    log = log_of(mesh.submit(speak))
    for line in ("print", "a descriptor", "a command", "C"):
        assert f"from {line}\n" in log
    assert "to stderr\n" in log


def test_logs_are_a_tasks_own(mesh: Mesh) -> None:
    futures = [mesh.submit(print, "line", i) for i in range(100)]
    assert [log_of(future) for future in futures] == [f"line {i}\n" for i in range(100)]
    assert log_of(mesh.submit(pow, 2, 2)) == ""


def test_logs_of_a_task_that_failed_are_kept(mesh: Mesh) -> None:
    def speak_and_fail() -> None:
        print("last words")
        raise ValueError("after them")

    future = mesh.submit(speak_and_fail)
    assert log_of(future) == "last words\n"
    with pytest.raises(ValueError, match="after them"):
        future.result(20)


def test_of_a_flood_of_output_head_and_tail_are_kept(mesh: Mesh) -> None:
    def flood() -> None:
        print("the beginning")
        for _ in range(100):
            print("x" * 99_999)  # ten megabytes
        print("the end")

    log = log_of(mesh.submit(flood))
    assert log.startswith("the beginning\n") and log.endswith("the end\n")
    assert "bytes left out" in log and len(log) < 1_200_000
    assert log_of(mesh.submit(print, "next")) == "next\n"


def test_output_that_is_no_text_is_shown_as_far_as_it_is(mesh: Mesh) -> None:
    assert "a\N{REPLACEMENT CHARACTER}b" in log_of(mesh.submit(os.write, 1, b"a\xffb"))
    assert log_of(mesh.submit(print, "\udcff")) == "\\udcff\n"


def test_logs_of_a_middle_sized_output_are_whole(mesh: Mesh) -> None:
    for size in (4095, 4096, 4097, 100_000):
        assert log_of(mesh.submit(print, "x" * size, end="")) == "x" * size


def test_a_task_may_close_or_replace_its_output(mesh: Mesh) -> None:
    def close_it() -> str:
        os.close(1)
        os.close(2)
        return "closed"

    def replace_it() -> str:
        sys.stdout = None  # type: ignore[assignment]
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115
        return "replaced"

    def lead_it_elsewhere() -> str:
        elsewhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(elsewhere, 1)
        os.dup2(elsewhere, 2)
        os.close(elsewhere)
        return "elsewhere"

    for spoil in (close_it, replace_it, lead_it_elsewhere, close_it, replace_it):
        assert mesh.submit(spoil).result(20) in ("closed", "replaced", "elsewhere")
        later = [mesh.submit(print, "heard") for _ in range(10)]
        assert [log_of(future) for future in later] == ["heard\n"] * 10


def test_what_is_written_to_dev_stdout_is_the_task_s(mesh: Mesh) -> None:
    def write(text: str) -> None:
        subprocess.run(f"echo {text} >/dev/stdout", shell=True, check=True)

    for text in ("from a shell", "f", "from another shell"):
        assert log_of(mesh.submit(write, text)) == text + "\n"
        assert log_of(mesh.submit(abs, -1)) == ""
        assert log_of(mesh.submit(print, "from Python")) == "from Python\n"


# -- by id ----------------------------------------------------------------------------------------


def test_a_future_can_be_had_again_by_its_id(busy: Mesh) -> None:
    future = busy.submit(pow, 2, 3)
    assert busy.future(future.id).id == future.id
    assert busy.future(future.id).cancel()
    assert future.done() and future.cancelled()


def test_a_group_can_be_had_again_by_its_id(mesh: Mesh) -> None:
    group = mesh.submit_many(pow, range(300), [2] * 300, name="squares")
    again = mesh.group(group.id)
    assert again.results(timeout=20) == group.results(timeout=20)
    assert (again.id, len(again), again.name) == (group.id, 300, "squares")
    assert again[7].result(20) == 49
    assert mesh.result(group.id, 20) == group.results()


def test_a_group_without_tasks_can_be_had_by_its_id(mesh: Mesh) -> None:
    empty = mesh.submit_many(pow, [], [])
    assert mesh.group(empty.id).results(timeout=20) == [] == mesh.result("last", 20)
    broken = mesh.submit_many(pow, [threading.Lock()], [2])
    again = mesh.group(broken.id)
    assert again.wait(20)
    assert isinstance(again.errors()[0], TaskNotFound), "it was never sent"


def test_members_that_are_older_tasks_are_members(busy: Mesh) -> None:
    older = [busy.options(id=f"{x}").submit(pow, 2, x) for x in range(2)]
    group = busy.submit_many(pow, [2] * 3, range(3), ids=["0", "1", "2"])
    busy.flush(20)
    assert group.status()["queued"] == 3
    assert group.cancel() == 3
    assert group.wait(20) and group.status()["cancelled"] == 3
    assert all(future.wait(20) and future.cancelled() for future in older)


def test_a_task_that_never_was_is_not_found_even_when_its_session_is(mesh: Mesh) -> None:
    session = mesh.submit(pow, 2, 3).id.partition(".")[0]
    with pytest.raises(TaskNotFound, match="no task"):
        mesh.future(f"{session}.123456789")
