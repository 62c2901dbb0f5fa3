"""When the time of a process ends, as managers tell it."""

from __future__ import annotations

import time
from collections.abc import Sequence

import pytest

from mesh.processes.walltime import Walltime, again, ask, clock_s, find

NOW = 1_800_000_000.0

#: As PBS Professional says it, and as Torque does.
PBS = """\
Job Id: 7.pbs
    Job_Name = mesh
    resources_used.walltime = 00:09:00
    job_state = R
    Resource_List.walltime = 01:00:00
    stime = {stime}
    etime = Mon Nov 23 00:14:08 2026
    Variable_List = PBS_O_HOME=/home/u,PBS_O_LANG=C,
\tPBS_O_WORKDIR=/home/u
"""
TORQUE = """\
Job Id: 7.pbs
    Resource_List.walltime = 01:00:00
    start_time = {stime}
    Walltime.Remaining = 2987
"""


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("30:00", 1800),
        ("01:00:00", 3600),
        ("36:00:00", 129_600),
        ("1-02", 93_600),
        ("1-02:03", 93_780),
        ("1-02:03:04", 93_784),
        (" 00:00:05\n", 5),
    ],
)
def test_times_as_managers_write_them(text: str, seconds: float):
    assert clock_s(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "UNLIMITED", "1:2:3:4", "-5", "1.5", "1h", "1-", "1:", "1:100"]
)
def test_what_is_no_time(text: str):
    assert clock_s(text) is None


class Manager:
    """Commands that say what they were told to, or fail."""

    def __init__(self, **said: str | OSError) -> None:
        self.said = said
        self.asked: list[Sequence[str]] = []

    def __call__(self, argv: Sequence[str]) -> str:
        self.asked.append(argv)
        said = self.said.get(argv[0], FileNotFoundError("No such file or directory"))
        if isinstance(said, OSError):
            raise said
        return said


def found(manager: Manager, **environ: str) -> tuple[Walltime | None, str]:
    """What is found, and said."""
    said: list[str] = []
    return find(environ, said.append, NOW, manager), "".join(said)


def test_outside_of_a_job_nobody_is_asked_and_there_is_no_end():
    manager = Manager()
    assert found(manager, HOME="/root") == (None, "") and not manager.asked


def test_slurm_says_it_in_the_environment():
    manager = Manager()
    told = found(manager, SLURM_JOB_ID="7", SLURM_JOB_END_TIME=str(int(NOW) + 600))
    assert told == (Walltime(600, "SLURM_JOB_END_TIME"), "") and not manager.asked


def test_an_older_slurm_is_asked_once_and_of_an_array_tells_all():
    manager = Manager(squeue="6 UNLIMITED\n7 1-00:00:00\n8 5:00\n")
    assert found(manager, SLURM_JOB_ID="7") == (Walltime(86_400, "squeue"), "")
    assert manager.asked == [("squeue", "-h", "-j", "7", "-o", "%A %L")]


def test_a_job_of_slurm_may_have_no_end():
    assert found(Manager(squeue="7 UNLIMITED\n"), SLURM_JOB_ID="7") == (None, "")


@pytest.mark.parametrize(
    ("manager", "why"),
    [
        (Manager(), "squeue: No such file"),
        (Manager(squeue=OSError("slurm_load_jobs error: down")), "squeue: slurm_load_jobs error"),
        (Manager(squeue=""), "knows of no job 7"),
        (Manager(squeue="7 INVALID\n"), "has 'INVALID' left"),
    ],
)
def test_a_manager_that_does_not_say_it_is_told_of_with_what_to_do(manager: Manager, why: str):
    told, said = found(manager, SLURM_JOB_ID="7")
    assert told is None and why in said and "--time-limit" in said


def test_a_job_that_has_ended_is_not_minded():
    told, said = found(Manager(), SLURM_JOB_ID="7", SLURM_JOB_END_TIME=str(int(NOW) - 1))
    assert told is None and "has ended" in said


def test_asked_again_a_manager_says_it_itself_and_not_what_it_wrote_at_the_beginning():
    slurm = {"SLURM_JOB_ID": "7", "SLURM_JOB_END_TIME": str(int(NOW) + 60)}
    assert again(slurm, NOW, Manager(squeue="7 1:00:00\n")) == Walltime(3600, "squeue")
    assert again(slurm, NOW, Manager(squeue="7 UNLIMITED\n")) is None
    with pytest.raises(OSError, match="squeue"):
        again(slurm, NOW, Manager())
    pbs = {"PBS_JOBID": "7.pbs", "PBS_WALLTIME": "60"}
    told = Manager(qstat=PBS.format(stime=when(600)))
    assert again(pbs, NOW, told) == Walltime(3000, "qstat")
    with pytest.raises(OSError, match="qstat"):
        again(pbs, NOW, Manager())


def when(ago_s: float) -> str:
    return time.strftime("%a %b %d %H:%M:%S %Y", time.localtime(NOW - ago_s))


def test_pbs_says_how_long_a_job_may_take_and_when_it_began():
    manager = Manager(qstat=PBS.format(stime=when(600)))
    assert found(manager, PBS_JOBID="7.pbs") == (Walltime(3000, "qstat"), "")
    assert manager.asked == [("qstat", "-f", "7.pbs")]


def test_or_how_long_it_has_taken():
    told = PBS.format(stime="").replace("    stime = \n", "")
    assert found(Manager(qstat=told), PBS_JOBID="7.pbs")[0] == Walltime(3060, "qstat")


def test_torque_says_what_is_left():
    told = TORQUE.format(stime=when(600))
    assert found(Manager(qstat=told), PBS_JOBID="7.pbs")[0] == Walltime(2987, "qstat")


def test_without_qstat_there_is_the_environment():
    told = found(Manager(), PBS_JOBID="7.pbs", PBS_WALLTIME="3600")
    assert told == (Walltime(3600, "PBS_WALLTIME"), "")
    told, said = found(Manager(), PBS_JOBID="7.pbs")
    assert told is None and "qstat: No such file" in said


def test_a_job_of_pbs_may_have_no_end():
    assert found(Manager(qstat="Job Id: 7.pbs\n    job_state = R\n"), PBS_JOBID="7.pbs")[0] is None


def test_a_clock_that_is_behind_gives_no_more_than_there_was():
    manager = Manager(qstat=PBS.format(stime=when(-30)))
    assert found(manager, PBS_JOBID="7.pbs")[0] == Walltime(3600, "qstat")


def test_of_a_short_time_the_margin_is_a_part():
    assert Walltime(86_400, "x").leave_before_s == 60
    assert Walltime(120, "x").leave_before_s == 12


def test_a_command_that_fails_says_why():
    assert ask(["echo", "7 5:00"]) == "7 5:00\n"
    with pytest.raises(OSError, match="no such job"):
        ask(["sh", "-c", "echo no such job >&2; exit 1"])
    with pytest.raises(OSError, match="No such file"):
        ask(["/no/squeue"])
