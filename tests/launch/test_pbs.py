"""`mesh launch pbs`, with a fake of the commands of PBS."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from cluster import all_over
from ending import await_end
from shell import Shell

FAKE = Path(__file__).with_name("pbs_fake.py")


@pytest.fixture
def pbs(shell: Shell) -> Path:
    """Where the fake has its state."""
    state, commands = shell.folder / "pbs", shell.folder / "bin"
    state.mkdir()
    commands.mkdir()
    for name in ("qsub", "qstat", "qdel", "pbsdsh"):
        # what it does depends on the name it is called by
        (commands / name).write_text(f"#!{sys.executable}\n{FAKE.read_text()}")
        (commands / name).chmod(0o755)
    (shell.home / ".profile").write_text(f"PATH={commands}:$PATH\n")  # as a site's profile has it
    shell.env |= {"PBS_FAKE": str(state), "PATH": f"{commands}:{os.environ['PATH']}"}
    return state


def test_a_job_has_a_worker_on_each_node(shell: Shell, pbs: Path) -> None:
    up = shell.up("--listen", "tcp://127.0.0.1:*", "--slots", 0)
    given = ["launch", "pbs", "-N", 2, "-c", 1, "-t", "00:05:00", "--json"]
    told = shell.mesh(*given).json
    assert shell.mesh("wait", "--slots", 2, "--timeout", 30).code == 0
    assert shell.mesh("submit", "--wait", "sim:scaled", 4).out == "40\n"
    waits = shell.mesh("launch", "pbs", "--", "-q", "long")
    assert "queued: Not Running: not enough free nodes" in waits.out
    shell.mesh("launch", "pbs", "--kept", "--", "-q", "long")
    now = [row["state"] for row in shell.mesh("launches", "--json").rows]
    assert now == ["running", "queued", "queued"]
    session = json.loads((pbs / f"{told['job'].partition('.')[0]}.json").read_text())["session_id"]
    shell.mesh("stop")
    assert await_end(session) and up.finish().code == 0
    assert json.loads((pbs / "2.json").read_text())["job_state"] == "F", "it is cancelled"
    (kept,) = shell.mesh("launches", "--json").rows
    assert (kept["number"], kept["state"]) == (3, "queued")
    shell.mesh("launches", "cancel", 3)
    assert json.loads((pbs / "3.json").read_text())["job_state"] == "F"
    assert all_over(shell)


def test_a_job_that_fails_is_told_of_with_what_it_wrote(shell: Shell, pbs: Path) -> None:
    up = shell.up("--listen", "tcp://127.0.0.1:*", "--slots", 0)
    for arguments, why in (
        (["--setup", "echo no such module; exit 3"], "no such module"),
        (["--", "-q", "none"], "qsub: Unknown queue"),
        (["--time", "long"], "Illegal attribute"),
    ):
        assert why in shell.mesh("launch", "pbs", *arguments, code=1).err
    assert shell.mesh("launches", "--json").rows == []
    shell.mesh("stop")
    assert up.finish().code == 0


def test_before_its_walltime_ends_a_job_has_left(shell: Shell, pbs: Path) -> None:
    up = shell.up("--listen", "tcp://127.0.0.1:*", "--slots", 0)
    given = ["launch", "pbs", "-c", 1, "-t", "00:00:40", "--worker-option=--leave-before=20"]
    told = shell.mesh(*given, "--json").json
    held = shell.held()
    task = shell.submit(*held.call)
    held.await_begin()
    row = json.loads((pbs / "1.json").read_text())
    held.let_go()
    shell.mesh("wait", task)
    assert await_end(row["session_id"], 60)
    assert "says qstat: it leaves 20 s before" in (said := Path(told["log"]).read_text())
    assert "leaves: its time ends" in said and shell.mesh("result", task).out == "held\n"
    shell.mesh("stop")
    assert up.finish().code == 0
