"""Few descriptors, little memory, tasks that poison their process or are deaf: who suffers is
told, and nobody else does."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import CancelledError
from pathlib import Path

import pytest
import sample_tasks as tasks
from ending import await_end
from leftovers import Leftovers
from matrix import Crowd, counts, slots_of

from mesh import Mesh, TaskOutOfMemory, TaskTimeout, WorkerLost

#: Silence is noticed so soon that a task outlasts it with ease.
AT_ONCE = {"heartbeat_s": 0.1, "lost_after_s": 0.6}

# -- descriptors ----------------------------------------------------------------------------------

LIMITED = """
    import resource, sys
    soft, hard, slots = map(int, sys.argv[1:])
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    from mesh import Mesh, MeshError
    try:
        with Mesh(slots=slots) as m:
            for _ in range(3):
                assert len(m.submit(bytes, 100_000).result(20)) == 100_000
            assert m.submit_many(pow, range(200), [2] * 200).results(timeout=20)[-1] == 199**2
            print("all", m.wait_for_slots(slots, 20))
    except MeshError as error:
        print(error)
"""


@pytest.mark.parametrize(
    ("soft", "hard", "slots"),
    [(256, 256, 8), (64, 64, 4), (44, 44, 1), (40, 256, 8), (20, 64, 1)],
)
def test_few_descriptors_are_enough_or_more_are_taken(
    script, soft: int, hard: int, slots: int
) -> None:
    assert script(LIMITED, soft, hard, slots).finish() == f"all {slots}\n"


@pytest.mark.parametrize(
    ("limit", "slots", "who"),
    [(64, 20, "a worker with slots=20"), (40, 8, "a worker with slots=8"), (30, 1, "a router")],
)
def test_with_too_few_descriptors_it_is_said_who_needs_how_many(
    script, limit: int, slots: int, who: str
) -> None:
    said = script(LIMITED, limit, limit, slots).finish()
    assert said.startswith(f"{who} needs ")
    assert f"and only {limit} are allowed here: raise the limit (ulimit -n " in said


def test_a_client_that_has_none_left_is_told(mesh: Mesh, script) -> None:
    """Its own open files count: without the check libzmq would end the whole script."""
    said = script(
        """
        import os, resource, sys
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
        from mesh import Mesh, MeshError
        kept = [open(os.devnull) for _ in range(50)]
        try:
            Mesh(access=sys.argv[1])
        except MeshError as error:
            print(error)
        kept.clear()
        with Mesh(access=sys.argv[1]) as m:
            print(m.submit(pow, 2, 3).result(20))
        """,
        mesh.folder,
    ).finish()
    assert said.startswith("a client needs ") and said.endswith("\n8\n")


def test_routers_and_workers_take_all_that_is_allowed_and_tasks_what_the_user_has(script) -> None:
    said = script(
        """
        import json, resource
        resource.setrlimit(resource.RLIMIT_NOFILE, (100, 300))
        from mesh import Mesh
        with Mesh(slots=1) as m:
            m.wait_for_slots(1, 20)
            told = m.status()
            task = m.submit(resource.getrlimit, resource.RLIMIT_NOFILE).result(20)
        [worker] = told["workers"]
        print(told["router"]["descriptors"][1], worker["descriptors"][1], *task)
        print(0 < told["router"]["descriptors"][0] < 100, 0 < worker["descriptors"][0] < 100)
        """
    ).finish()
    assert said == "300 300 100 300\nTrue True\n"


def test_a_task_that_opens_all_it_may_fails_alone(own_mesh: Mesh, tmp_path: Path) -> None:
    def hoard(count: int) -> int:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, count))
        kept = []
        try:
            while True:
                kept.append(open(os.devnull))  # noqa: SIM115
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (count, count))

    crowd = Crowd(tmp_path / "traces")
    group = crowd.submit(own_mesh, 100)
    with pytest.raises(OSError, match="Too many open files"):
        own_mesh.submit(hoard, 64).result(20)
    crowd.check(group, 100, again=0)
    assert own_mesh.submit(bytes, 100_000).result(20) == bytes(100_000)


def test_a_slot_that_cannot_be_started_is_tried_again_and_its_neighbour_works_on(
    tmp_path: Path, nothing_left_behind: Leftovers
) -> None:
    """The machine has no descriptor left for a while, or, just the same, no process."""
    begun, gate = tasks.pipe_at(tmp_path / "begun"), tasks.pipe_at(tmp_path / "gate")
    with Mesh(dir=tmp_path / "own", slots=2) as m:
        assert m.wait_for_slots(2, 20) == 2
        held = m.submit(tasks.say_and_hold, begun, gate, "whole")
        busy = int(tasks.heard_at(begun))
        [worker] = m.status()["workers"]
        taken = set(map(int, os.listdir(f"/proc/{worker['pid']}/fd")))
        free = min(set(range(1000)) - taken)
        before = resource.prlimit(worker["pid"], resource.RLIMIT_NOFILE)
        resource.prlimit(worker["pid"], resource.RLIMIT_NOFILE, (free, before[1]))
        [idle] = set(slots_of(m)) - {busy}
        os.kill(idle, signal.SIGKILL)
        log = tmp_path / "own" / "log" / "worker.log"
        while "could not be started: Too many open files" not in log.read_text():
            m.status()  # a round trip, in which the worker goes on
        resource.prlimit(worker["pid"], resource.RLIMIT_NOFILE, before)
        assert m.wait_for_slots(2, 20) == 2
        assert m.submit(tasks.pid).result(20) not in (idle, busy)
        tasks.let_go(gate)
        assert held.result(20) == "whole"
        assert m.status()["workers"][0]["incarnation"] == worker["incarnation"]


# -- poison ---------------------------------------------------------------------------------------


def poison(kind: str) -> None:
    """End this process in one of the ways there are."""
    if kind == "segfault":
        ctypes.string_at(0)
    if kind == "exit":
        os._exit(7)
    if kind == "abort":
        os.abort()
    if kind == "memory":
        tasks.grow(400, "itself")
    if kind == "allocation":
        resource.setrlimit(resource.RLIMIT_AS, (1 << 30, resource.RLIM_INFINITY))
        bytearray(4 << 30)


def test_poison_of_every_kind_among_good_ones(own_mesh: Mesh, tmp_path: Path) -> None:
    """All at once, twice each, while hundreds of others run beside and behind them."""
    crowd = Crowd(tmp_path / "traces")
    good = crowd.submit(own_mesh, 600, nap_s=0.002)
    ends = {
        "segfault": (WorkerLost, "SIGSEGV"),
        "exit": (WorkerLost, "exited with code 7"),
        "abort": (WorkerLost, "SIGABRT"),
        "memory": (TaskOutOfMemory, "memory"),
        "allocation": (MemoryError, None),
    }
    deadly = [
        (kind, own_mesh.options(memory="300MB" if kind == "memory" else "8GB").submit(poison, kind))
        for kind in [*ends, *ends]
    ]
    for kind, future in deadly:
        error, said = ends[kind]
        with pytest.raises(error, match=said):
            future.result(25)
    # A limit of memory keeps the deadly ones out of packets: nobody goes down with them.
    crowd.check(good, 600, again=0)
    assert counts(own_mesh) == {"done": 600, "failed": 10}
    assert own_mesh.wait_for_slots(2, 20) == 2


# -- deaf tasks -----------------------------------------------------------------------------------


@pytest.fixture
def hasty(nothing_left_behind: Leftovers) -> Iterator[Mesh]:
    """A mesh with two slots that notices silence at once."""
    with Mesh(slots=2, settings=AT_ONCE) as m:
        m.wait_for_slots(2, 20)
        yield m


@pytest.mark.parametrize("how", ["holds the interpreter", "blocks all signals", "both"])
def test_a_task_that_is_deaf_for_longer_than_workers_may_be_silent_runs_once(
    hasty: Mesh, tmp_path: Path, how: str
) -> None:
    def be_deaf(folder: str, how: str, seconds: float) -> str:
        tasks.note(folder, "run")
        if how != "holds the interpreter":
            signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        if how == "blocks all signals":
            tasks.nap(seconds)
        else:
            ctypes.PyDLL(None).usleep(int(seconds * 1e6))
        return how

    traces = tmp_path / "traces"
    traces.mkdir()
    [before] = hasty.status()["workers"]
    futures = [hasty.submit(be_deaf, str(traces), how, 1.5) for _ in range(2)]  # all slots
    assert [future.result(20) for future in futures] == [how] * 2
    assert tasks.runs(traces) == {"run": 2}
    [after] = hasty.status()["workers"]
    assert after["incarnation"] == before["incarnation"]
    slots = set(slots_of(hasty))
    assert slots == {slot["pid"] for slot in before["slots"]}
    assert hasty.submit(tasks.pid).result(20) in slots


def stay_in_the_kernel(begun: str) -> None:
    """Wait for a child where no signal but SIGKILL is heard: for who shares a parent's memory
    (vfork) it waits so, as it does for a file server that hangs."""
    clone, clone_vfork = 56 if os.uname().machine == "x86_64" else 220, 0x4000
    with open(begun, "w") as said:
        said.write(str(os.getpid()))
    if not ctypes.CDLL(None).syscall(clone, clone_vfork | signal.SIGCHLD, 0, 0, 0, 0):
        tasks.nap(600)


@pytest.mark.parametrize("why", ["time_limit", "cancel"])
def test_a_task_that_the_kernel_does_not_stop_holds_nobody_up(
    hasty: Mesh, tmp_path: Path, why: str
) -> None:
    begun = tasks.pipe_at(tmp_path / "begun")
    [before] = hasty.status()["workers"]
    view = hasty.options(time_limit=0.5 if why == "time_limit" else None)
    future = view.submit(stay_in_the_kernel, begun)
    slot = int(tasks.heard_at(begun))
    if why == "cancel":
        assert hasty.cancel(future.id) == 1
    crowd = Crowd(tmp_path / "traces")
    crowd.check(crowd.submit(hasty, 200, nap_s=0.02), 200, again=0)
    with pytest.raises(TaskTimeout if why == "time_limit" else CancelledError):
        future.result(20)
    assert await_end(slot)
    [after] = hasty.status()["workers"]
    assert after["incarnation"] == before["incarnation"]
    assert hasty.wait_for_slots(2, 20) == 2


# -- what a task has started ----------------------------------------------------------------------


def start_a_tree(begun: str) -> None:
    """Start a shell that starts processes which start processes, say who all are, and stay."""
    inner = "sleep 600 & echo $! ; sh -c 'sleep 600 & echo $! ; echo $$ ; wait'"
    shell = subprocess.Popen(["sh", "-c", f"{inner} & wait"], stdout=subprocess.PIPE, text=True)
    assert shell.stdout is not None
    pids = [shell.stdout.readline().strip() for _ in range(3)]
    with open(begun, "w") as said:
        said.write(" ".join([*pids, str(shell.pid), str(os.getpid())]))
    shell.wait()


@pytest.mark.parametrize("why", ["time_limit", "cancel", "slot", "shutdown"])
def test_all_that_a_task_has_started_ends_with_it(
    tmp_path: Path, why: str, nothing_left_behind: Leftovers
) -> None:
    begun = tasks.pipe_at(tmp_path / "begun")
    with Mesh(slots=1) as m:
        future = m.options(time_limit=0.7 if why == "time_limit" else None).submit(
            start_a_tree, begun
        )
        pids = [int(pid) for pid in tasks.heard_at(begun).split()]
        assert len(set(pids)) == 5
        if why == "cancel":
            assert m.cancel(future.id) == 1
        elif why == "slot":
            os.kill(pids[-1], signal.SIGKILL)
            assert all(map(await_end, pids))
            pids = [int(pid) for pid in tasks.heard_at(begun).split()]  # its second run
            assert m.cancel(future.id) == 1
        elif why == "shutdown":
            m.shutdown(cancel_futures=True)
        with pytest.raises(TaskTimeout if why == "time_limit" else CancelledError):
            future.result(20)
        assert all(map(await_end, pids))
        if why != "shutdown":
            assert m.submit(pow, 2, 3).result(20) == 8
