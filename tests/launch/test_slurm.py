"""`mesh launch slurm`, with a real Slurm."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster import Cluster, all_over, missing
from shell import Shell

WHY_NOT = missing()

pytestmark = pytest.mark.skipif(WHY_NOT is not None, reason=WHY_NOT or "")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One for all tests of this file."""
    made = Cluster(tmp_path_factory.mktemp("slurm"))
    yield made
    made.close()


def states(shell: Shell) -> list[str]:
    return [row["state"] for row in shell.mesh("launches", "--json").rows]


def launched_files(shell: Shell) -> list[Path]:
    return list((shell.home / ".mesh" / "launches").iterdir())


def test_a_job_has_a_worker_on_each_node(shell: Shell, cluster: Cluster) -> None:
    shell.env |= cluster.env
    up = shell.up("--listen", "tcp://127.0.0.1:*", "--slots", 0)
    told = shell.mesh("launch", "slurm", "-N", 2, "-t", 5, "--cpus", 1, "--json").json
    assert shell.mesh("wait", "--slots", 2, "--timeout", 30).code == 0
    assert shell.mesh("submit", "--wait", "sim:scaled", 4).out == "40\n"
    assert states(shell) == ["running"]
    script = subprocess.run(
        ["scontrol", "write", "batch_script", told["job"], "-"],
        env=shell.env, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    access = next(file for file in launched_files(shell) if file.name.startswith("access"))
    assert str(access) in script and access.read_text().split('"')[-2] not in script

    # One that waits for room is cancelled, and that which runs, too
    other = shell.mesh("launch", "slurm", "-N", 2, "--", "--begin=now+1hour", "--mem=100")
    assert "pending: BeginTime" in other.out
    shell.mesh("stop")
    assert up.finish().code == 0 and all_over(shell)
    queue = ["squeue", "-h", "-t", "PD,R", "-o", "%i"]
    assert not subprocess.run(queue, env=shell.env, capture_output=True, check=True).stdout


def test_a_job_that_fails_is_told_of_with_what_it_wrote(shell: Shell, cluster: Cluster) -> None:
    shell.env |= cluster.env
    up = shell.up("--listen", "tcp://127.0.0.1:*", "--slots", 0)
    for given, why in (
        (["--python", "/no/python"], "/no/python: No such file"),
        (["--", "--partition=none"], "invalid partition"),
    ):
        refused = shell.mesh("launch", "slurm", *given, code=1)
        assert why in refused.err
    assert states(shell) == [] and all_over(shell)

    site = "#!/bin/sh\n#SBATCH -N {{nodes}} -o {{log}}\nexec srun {{command}}\n"
    (shell.work / "site.sh").write_text(site)
    site_job = ["launch", "slurm", "--template", "site.sh", "--slots", 1, "--json"]
    launched = shell.mesh(*site_job).json
    assert shell.mesh("submit", "--wait", "sim:scaled", 4).out == "40\n"
    shell.mesh("launches", "cancel", launched["number"])
    shell.mesh("stop")
    assert up.finish().code == 0


def test_a_script_has_a_job_while_it_runs(shell: Shell, cluster: Cluster) -> None:
    shell.env |= cluster.env
    printed = shell.python(
        """
        from mesh import Mesh, Slurm
        with Mesh(launch=Slurm(nodes=2, time="00:05:00")) as m:
            print(m.submit(pow, 2, 10).result())
        """
    )
    assert printed == "1024\n" and all_over(shell)


def ended(shell: Shell, job: str) -> dict[str, str]:
    """Wait until a job has ended, which Slurm knows best; what it says of it then."""
    after = ["srun", "-N1", "-n1", f"--dependency=afterany:{job}", "true"]
    subprocess.run(after, env=shell.env, capture_output=True, check=True)
    told = subprocess.run(
        ["scontrol", "show", "job", "-o", job], env=shell.env, capture_output=True, text=True
    )
    return dict(re.findall(r"(\w+)=(\S*)", told.stdout))


@pytest.mark.parametrize("how", ["its time ends", "told to by a signal"])
def test_a_job_that_ends_too_early_costs_its_tasks_nothing(
    shell: Shell, cluster: Cluster, how: str
) -> None:
    shell.env |= cluster.env
    up = shell.up("--listen", "tcp://127.0.0.1:*", "--slots", 0)
    options = {"its time ends": ["--leave-before=44"]}.get(how, ["--drain-timeout=1"])
    given = [f"--worker-option={option}" for option in options]
    job = shell.mesh("launch", "slurm", "-N", 2, "-c", 1, "-t", 1, *given, "--json").json["job"]
    large = shell.submit("sim:big", 100_000)
    shell.mesh("wait", large)
    held = [shell.held(), shell.held()]
    tasks = [shell.submit(*each.call) for each in held]
    for each in held:
        each.await_begin()
    assert sum(bool(row["ends_s"]) for row in shell.mesh("workers", "--json").rows) == 2
    if how != "its time ends":
        subprocess.run(["scancel", "--signal=USR1", job], env=shell.env, check=True)
    now = ended(shell, job)
    assert (now["JobState"], now["ExitCode"]) == ("COMPLETED", "0:0")

    shell.mesh("launch", "local", "--slots", 2)
    for each, task in zip(held, tasks, strict=True):
        each.await_begin()
        told = shell.mesh("explain", task).out
        assert "was interrupted, which counts as nothing" in told and "lost" not in told
        each.let_go()
    shell.mesh("wait", *tasks)
    assert shell.mesh("result", large).out.strip() == "x" * 100_000, "it went home"
    shell.mesh("stop")
    assert up.finish().code == 0


def test_a_job_ends_when_its_workers_have_nothing_to_do(shell: Shell, cluster: Cluster) -> None:
    shell.env |= cluster.env
    up = shell.up("--listen", "tcp://127.0.0.1:*", "--slots", 0)
    launched = shell.mesh("launch", "slurm", "-N", 2, "--idle-timeout", 1, "--json").json
    now = ended(shell, launched["job"])
    assert (now["JobState"], now["ExitCode"]) == ("COMPLETED", "0:0")
    shell.mesh("stop")
    assert up.finish().code == 0
