"""`mesh launch slurm`, with a real Slurm."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster import Cluster, missing
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
    assert up.finish().code == 0 and launched_files(shell) == []
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
    assert states(shell) == [] and launched_files(shell) == []

    site = "#!/bin/sh\n#SBATCH -N {{nodes}} -o {{log}}\nexec srun {{command}}\n"
    (shell.work / "site.sh").write_text(site)
    shell.mesh("launch", "slurm", "--template", "site.sh", "--slots", 1)
    assert shell.mesh("submit", "--wait", "sim:scaled", 4).out == "40\n"
    shell.mesh("launches", "cancel", 1)
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
    assert printed == "1024\n" and launched_files(shell) == []
