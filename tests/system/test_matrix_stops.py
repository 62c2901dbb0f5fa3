"""Processes that are killed or stand still, one after another and all at once: nothing is lost."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sample_tasks as tasks
from ending import await_end, kill
from matrix import LONG, SOON, Crowd, counts, router_of, slots_of, stopped
from scripts import another_worker

from mesh import Mesh

#: So many tasks a worker has in hand at least that is to be caught with some it has not begun.
WIDE = 8


@pytest.fixture
def crowd(tmp_path: Path) -> Crowd:
    return Crowd(tmp_path / "traces")


@pytest.fixture
def quick(tmp_path: Path, nothing_left_behind) -> Iterator[Mesh]:
    """A mesh with a folder that notices silence soon."""
    with Mesh(dir=tmp_path / "own", slots=2, settings=SOON) as m:
        m.wait_for_slots(2, 20)
        yield m


@pytest.fixture
def bare(tmp_path: Path, nothing_left_behind) -> Iterator[Mesh]:
    """The same without slots: workers come to it."""
    with Mesh(dir=tmp_path / "own", slots=0, settings=SOON) as m:
        yield m


def worker_of(mesh: Mesh) -> int:
    """The process of the mesh's own worker."""
    return mesh.status()["workers"][0]["pid"]


def await_status(mesh: Mesh, holds: Callable[[dict], bool]) -> None:
    """Ask until it holds: each question is a round trip. A test has its own end."""
    while not holds(mesh.status()):
        pass


# -- slots ----------------------------------------------------------------------------------------


def test_idle_slots_killed_one_after_another_are_replaced(
    quick: Mesh, crowd: Crowd, nothing_left_behind
) -> None:
    """Nobody wedges: the worker, which pays for each with a process, has two at the end."""
    worker, before = worker_of(quick), len(nothing_left_behind.processes())
    killed: set[int] = set()
    for _ in range(rounds := round(20 * LONG)):
        await_status(quick, lambda s: len(set(slots_now(s)) - killed) == 2)
        victims = slots_of(quick)
        for victim in victims:
            kill(victim)
        killed.update(victims)
    assert len(killed) == 2 * rounds
    await_status(quick, lambda s: len(set(slots_now(s)) - killed) == 2)
    crowd.check(crowd.submit(quick, 100), 100, again=0)
    assert worker_of(quick) == worker and len(nothing_left_behind.processes()) == before
    assert len(os.listdir(f"/proc/{worker}/fd")) < 40, (
        "of each slot, two descriptors are free again"
    )
    assert not [
        path for path in (quick.folder / "worker" / "incoming").iterdir() if is_of(path, killed)
    ]


def slots_now(status: dict) -> list[int]:
    return [slot["pid"] for worker in status["workers"] for slot in worker["slots"]]


def is_idle(status: dict) -> bool:
    return not any(slot["task"] for worker in status["workers"] for slot in worker["slots"])


def is_of(path: Path, pids: set[int]) -> bool:
    return any(str(pid) in path.name for pid in pids)


def test_a_slot_killed_again_and_again_while_it_works_costs_no_task(
    quick: Mesh, crowd: Crowd, tmp_path: Path
) -> None:
    """Each victim says that it runs; the fourth run of the task is let be."""
    begun = tasks.pipe_at(tmp_path / "begun")

    def work(folder: str, begun: str) -> int:
        tasks.note(folder, "victim")
        if os.path.getsize(f"{folder}/victim") < 3:
            tasks.say_and_sleep(begun, 600)
        return os.getpid()

    (tmp_path / "victim").mkdir()
    group = crowd.submit(quick, 300, nap_s=0.01)
    victim = quick.submit(work, str(tmp_path / "victim"), begun)
    for _ in range(2):
        kill(int(tasks.heard_at(begun)))
    assert victim.result(20) in slots_of(quick)
    crowd.check(group, 300)
    assert tasks.runs(tmp_path / "victim") == {"victim": 3}


# -- workers --------------------------------------------------------------------------------------


