"""Slots, workers and routers that are killed while work is in flight: no task is lost."""

from __future__ import annotations

import ctypes
import os
import re
import signal
import socket
import subprocess
import sys
from concurrent.futures import CancelledError, ThreadPoolExecutor
from pathlib import Path

import pytest
import sample_tasks as tasks
from ending import await_end, kill
from scripts import another_worker

from mesh import Future, Mesh, MeshError, ResultUnreachable, TaskFailed, TaskTimeout, WorkerLost
from mesh.processes import local, spawn

SOON = {"heartbeat_s": 0.2, "lost_after_s": 2.0}

#: Enough to be everywhere at once: queued, prefetched, in slots, on their way back.
MANY = 400


@pytest.fixture
def traces(tmp_path: Path) -> Path:
    folder = tmp_path / "traces"
    folder.mkdir()
    return folder


@pytest.fixture
def quick(tmp_path: Path, nothing_left_behind):
    """A mesh with a folder that notices silence soon."""
    with Mesh(dir=tmp_path / "own", slots=2, settings=SOON) as m:
        m.wait_for_slots(2, 20)
        yield m


def worker_of(mesh: Mesh) -> dict:
    (worker,) = mesh.status()["workers"]
    return worker


def is_of(process: subprocess.Popen, worker: dict) -> bool:
    return worker["pid"] == process.pid


def in_flight(mesh: Mesh, traces: Path, at: list[int], pipes: list[str]):
    """Hundreds of tasks, of which those `at` say that they have begun at `pipes`."""

    def work(traces: str, i: int, said: str | None) -> int:
        first = tasks.note(traces, str(i)) and os.path.getsize(f"{traces}/{i}") == 1
        if said is not None and first:
            tasks.say_and_sleep(said, 0.3)
        elif i % 7 == 0:
            tasks.nap(0.005)
        return i * i

    said = dict(zip(at, pipes, strict=True))
    names = [said.get(i) for i in range(MANY)]
    return mesh.submit_many(work, [str(traces)] * MANY, range(MANY), names)


def check_all(group, traces: Path, most: int) -> None:
    """Every task has its result; what ran again is no more than what was in flight."""
    assert group.results(timeout=25) == [i * i for i in range(MANY)]
    runs = tasks.runs(traces)
    assert len(runs) == MANY and all(runs.values())
    again = sum(count - 1 for count in runs.values())
    assert again <= most, f"{again} runs were repeated"
    status = group.status()
    assert (status["done"], status["total"]) == (MANY, MANY)


# -- killed from outside --------------------------------------------------------------------------


def test_killed_slots_cost_no_task(quick: Mesh, traces: Path, tmp_path: Path) -> None:
    at = [20, 150, 300]
    pipes = [tasks.pipe_at(tmp_path / f"said{i}") for i in at]
    group = in_flight(quick, traces, at, pipes)
    for pipe in pipes:
        kill(int(tasks.heard_at(pipe)))
    check_all(group, traces, most=3 * 32)  # a packet that was read counts as begun
    assert quick.wait_for_slots(2, 20) == 2


def test_a_worker_keeps_no_file_of_what_no_slot_will_take(tmp_path: Path) -> None:
    """Large functions and arguments wait in files for their slot."""
    blob = os.urandom(50_000)  # more than a packet, less than what is put

    def large(argument: bytes) -> bool:
        return argument == blob

    def await_files(*kinds: str) -> None:
        incoming = m.folder / "worker" / "incoming"
        while {path.name.partition("-")[0] for path in incoming.iterdir()} != {"slot", *kinds}:
            m.status()  # a round trip, in which the worker goes on

    def submit_to_one_that_does_not_read() -> tuple[Future, int]:
        slot = m.submit(tasks.pid).result(20)
        os.kill(slot, signal.SIGSTOP)
        future = m.submit(large, blob)
        await_files("function", "arguments")
        return future, slot

    with Mesh(dir=tmp_path / "own", slots=1, settings=SOON) as m:
        future, slot = submit_to_one_that_does_not_read()
        kill(slot)
        assert future.result(20)
        await_files()
        kill(m.submit(tasks.pid).result(20))  # the next one has yet to be told the function
        future, _ = submit_to_one_that_does_not_read()
        assert m.cancel(future.id) == 1
        await_files()


def test_a_killed_worker_costs_no_task(quick: Mesh, traces: Path, tmp_path: Path) -> None:
    pipe = tasks.pipe_at(tmp_path / "said")
    group = in_flight(quick, traces, [150], [pipe])
    slot = int(tasks.heard_at(pipe))
    kill(worker_of(quick)["pid"])
    assert await_end(slot, 5), "its slots go with it"
    check_all(group, traces, most=MANY)
    assert quick.wait_for_slots(2, 20) == 2


