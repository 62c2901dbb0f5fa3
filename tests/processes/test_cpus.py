"""How many CPUs a process may use, by whatever limits it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mesh.processes.cpus import Allowed, allowed, cpus


@pytest.fixture(autouse=True)
def host(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has 32 CPUs, of which this process may use all."""
    monkeypatch.setattr(os, "cpu_count", lambda: 32)
    bind(monkeypatch, 32)


def bind(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(count)), raising=False)


def groups(root: Path, own: str, **files: str) -> Path:
    """A root in which /proc/self/cgroup says `own`, and there are these files of groups."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(own)
    for name, text in files.items():
        file = root / "sys/fs/cgroup" / name.replace("__", "/").replace("_MAX", ".max")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return root


def of(tmp_path: Path, **environ: str) -> Allowed:
    """The share where control groups limit nothing."""
    return allowed(environ, tmp_path)


def test_affinity_alone_needs_no_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert of(tmp_path) == (32, None)
    bind(monkeypatch, 3)
    assert of(tmp_path) == (3, None) and cpus() <= 3


@pytest.mark.parametrize(
    ("own", "files", "count"),
    [
        ("0::/\n", {"cpu_MAX": "150000 100000"}, 1),
        ("0::/\n", {"cpu_MAX": "50000 100000"}, 1),
        ("0::/\n", {"cpu_MAX": "max 100000"}, None),
        ("0::/a/b\n", {"cpu_MAX": "max 100000", "a__cpu_MAX": "400000 100000"}, 4),
        ("0::/a/b\n", {"a__b__cpu_MAX": "800000 100000", "a__cpu_MAX": "max 100000"}, 8),
        ("0::/not/here\n", {"cpu_MAX": "200000 100000"}, 2),
        ("0::/../../x\n", {"cpu_MAX": "200000 100000"}, 2),
        ("0::/\n", {"cpu_MAX": "nonsense"}, None),
    ],
)
def test_the_least_quota_of_its_groups_counts(
    tmp_path: Path, own: str, files: dict[str, str], count: int | None
):
    told = allowed({}, groups(tmp_path, own, **files))
    assert told == ((32, None) if count is None else (count, "a cgroup's quota"))


@pytest.mark.parametrize("controller", ["cpu", "cpu,cpuacct"])
def test_the_first_version_of_groups_has_them_too(tmp_path: Path, controller: str):
    root = groups(tmp_path, f"3:cpuset:/\n1:{controller}:/job/7\n0::/\n")
    folder = root / "sys/fs/cgroup" / controller / "job/7"
    folder.mkdir(parents=True)
    (folder / "cpu.cfs_period_us").write_text("100000\n")
    (folder / "cpu.cfs_quota_us").write_text("600000\n")
    assert allowed({}, root) == (6, "a cgroup's quota")
    (folder / "cpu.cfs_quota_us").write_text("-1\n")
    assert allowed({}, root) == (32, None)


SLURM = {"SLURM_JOB_ID": "7", "SLURM_CPUS_ON_NODE": "16"}
STEP = SLURM | {"SLURM_STEP_TASKS_PER_NODE": "4(x2),2", "SLURM_NODEID": "0"}
PBS = {"PBS_JOBID": "7", "NCPUS": "8"}


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        (SLURM, (16, "SLURM_CPUS_ON_NODE")),
        (SLURM | {"SLURM_CPUS_PER_TASK": "4"}, (16, "SLURM_CPUS_ON_NODE")),  # the job's script
        (STEP, (4, "SLURM_STEP_TASKS_PER_NODE")),
        (STEP | {"SLURM_NODEID": "2"}, (8, "SLURM_STEP_TASKS_PER_NODE")),
        (STEP | {"SLURM_CPUS_PER_TASK": "3"}, (3, "SLURM_CPUS_PER_TASK")),
        (SLURM | {"SLURM_STEP_TASKS_PER_NODE": "1"}, (16, "SLURM_CPUS_ON_NODE")),
        (SLURM | {"OMPI_COMM_WORLD_LOCAL_SIZE": "8"}, (2, "OMPI_COMM_WORLD_LOCAL_SIZE")),
        ({"OMPI_COMM_WORLD_LOCAL_SIZE": "2"}, (16, "OMPI_COMM_WORLD_LOCAL_SIZE")),
        ({"MPI_LOCALNRANKS": "64"}, (1, "MPI_LOCALNRANKS")),
        ({"MPI_LOCALNRANKS": "1"}, (32, None)),
        (PBS, (8, "NCPUS")),
        (PBS | {"MPI_LOCALNRANKS": "2"}, (4, "MPI_LOCALNRANKS")),
        ({"NCPUS": "8", "SLURM_CPUS_ON_NODE": "4"}, (32, None)),  # of no job
        (SLURM | {"SLURM_CPUS_ON_NODE": "x"}, (32, None)),
    ],
)
def test_what_a_manager_gives_is_shared_by_its_ranks(
    tmp_path: Path, environ: dict[str, str], told: Allowed
):
    assert allowed(environ, tmp_path) == told


def test_ranks_that_are_bound_have_what_they_are_bound_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    bind(monkeypatch, 4)
    assert of(tmp_path, OMPI_COMM_WORLD_LOCAL_SIZE="2") == (4, None)
    assert of(tmp_path, OMPI_COMM_WORLD_LOCAL_SIZE="32") == (1, "OMPI_COMM_WORLD_LOCAL_SIZE")
