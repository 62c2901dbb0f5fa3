"""What tasks have started in the background ends with their worker, however that ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ending import await_end
from leftovers import Leftovers
from scripts import another_worker

from mesh import Mesh
from mesh.processes import warden

#: What is to end by itself has ended after this long.
GONE_S = 5.0


def start_command(how: str) -> int:
    """Leave a process behind; its id."""
    sleep = ["sleep", "600"]
    if how == "in the group":
        return subprocess.Popen(sleep).pid
    if how == "in a group of its own":
        return subprocess.Popen(sleep, preexec_fn=os.setpgrp).pid
    if how == "in the group, without an environment":
        return subprocess.Popen(sleep, env={}).pid
    if how == "in a session of its own":
        return subprocess.Popen(sleep, start_new_session=True).pid
    said, say = os.pipe()  # as a daemon
    if not os.fork():
        os.setsid()
        pid = os.fork()
        if not pid:
            os.close(say)
            time.sleep(600)
        os.write(say, str(pid).encode())
        os._exit(0)
    os.wait()
    return int(os.read(said, 32))


EVERYWHERE = [
    "in the group",
    "in a group of its own",
    "in the group, without an environment",
    "in a session of its own",
    "as a daemon",
]


def wardens(leftovers: Leftovers) -> list[int]:
    """The wardens of this test."""
    return [pid for pid, line in leftovers.processes().items() if "warden.py" in line]


@pytest.fixture
def worker(tmp_path: Path, nothing_left_behind: Leftovers):
    """A mesh without slots of its own, and a worker on it."""
    with (
        Mesh(dir=tmp_path / "own", slots=0) as m,
        another_worker(m.folder, tmp_path / "other", 1) as other,
    ):
        m.wait_for_slots(1, 20)
        yield m, other


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_what_tasks_left_running_ends_with_their_worker(worker, number: int) -> None:
    mesh, other = worker
    left = [mesh.submit(start_command, how).result(20) for how in EVERYWHERE]
    assert not any(await_end(pid, 0) for pid in left)
    other.send_signal(number)
    assert all(await_end(pid, GONE_S) for pid in left)


def test_killed_with_everything_else_the_warden_alone_is_enough(
    script, tmp_path: Path, nothing_left_behind: Leftovers
) -> None:
    source = Path(__file__).read_text().partition("def start_command")[2].partition("\n\n\n")[0]
    each = script(
        "import os, subprocess, time\nfrom mesh import Mesh\ndef start_command"
        + source
        + f"""
with Mesh(dir="own", slots=1) as m:
    print(*m.submit_many(start_command, {EVERYWHERE!r}).results(), flush=True)
    time.sleep(600)
"""
    )
    left = set(map(int, each.line().split()))
    spared = {*left, *wardens(nothing_left_behind)}
    killed = [pid for pid in nothing_left_behind.processes() if pid not in spared]
    assert len(killed) == 4  # script, router, worker, slot
    for signal_number in (signal.SIGSTOP, signal.SIGKILL):
        for pid in killed:
            os.kill(pid, signal_number)
    assert all(await_end(pid, GONE_S) for pid in spared)
    with Mesh(dir=tmp_path / "own", slots=0):
        pass  # takes the sockets that were left along


def test_a_warden_that_was_killed_is_replaced_by_one_that_knows_everything(
    worker, nothing_left_behind: Leftovers
) -> None:
    mesh, other = worker
    pids = [mesh.submit(start_command, how).result(20) for how in EVERYWHERE]
    before = wardens(nothing_left_behind)
    for pid in before:
        os.kill(pid, signal.SIGKILL)
        assert await_end(pid)
    while len(wardens(nothing_left_behind)) < len(before):
        assert mesh.submit(pow, 2, 2).result(20) == 4, "what runs does not notice"
    other.kill()
    assert all(await_end(pid, GONE_S) for pid in pids)


def test_a_warden_minds_no_signal_to_the_whole_job(worker, nothing_left_behind: Leftovers) -> None:
    mesh, _ = worker
    pids = wardens(nothing_left_behind)
    for pid in pids:
        os.kill(pid, signal.SIGINT)
        os.kill(pid, signal.SIGTERM)
    assert mesh.submit(pow, 2, 2).result(20) == 4
    assert wardens(nothing_left_behind) == pids


def test_a_number_that_means_another_process_by_now_is_left_alone() -> None:
    with subprocess.Popen(["sleep", "600"], start_new_session=True) as other:
        try:
            start = warden.start_of(other.pid)
            assert start is not None
            assert warden.wards({other.pid: start}, b"no mark") == [(other.pid, start)]
            assert warden.wards({other.pid: start - 1}, b"no mark") == []
            warden.kill(other.pid, start - 1)
            assert not await_end(other.pid, 0)
            warden.kill(other.pid, start)
            assert await_end(other.pid)
        finally:
            other.kill()


def test_it_loads_next_to_nothing() -> None:
    large = {"re", "enum", "signal", "subprocess", "threading", "mesh", "zmq"}
    code = f"""
import sys
exec(compile(open({warden.__file__!r}).read(), "warden.py", "exec"), {{"__name__": "warden"}})
print(*set(sys.modules) & {large!r})
"""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout == "\n"
