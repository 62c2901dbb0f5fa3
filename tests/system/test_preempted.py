"""Tasks whose workers are told to go before they end: they run again, and nothing counts it."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
import sample_tasks as tasks
from scripts import another_worker

from mesh import Mesh

#: One loss that is counted ends the task.
STRICT = {"slot_losses_max": 1, "worker_losses_max": 1}


def by_interrupts(begun: str, gate: str, how: str) -> str:
    """Run until it is let go; take an interrupt in the way that `how` says."""
    with open(begun, "w") as said:
        said.write("running")
    try:
        return tasks.hold(gate, "whole")
    except KeyboardInterrupt:
        if how == "dies of it":
            os._exit(1)
        if how == "returns":
            return "a part"
        if how == "is stubborn":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            time.sleep(600)
        raise


@pytest.mark.parametrize("how", ["raises", "returns", "dies of it", "is stubborn"])
def test_what_is_interrupted_runs_again_and_that_counts_nothing(tmp_path: Path, how: str) -> None:
    begun, gate = tasks.pipe_at(tmp_path / "begun"), tasks.pipe_at(tmp_path / "gate")
    with Mesh(dir=tmp_path / "own", slots=0, settings=STRICT) as m:
        future = m.submit(by_interrupts, begun, gate, how)
        for nth in range(2):
            with another_worker(m.folder, tmp_path / f"{nth}", 1, "--drain-timeout", 0.1) as worker:
                tasks.heard_at(begun)
                worker.send_signal(signal.SIGTERM)
                assert worker.wait(20) == 0
            assert not future.done()
        with another_worker(m.folder, tmp_path / "last", 1):
            tasks.heard_at(begun)
            tasks.let_go(gate)
            assert future.result(20) == "whole"


def test_what_runs_at_the_second_signal_runs_again_and_that_counts_nothing(tmp_path: Path) -> None:
    begun, gate = tasks.pipe_at(tmp_path / "begun"), tasks.pipe_at(tmp_path / "gate")
    with Mesh(dir=tmp_path / "own", slots=0, settings=STRICT) as m:
        future = m.submit(tasks.say_and_hold, begun, gate, "whole")
        with another_worker(m.folder, tmp_path / "first", 1) as worker:
            tasks.heard_at(begun)
            worker.send_signal(signal.SIGTERM)
            worker.send_signal(signal.SIGINT)
            assert worker.wait(20) == 0
        with another_worker(m.folder, tmp_path / "second", 1):
            tasks.heard_at(begun)
            tasks.let_go(gate)
            assert future.result(20) == "whole"


@pytest.mark.parametrize("warning", [signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU])
def test_a_warning_to_all_of_a_job_is_a_drain_however_often(tmp_path: Path, warning: int) -> None:
    begun, gate = tasks.pipe_at(tmp_path / "begun"), tasks.pipe_at(tmp_path / "gate")
    with Mesh(dir=tmp_path / "own", slots=0, settings=STRICT) as m:
        future = m.submit(tasks.say_and_hold, begun, gate, "whole")
        with another_worker(m.folder, tmp_path / "first", 1, "--drain-timeout", 0.5) as worker:
            slot = int(tasks.heard_at(begun))
            for pid in (worker.pid, slot, worker.pid, slot):
                os.kill(pid, warning)
            assert worker.wait(20) == 0
        with another_worker(m.folder, tmp_path / "second", 1):
            tasks.heard_at(begun)
            tasks.let_go(gate)
            assert future.result(20) == "whole"


def test_before_its_time_ends_a_worker_leaves_and_that_counts_nothing(tmp_path: Path) -> None:
    begun, gate = tasks.pipe_at(tmp_path / "begun"), tasks.pipe_at(tmp_path / "gate")
    time_is_short = ("--time-limit", "00:00:14", "--leave-before", 4)
    with Mesh(dir=tmp_path / "own", slots=0, settings=STRICT) as m:
        with another_worker(m.folder, tmp_path / "first", 2, *time_is_short) as worker:
            large = m.submit(bytes, 100_000)
            assert large.wait(20)
            future = m.submit(tasks.say_and_hold, begun, gate, "whole")
            tasks.heard_at(begun)
            [left_s] = [row["ends_s"] for row in m.status()["workers"] if not row["home"]]
            assert left_s <= 12
            assert worker.wait(20) == 0
        assert large.result(20) == bytes(100_000), "it went home"
        assert "counts as nothing" in str(future.explain())
        with another_worker(m.folder, tmp_path / "second", 1):
            tasks.heard_at(begun)
            tasks.let_go(gate)
            assert future.result(20) == "whole"


def test_a_worker_that_has_nothing_to_do_leaves(tmp_path: Path) -> None:
    with Mesh(dir=tmp_path / "own", slots=0) as m:
        with another_worker(m.folder, tmp_path / "first", 1, "--idle-timeout", 0.5) as worker:
            assert worker.wait(20) == 0
        future = m.submit(time.sleep, 1.0)
        with another_worker(m.folder, tmp_path / "second", 1, "--idle-timeout", 0.5) as worker:
            assert worker.wait(20) == 0
        assert future.done() and future.result(20) is None


def test_a_task_that_minds_sigterm_may_do_so(own_mesh: Mesh) -> None:
    def own_handler() -> list[str]:
        seen: list[str] = []
        signal.signal(signal.SIGTERM, lambda *_: seen.append("mine"))
        os.kill(os.getpid(), signal.SIGTERM)
        return seen

    def child_of_a_fork() -> int:
        pid = os.fork()
        if not pid:
            signal.pause()
        os.kill(pid, signal.SIGTERM)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    assert own_mesh.submit(child_of_a_fork).result(20) == -signal.SIGTERM
    assert own_mesh.submit(own_handler).result(20) == ["mine"]
