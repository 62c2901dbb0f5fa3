"""`mesh launch mpi`, with a real mpiexec."""

from __future__ import annotations

import os
import shutil

import pytest
from cluster import all_over
from ending import await_end
from shell import Shell

pytestmark = pytest.mark.skipif(shutil.which("mpiexec") is None, reason="mpiexec is not installed")

#: This machine may have fewer cores than ranks.
OURS = ["--oversubscribe", *(["--allow-run-as-root"] if os.getuid() == 0 else [])]


def test_ranks_are_workers_until_the_mesh_ends(shell: Shell) -> None:
    up = shell.up("--listen", "tcp://127.0.0.1:*", "--slots", 0)
    refused = shell.mesh("launch", "mpi", "--python", "/no/python", "--", *OURS, code=1)
    assert "/no/python" in refused.err and "exit code" in refused.err
    told = shell.mesh("launch", "mpi", "-n", 2, "--json", "--", *OURS).json
    assert shell.mesh("wait", "--slots", 2, "--timeout", 30).code == 0
    assert shell.mesh("submit", "--wait", "sim:scaled", 4).out == "40\n"
    assert shell.mesh("launches", "--json").json["state"] == "running"
    shell.mesh("stop")
    assert await_end(int(told["job"])) and up.finish().code == 0
    assert all_over(shell)
