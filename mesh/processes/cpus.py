"""Cpus: how many CPUs this process may use, and who says so.

A machine may have more than we are given, in several ways: by affinity, by a quota of a control
group, by what a batch manager has allocated, and as one of several ranks on a host that share what
there is. The least counts.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

#: How many ranks of a job are on this host, as MPIs say it: Open MPI, MPICH and Intel, MVAPICH,
#: Cray.
LOCAL_RANKS = (
    "OMPI_COMM_WORLD_LOCAL_SIZE",
    "MPI_LOCALNRANKS",
    "MV2_COMM_WORLD_LOCAL_SIZE",
    "PMI_LOCAL_SIZE",
)

#: Where both versions of control groups have their files.
GROUPS = "sys/fs/cgroup"


class Allowed(NamedTuple):
    """So many CPUs; `by` what, or None if that is affinity, as it is mostly."""

    cpus: int
    by: str | None = None


def cpus() -> int:
    """How many CPUs this process may use."""
    return allowed(os.environ).cpus


def allowed(environ: Mapping[str, str], root: Path = Path("/")) -> Allowed:
    """The CPUs that this process may use. `root`: where /proc and /sys are."""
    if hasattr(os, "sched_getaffinity"):
        found = [Allowed(len(os.sched_getaffinity(0)))]
    else:
        found = [Allowed(os.cpu_count() or 1)]
    if (quota := _quota(root)) is not None:
        found.append(Allowed(max(1, int(quota)), "a cgroup's quota"))
    node = _of_node(environ)
    if node is not None:
        found.append(node)
    if "SLURM_STEP_TASKS_PER_NODE" in environ:  # else this is the job's script, which has it all
        name = "SLURM_CPUS_PER_TASK"
        if count := _count(environ.get(name, "")):
            found.append(Allowed(count, name))
    ranks, by = _ranks(environ)
    if ranks > 1:
        # Those that are bound have no more than their part; others would take all, each.
        on_node = (os.cpu_count() or 1) if node is None else node.cpus
        found.append(Allowed(max(1, on_node // ranks), by))
    return min(found, key=lambda each: each.cpus)  # of equals the first


def _of_node(environ: Mapping[str, str]) -> Allowed | None:
    """What a manager has allocated on this host."""
    for job, name in (("SLURM_JOB_ID", "SLURM_CPUS_ON_NODE"), ("PBS_JOBID", "NCPUS")):
        if job in environ and (count := _count(environ.get(name, ""))):
            return Allowed(count, name)
    return None


def _ranks(environ: Mapping[str, str]) -> tuple[int, str]:
    """How many processes such as this one share what is given on this host, and who says so."""
    for name in LOCAL_RANKS:
        if count := _count(environ.get(name, "")):
            return count, name
    name = "SLURM_STEP_TASKS_PER_NODE"
    each = [
        int(count)
        for count, times in re.findall(r"(\d+)(?:\(x(\d+)\))?", environ.get(name, ""))
        for _ in range(int(times or 1))
    ]
    node = environ.get("SLURM_NODEID", "")
    here = int(node) if node.isdecimal() else 0
    return each[here] if here < len(each) else 1, name


def _count(text: str) -> int:
    return int(text) if text.isdecimal() else 0


def _quota(root: Path) -> float | None:
    """The CPUs that the control groups of this process allow it, of which the least counts."""
    top = root / GROUPS
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return None  # not Linux
    quotas = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            groups, read = top, _quota_of_v2
        elif "cpu" in controllers.split(","):
            groups, read = top / controllers, _quota_of_v1
            groups = groups if groups.exists() else top / "cpu"
        else:
            continue
        folder = groups / path.lstrip("/")
        while True:  # in a container the path may be another's: then there are its roots alone
            if (quota := read(folder)) is not None:
                quotas.append(quota)
            if folder == groups or groups not in folder.parents:
                break
            folder = folder.parent
    return min(quotas, default=None)


def _quota_of_v2(folder: Path) -> float | None:
    try:
        quota, period = (folder / "cpu.max").read_text().split()
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None


def _quota_of_v1(folder: Path) -> float | None:
    try:
        quota = int((folder / "cpu.cfs_quota_us").read_text())
        return None if quota < 0 else quota / int((folder / "cpu.cfs_period_us").read_text())
    except (OSError, ValueError, ZeroDivisionError):
        return None