def test_a_killed_router_costs_no_task(quick: Mesh, traces: Path, tmp_path: Path) -> None:
    pipe = tasks.pipe_at(tmp_path / "said")
    group = in_flight(quick, traces, [150], [pipe])
    slot, slots = int(tasks.heard_at(pipe)), worker_of(quick)["slots"]
    epoch = quick.status()["router"]["epoch"]
    kill(quick.status()["router"]["pid"])
    # What ended is not run again, what runs is not dispatched again.
    check_all(group, traces, most=0)
    assert quick.status()["router"]["epoch"] == epoch + 1
    assert slot in {each["pid"] for each in slots}
    assert {each["pid"] for each in worker_of(quick)["slots"]} == {each["pid"] for each in slots}


def test_everything_killed_at_once_costs_no_task(quick: Mesh, traces: Path, tmp_path: Path) -> None:
    pipe = tasks.pipe_at(tmp_path / "said")
    group = in_flight(quick, traces, [150], [pipe])
    tasks.heard_at(pipe)
    status = quick.status()
    for pid in (status["router"]["pid"], status["workers"][0]["pid"]):
        os.kill(pid, signal.SIGKILL)
    check_all(group, traces, most=MANY)


def test_a_temporary_mesh_survives_the_same(traces: Path, tmp_path: Path) -> None:
    at = [50, 200, 350]
    pipes = [tasks.pipe_at(tmp_path / f"said{i}") for i in at]
    with Mesh(slots=2) as m:
        group = in_flight(m, traces, at, pipes)
        tasks.heard_at(pipes[0])
        kill(m.status()["router"]["pid"])
        tasks.heard_at(pipes[1])
        kill(worker_of(m)["pid"])
        kill(int(tasks.heard_at(pipes[2])))
        check_all(group, traces, most=MANY)


def test_what_is_submitted_and_asked_while_the_router_is_away_is_answered(
    quick: Mesh, tmp_path: Path
) -> None:
    done = quick.submit(bytes, 100_000)
    assert len(done.result(20)) == 100_000
    for _ in range(3):
        os.kill(quick.status()["router"]["pid"], signal.SIGKILL)
        future, group = quick.submit(pow, 2, 3), quick.submit_many(pow, range(50), [2] * 50)
        assert quick.result(done.id, 20) == done.result()
        assert future.result(20) == 8
        assert group.results(timeout=20) == [i * i for i in range(50)]


