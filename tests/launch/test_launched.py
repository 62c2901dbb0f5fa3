"""What was launched is a file each, seen by whoever has the same home, until it is over."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from mesh.cli.launches import launches
from mesh.errors import LaunchFailed
from mesh.launch import launched
from mesh.launch.process import Process
from mesh.launch.register import all_launched
from mesh.launch.slurm import SlurmJob, how_it_is
from mesh.launch.ssh import Ssh
from mesh.transport.access import Access
from mesh.transport.keys import Ring

HERE = os.uname().nodename


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home."""
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path / ".mesh" / "launches"


@pytest.fixture
def worker() -> Iterator[subprocess.Popen[bytes]]:
    """A process that could be a worker, by its command line."""
    waits = "import sys; sys.stdin.read()  # worker of mesh k3f9x2m7"
    process = subprocess.Popen([sys.executable, "-c", waits], stdin=subprocess.PIPE)
    yield process
    process.kill()
    process.communicate()


def known(pid: int, mesh: str = "k3f9x2m7", host: str = HERE) -> Process:
    made = Process(mesh, "local", host, str(pid), host, False, "/var/tmp/w.log")
    made.write()
    return made


def test_it_is_known_by_number_to_everybody_with_this_home(home: Path):
    first, second = known(1), known(2, "zzzzzzz9")

    assert (first.number, second.number) == (1, 2)
    assert all_launched() == [first, second] and all_launched("zzzzzzz9") == [second]
    assert all(stat.S_IMODE(file.stat().st_mode) == 0o600 for file in home.iterdir())


def test_one_that_is_being_written_or_of_a_later_version_is_not_seen(home: Path):
    first = known(1)
    assert launched.reserve("k3f9x2m7") == 2
    (home / "3.json").write_text('{"kind": "cloud", "mesh": "k3f9x2m7"}')
    (home / "3.json").chmod(0o600)

    assert all_launched() == [first]
    assert known(4).number == 4


def test_a_process_is_known_by_its_mesh_and_not_by_its_number_alone(
    worker: subprocess.Popen[bytes],
):
    mine, other = known(worker.pid), known(worker.pid, "zzzzzzz9")

    assert mine.look().state == "running"
    assert other.look().is_over, "the number is another's by now"
    other.cancel()
    assert worker.poll() is None
    mine.end(0.0)
    assert worker.wait() == -15
    assert all_launched() == [other]


def test_of_another_host_nothing_is_known_here():
    assert known(1, host="login2").look() == (
        "unknown",
        None,
        "it was started on login2: look there",
    )


def test_the_access_file_goes_with_the_last_of_its_mesh(home: Path):
    keys = Ring.new("3k9f2xm7").admin()
    first, second = known(1, "3k9f2xm7"), known(2, "3k9f2xm7")
    file = launched.handed("3k9f2xm7").access
    Access("3k9f2xm7", ["tcp://10.0.0.1:5555"], keys=keys).cut("worker").write(file)

    first.forget()
    assert file.exists() and all_launched() == [second]
    second.forget()
    assert [row.read_text() for row in home.iterdir()] == ["{}"], "what remembers its number"


def test_no_number_is_given_twice(home: Path):
    first, second = known(1), known(2)
    second.forget()
    first.forget()
    assert all_launched() == [] and known(3).number == 3
    assert [file.name for file in home.iterdir()] == ["3.json"]
    known(4).forget()
    assert known(5).number == 5


def test_of_a_second_worker_on_a_host_it_is_said_what_runs_there(
    worker: subprocess.Popen[bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    fails = tmp_path / "ssh"
    fails.write_text("#!/bin/sh\nexit 255\n")
    fails.chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    here = ["sh", "-c"]  # as ssh would lead there
    for where, pid in (("ann@n1", worker.pid), ("n2", worker.pid), ("n1:2222", worker.pid)):
        Process("k3f9x2m7", "ssh", where, str(pid), HERE, False, "w.log", reach=here).write()
    Process("k3f9x2m7", "ssh", "n1", str(os.getpid()), HERE, False, "w.log", reach=here).write()
    to = Access("k3f9x2m7", ["tcp://10.0.0.1:5555"], keys=Ring.new("k3f9x2m7").admin())

    with pytest.raises(LaunchFailed):
        Ssh(["n1", "n3"]).launch(to)
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith(f"mesh: ann@n1: launch 1 (process {worker.pid}) runs there already")


@pytest.mark.parametrize(
    ("code", "why"),
    [("1:0", "NonZeroExitCode, exit code 1"), ("0:9", "NonZeroExitCode, signal 9")]
    + [("1:15", "NonZeroExitCode, exit code 1, signal 15"), ("0:0", "NonZeroExitCode")],
)
def test_why_a_job_failed_is_told_without_what_it_was_not(code: str, why: str):
    assert how_it_is("FAILED", "NonZeroExitCode", code).why == why
    assert how_it_is("RUNNING", "None", "0:0").why == ""


def test_what_died_in_the_queue_is_told_with_its_last_words(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    scontrol = tmp_path / "scontrol"
    scontrol.write_text("#!/bin/sh\necho JobState=FAILED Reason=NonZeroExitCode ExitCode=1:0\n")
    scontrol.chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    log = home / "1.log"
    job = SlurmJob("k3f9x2m7", "slurm", "2 nodes", "17", HERE, False, str(log))
    job.write()
    log.write_text("line 10: /no/python: No such file or directory\n")

    shown = CliRunner().invoke(launches).output

    assert "failed: NonZeroExitCode" in shown
    assert shown.endswith("1 wrote last:\nline 10: /no/python: No such file or directory\n")
    assert all_launched() == [] and not log.exists()


def test_what_is_about_to_end_is_waited_for(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    told = "Reason=NonZeroExitCode ExitCode=1:0"
    scontrol = tmp_path / "scontrol"
    scontrol.write_text(
        "#!/bin/sh\n"
        f"test -e {tmp_path}/asked && echo JobState=FAILED {told} && exit\n"
        f"touch {tmp_path}/asked; echo JobState=COMPLETING {told}\n"
    )
    scontrol.chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    (tmp_path / "job.log").write_text("no such file")
    job = SlurmJob("k3f9x2m7", "slurm", "1 node", "7", HERE, False, str(tmp_path / "job.log"))

    with pytest.raises(LaunchFailed, match="exit code 1\nno such file"):
        job.await_join()