def run_twice(begun: str, gates: list[str]) -> int:
    """Take the gate of this run, say which process runs, wait at the gate, return the process."""
    for gate in gates:
        try:
            os.rename(gate, taken := f"{gate}-taken")
        except FileNotFoundError:
            continue  # the run before has it
        return tasks.say_and_hold(begun, taken, os.getpid())
    raise LookupError("a third run")


def two_leases(mesh: Mesh, tmp_path: Path):
    """A task that runs at a worker, and after that was given up at another as well; nobody has
    finished. Yields its future, and per run the slot and the gate."""
    begun = tasks.pipe_at(tmp_path / "begun")
    gates = [tasks.pipe_at(tmp_path / "gate1"), tasks.pipe_at(tmp_path / "gate2")]
    future = mesh.submit(run_twice, begun, gates)
    return future, begun, [f"{gate}-taken" for gate in gates]


@pytest.mark.parametrize("first", [0, 1], ids=["the late one first", "the late one last"])
def test_of_two_leases_that_both_finish_one_result_is_taken(
    bare: Mesh, tmp_path: Path, first: int
) -> None:
    with another_worker(bare.folder, tmp_path / "a", 1) as a:
        assert bare.wait_for_slots(1, 20) == 1
        future, begun, gates = two_leases(bare, tmp_path)
        slots = [int(tasks.heard_at(begun))]
        with another_worker(bare.folder, tmp_path / "b", 1):
            with stopped(a.pid):
                slots.append(int(tasks.heard_at(begun)))  # given up, and run again at b
                if first == 1:
                    tasks.let_go(gates[1])
                    assert future.result(20) == slots[1]
                    tasks.let_go(gates[0])  # it ends now, and that is told when its worker is back
            if first == 0:
                await_status(bare, lambda s: len(slots_now(s)) == 2)  # it is back
                for gate in gates:
                    tasks.let_go(gate)
                    assert future.result(20) == slots[0]
            assert bare.submit(pow, 2, 3).result(20) == 8
            # Both work again: who was stopped is no ghost, and nobody waits for its late result.
            assert bare.wait_for_slots(2, 20) == 2
            await_status(bare, is_idle)
            assert counts(bare) == {"done": 2}
            assert bare.result(future.id, 20) == slots[first]


@pytest.mark.parametrize(
    "options", [{"time_limit": 60}, {}], ids=["given one by one", "given many at once"]
)
def test_a_worker_that_stood_still_for_too_long_begins_nothing_of_before(
    bare: Mesh, tmp_path: Path, options: dict[str, float]
) -> None:
    """What its slot had begun ends there, to no avail; what waited at it, or there, others have
    run."""
    traces = tmp_path / "traces"
    traces.mkdir()
    begun, gate, over = (tasks.pipe_at(tmp_path / name) for name in ("begun", "gate", "over"))

    def work(traces: str, i: int, begun: str, gate: str, over: str) -> int:
        tasks.note(traces, str(i))
        if i == 0 and os.path.getsize(f"{traces}/{i}") == 1:
            tasks.say_and_hold(begun, gate)
            with open(over, "w"):
                pass
        return i

    def submit(members: range, **options: float):
        same = [[each] * len(members) for each in (begun, gate, over)]
        view = bare.options(**options)
        return view.submit_many(work, [str(traces)] * len(members), members, *same)

    with another_worker(bare.folder, tmp_path / "a", 1) as a:
        quick = 0
        while max((each["window"] for each in bare.status()["workers"]), default=0) < WIDE:
            quick += 1000  # until it is trusted with many at once
            submit(range(quick, quick + 1000)).results(timeout=20)
        group = submit(range(30), **options)  # with a limit its slot gets them one by one
        tasks.heard_at(begun)
        await_status(bare, lambda s: s["tasks"]["running"] >= WIDE)
        with another_worker(bare.folder, tmp_path / "b", 1), stopped(a.pid):
            assert group.results(timeout=20) == list(range(30))
            tasks.let_go(gate)
            tasks.heard_at(over)
        later = submit(range(100, 110))
        assert later.results(timeout=20) == list(range(100, 110))
        await_status(bare, is_idle)
    runs = tasks.runs(traces)
    assert runs.pop("0") == 2
    assert set(runs.values()) == {1}, "it began what others had run meanwhile"
    assert counts(bare) == {"done": quick + 40}