def test_a_question_that_waits_is_answered_by_the_next_router(quick: Mesh, tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as threads:
        answer = threads.submit(quick.wait_for_slots, 3, 20)
        quick.status()  # asked after it, and answered: it is there
        kill(quick.status()["router"]["pid"])
        with another_worker(quick.folder, tmp_path / "other", slots=1):
            assert answer.result(20) == 3


def test_results_of_a_worker_that_was_killed_are_fetched_from_the_next_one(quick: Mesh) -> None:
    futures = [quick.submit(bytes, 3_000_000) for _ in range(3)]
    assert len(futures[0].result(20)) == 3_000_000
    assert all(future.exception(20) is None for future in futures)
    kill(worker_of(quick)["pid"])
    assert len(futures[1].result(20)) == 3_000_000
    assert len(quick.result(futures[2].id, 20)) == 3_000_000


@pytest.mark.parametrize("name", ["router", "worker"])
def test_who_is_killed_while_it_is_started_again_is_started_once_more(
    quick: Mesh, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    start = spawn.service
    started: list[str] = []

    def start_and_kill_the_first(*arguments) -> subprocess.Popen:
        process = start(*arguments)
        if not started:
            process.kill()
        started.append(arguments[0])
        return process

    status = quick.status()
    monkeypatch.setattr(spawn, "service", start_and_kill_the_first)
    kill((status["router"] if name == "router" else status["workers"][0])["pid"])
    assert quick.submit(pow, 2, 3).result(20) == 8
    assert started == [name, name]


def test_with_two_workers_a_killed_one_costs_no_task(
    quick: Mesh, traces: Path, tmp_path: Path
) -> None:
    pipe = tasks.pipe_at(tmp_path / "said")
    with another_worker(quick.folder, tmp_path / "other", slots=2) as other:
        assert quick.wait_for_slots(4, 20) == 4
        group = in_flight(quick, traces, [150], [pipe])
        tasks.heard_at(pipe)
        os.kill(other.pid, signal.SIGKILL)
        check_all(group, traces, most=MANY)
    assert len(quick.status()["workers"]) == 1


def test_a_worker_that_leaves_in_order_costs_nothing(
    quick: Mesh, traces: Path, tmp_path: Path
) -> None:
    pipe = tasks.pipe_at(tmp_path / "said")
    with another_worker(quick.folder, tmp_path / "other", slots=2) as other:
        assert quick.wait_for_slots(4, 20) == 4
        group = in_flight(quick, traces, [150], [pipe])
        tasks.heard_at(pipe)
        other.send_signal(signal.SIGINT)
        assert other.wait(20) == 0
        check_all(group, traces, most=0)


def test_a_result_whose_worker_is_away_says_so_and_comes_when_it_is_back(
    quick: Mesh, tmp_path: Path
) -> None:
    def make(worker: int) -> bytes:
        tasks.nap(0.05)
        if os.getppid() != worker:
            raise LookupError("made elsewhere")
        return bytes(300_000)

    with another_worker(quick.folder, tmp_path / "other", slots=1) as other:
        assert quick.wait_for_slots(3, 20) == 3
        group = quick.submit_many(make, [other.pid] * 12)
        assert group.wait(20)
        future = next(future for future in group if future.exception() is None)
        kill(other.pid)
        other.wait()
        while any(each["connected"] for each in quick.status()["workers"] if is_of(other, each)):
            pass  # until its router has seen it, the result is read from its file
        with pytest.raises(ResultUnreachable, match="start its worker again"):
            future.result(20)
    with another_worker(quick.folder, tmp_path / "other", slots=1):
        assert quick.wait_for_slots(3, 20) == 3
        assert len(future.result(20)) == 300_000


def test_a_router_that_stands_still_for_a_while_loses_nobody(
    quick: Mesh, traces: Path, tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    pipe = tasks.pipe_at(tmp_path / "said")
    group = in_flight(quick, traces, [150], [pipe])
    tasks.heard_at(pipe)
    router = quick.status()["router"]["pid"]
    slots = {each["pid"] for each in worker_of(quick)["slots"]}
    os.kill(router, signal.SIGSTOP)
    try:
        signal.sigtimedwait([], 1.8)  # nine heartbeats of silence
    finally:
        os.kill(router, signal.SIGCONT)
    check_all(group, traces, most=0)
    assert {each["pid"] for each in worker_of(quick)["slots"]} == slots
    assert capfd.readouterr().err.count("has been silent for") == 1, "suspected, and said once"


def test_a_task_that_holds_the_interpreter_costs_its_worker_nothing(quick: Mesh) -> None:
    def hold_the_interpreter() -> str:
        ctypes.PyDLL(None).sleep(2)  # ten heartbeats
        return "whole"

    worker = worker_of(quick)["incarnation"]
    assert quick.submit(hold_the_interpreter).result(20) == "whole"
    assert worker_of(quick)["incarnation"] == worker


# -- killed by the task itself --------------------------------------------------------------------


def close_all_descriptors() -> None:
    os.closerange(0, 4096)


def overwrite_nothing() -> None:
    ctypes.string_at(0)  # a segmentation fault


@pytest.mark.parametrize("stubborn", [False, True], ids=["obeys", "stubborn"])
@pytest.mark.parametrize("why", ["time_limit", "cancel"])
def test_what_is_stopped_may_clean_up_and_leaves_nobody(
    mesh: Mesh, tmp_path: Path, why: str, stubborn: bool
) -> None:
    begun, trace = tasks.pipe_at(tmp_path / "begun"), tmp_path / "trace"
    view = mesh.options(time_limit=0.5 if why == "time_limit" else None)
    future = view.submit(tasks.clean_up_after, begun, str(trace), stubborn)
    slot, child = map(int, tasks.heard_at(begun).split())
    if why == "cancel":
        assert mesh.cancel(future.id) == 1
    with pytest.raises(TaskTimeout if why == "time_limit" else CancelledError):
        future.result(20)
    assert await_end(slot, 10) and await_end(child, 10)
    assert trace.read_text() == "interrupted"
    assert mesh.submit(pow, 2, 3).result(20) == 8


@pytest.mark.parametrize(
    ("death", "arguments", "said"),
    [
        (tasks.exit_at_once, (3,), "exited with code 3"),
        (tasks.exit_at_once, (0,), "exited with code 0"),
        (tasks.kill_itself, (signal.SIGKILL,), r"SIGKILL.*memory"),
        (tasks.kill_itself, (signal.SIGTERM,), "SIGTERM"),
        (tasks.kill_itself, (40,), "signal 40"),
        (overwrite_nothing, (), "SIGSEGV"),
        (close_all_descriptors, (), "exited with code"),
    ],
    ids=["exit 3", "exit 0", "SIGKILL", "SIGTERM", "real-time", "segfault", "descriptors"],
)
def test_a_task_that_ends_its_process_fails_after_three_times_and_harms_no_other(
    mesh: Mesh, traces: Path, death, arguments: tuple[int, ...], said: str
) -> None:
    def die(traces: str) -> None:
        tasks.note(traces, "death")
        death(*arguments)

    before = mesh.submit_many(tasks.note, [str(traces)] * 20, map(str, range(20)))
    deadly = mesh.submit(die, str(traces))
    after = mesh.submit_many(tasks.note, [str(traces)] * 20, map(str, range(20, 40)))
    with pytest.raises(WorkerLost, match=said) as caught:
        deadly.result(20)
    assert deadly.id in str(caught.value) and socket.gethostname() in str(caught.value)
    assert caught.value.failure is not None and caught.value.failure.pid > 0
    assert isinstance(caught.value, TaskFailed)
    assert before.results(timeout=20) + after.results(timeout=20) == [str(i) for i in range(40)]
    runs = tasks.runs(traces)
    assert runs.pop("death") == 3
    assert max(runs.values()) == 1, "a task beside it was run again"


def test_those_that_kill_are_told_from_those_that_travel_with_them(
    mesh: Mesh, traces: Path
) -> None:
    """Quick tasks travel together: who goes down with a killer is run again, and not blamed."""

    def maybe_die(traces: str | None, i: int) -> int:
        if traces is not None and i in (100, 101, 333):
            tasks.note(traces, str(i))
            os._exit(1)
        return i

    assert mesh.submit_many(maybe_die, [None] * 500, range(500)).wait(20)  # they are quick
    group = mesh.submit_many(maybe_die, [str(traces)] * 500, range(500))
    assert group.wait(25)
    assert set(group.errors()) == {100, 101, 333}
    assert all(isinstance(error, WorkerLost) for error in group.errors().values())
    assert group.results(errors="skip") == [i for i in range(500) if i not in (100, 101, 333)]
    assert set(tasks.runs(traces).values()) <= {3, 4}, "one run may be that of a whole packet"


def test_losses_are_not_the_users_retries(mesh: Mesh, traces: Path) -> None:
    def die_twice_and_fail_once(traces: str) -> str:
        tasks.note(traces, "run")
        run = os.path.getsize(f"{traces}/run")
        if run in (1, 3):
            os._exit(1)
        if run == 2:
            raise ValueError("once")
        return "in the end"

    assert mesh.options(retries=1).submit(die_twice_and_fail_once, str(traces)).result(20)
    with pytest.raises(WorkerLost):
        mesh.options(retries=100).submit(tasks.exit_at_once).result(20)


def test_a_task_that_ends_its_worker_fails_too_in_the_end(tmp_path: Path, capfd) -> None:
    """That is rarely its own doing, so the cap is higher than that for slots."""
    with Mesh(slots=1) as m:
        deadly = m.submit(lambda: os.kill(os.getppid(), signal.SIGKILL))
        with pytest.raises(WorkerLost, match="with its worker 11 times, the last time alone on"):
            deadly.result(25)
        assert m.submit(pow, 2, 3).result(20) == 8
    assert "the worker died (signal 9) and is started again" in capfd.readouterr().err


def test_a_worker_that_dies_again_and_again_is_given_up_and_who_waits_is_told(
    capfd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "RESTARTS_MAX", 3)
    with Mesh(slots=1, settings={"worker_losses_max": 100}) as m:
        deadly = m.submit(lambda: os.kill(os.getppid(), signal.SIGKILL))
        why = r"the worker died 3 times .* is not started again; see .*worker\.log"
        with pytest.raises(MeshError, match=why):
            deadly.result(25)
        assert re.search(why, capfd.readouterr().err)
        with pytest.raises(MeshError, match=why):
            m.submit(pow, 2, 3)


def test_a_task_that_forks_answers_once(mesh: Mesh) -> None:
    def fork_carelessly() -> int:
        os.fork()  # the child goes on as if it were the slot
        return os.getpid()

    slots = {each["pid"] for each in worker_of(mesh)["slots"]}
    assert mesh.submit(fork_carelessly).result(20) in slots
    assert mesh.submit_many(pow, range(50), [2] * 50).results(timeout=20) == [
        i * i for i in range(50)
    ]


def test_a_task_may_use_processes_of_its_own(mesh: Mesh) -> None:
    def pool() -> list[int]:
        from concurrent.futures import ProcessPoolExecutor

        with ProcessPoolExecutor(2) as processes:
            return list(processes.map(abs, [-1, -2, -3]))

    assert mesh.submit(pool).result(20) == [1, 2, 3]


def test_a_task_may_change_its_process_without_harm_to_the_next(mesh: Mesh, tmp_path: Path) -> None:
    def misbehave(folder: str) -> None:
        import threading

        os.chdir(folder)
        os.umask(0o777)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        sys.setrecursionlimit(100)
        sys.stdin.close()
        threading.Thread(target=signal.pause, daemon=True).start()

    for _ in range(4):
        mesh.submit(misbehave, str(tmp_path)).result(20)
    assert len(mesh.submit(bytes, 1_000_000).result(20)) == 1_000_000
    printed = mesh.submit(print, "x" * 10_000)
    assert printed.wait(20) and printed.logs() == "x" * 10_000 + "\n"