# -- routers --------------------------------------------------------------------------------------


def test_a_router_killed_with_thousands_in_every_state_loses_none(
    quick: Mesh, crowd: Crowd, tmp_path: Path
) -> None:
    """Queued, running, ended; and what is submitted while it is away the next one records."""
    first = crowd.submit(quick, 3000, nap_s=0.002)
    quick.flush(20)
    first[100].result(20)
    other = Crowd(tmp_path / "other")
    epoch = quick.status()["router"]["epoch"]
    for life in range(1, 4):
        router = router_of(quick)
        os.kill(router, signal.SIGKILL)
        group = Crowd(tmp_path / f"away{life}")
        away = group.submit(quick, 300)
        assert await_end(router)
        group.check(away, 300, again=0)
    second = other.submit(quick, 1000)
    crowd.check(first, 3000, again=0)
    other.check(second, 1000, again=0)
    assert quick.status()["router"]["epoch"] == epoch + 3
    assert counts(quick) == {"done": 3000 + 900 + 1000}


def test_router_and_all_workers_killed_at_once_while_all_are_busy(
    quick: Mesh, crowd: Crowd, tmp_path: Path
) -> None:
    with another_worker(quick.folder, tmp_path / "other", 2) as other:
        assert quick.wait_for_slots(4, 20) == 4
        group = crowd.submit(quick, 2000, nap_s=0.005)
        quick.flush(20)
        group[50].result(20)
        pids = [router_of(quick), worker_of(quick), other.pid, *slots_of(quick)]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)  # nobody sees another's end
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        assert all(map(await_end, pids))
        crowd.check(group, 2000)
    assert quick.wait_for_slots(2, 20) == 2


@pytest.mark.parametrize("for_s", [1.0, 3.0], ids=["shorter than its patience", "longer"])
def test_a_router_that_stands_still_under_load_loses_nobody(
    quick: Mesh, crowd: Crowd, tmp_path: Path, for_s: float
) -> None:
    """Workers and clients that have waited for too long greet it anew; nobody is given up."""
    with another_worker(quick.folder, tmp_path / "other", 2):
        assert quick.wait_for_slots(4, 20) == 4
        slots = set(slots_of(quick))
        group = crowd.submit(quick, 1500, nap_s=0.002)
        group[10].result(20)
        with stopped(router_of(quick)):
            signal.sigtimedwait([], for_s)
        later = quick.submit_many(pow, range(100), [2] * 100)
        crowd.check(group, 1500, again=0)
        assert later.results(timeout=20) == [i * i for i in range(100)]
        assert set(slots_of(quick)) == slots


def test_everybody_stands_still_for_longer_than_anybody_is_waited_for(
    quick: Mesh, crowd: Crowd, nothing_left_behind
) -> None:
    """A laptop that sleeps: all processes, the script's own mesh, and on it goes."""
    group = crowd.submit(quick, 1500, nap_s=0.002)
    group[10].result(20)
    slots = set(slots_of(quick))
    pids = list(nothing_left_behind.processes())
    with stopped(*pids):
        signal.sigtimedwait([], 1.5 * SOON["lost_after_s"])
    crowd.check(group, 1500, again=0)
    assert set(slots_of(quick)) == slots


def test_an_owner_that_stands_still_does_not_end_its_mesh(
    script, tmp_path: Path, nothing_left_behind
) -> None:
    each = script(
        """
        import sys
        from mesh import Mesh
        soon = {"heartbeat_s": 0.1, "lost_after_s": 0.5}
        with Mesh(dir=sys.argv[1], slots=1, settings=soon) as m:
            g = m.submit_many(pow, range(2000), [2] * 2000)
            print("begun", flush=True)
            print(sum(g.results()), flush=True)
        """,
        tmp_path / "own",
    )
    each.line()
    with stopped(each.pid):
        assert not select.select([], [], [], 1.5)[0]
    assert int(each.finish()) == sum(i * i for i in range(2000))
