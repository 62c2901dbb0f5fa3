"""Groups on the command line: by name, as a table, run again, and what failed in them."""

from __future__ import annotations

import csv
import json
import subprocess
import sys

import pytest
from shell import Shell

SWEEP = """
    import sim
    from mesh import Mesh
    with Mesh("default") as m:
        g = m.submit_many(sim.scaled, [1, 2, None, "a", None], name="sweep")
        g.wait()
        print(g.id)
"""


@pytest.fixture(scope="module")
def sweep(meshed: Shell) -> str:
    return meshed.python(SWEEP).strip()


def test_a_name_is_as_good_as_an_id(meshed: Shell, sweep: str) -> None:
    waited = meshed.mesh("wait", "sweep", code=1)
    assert waited.out == "3 done, 2 failed\n"
    assert f"3 done, 2 failed: 2× TypeError sim.py:12 (e.g. {sweep[:8]}." in waited.err
    assert "5 of 5 ended (100%), 2 failed" in waited.err

    told = meshed.mesh("wait", "sweep", "--json", code=1)
    [cause] = told.json["causes"]
    assert (cause["error"], cause["members"], cause["where"]) == ("TypeError", 2, "sim.py:12")
    assert told.err == ""
    assert "2× TypeError" in meshed.mesh("explain", "sweep").out
    assert meshed.mesh("result", "sweep", code=1).err.startswith("3 done, 2 failed: 2× TypeError")
    assert "== " not in meshed.mesh("logs", "sweep").out
    assert meshed.mesh("cancel", "sweep").out == "cancelled 0 tasks\n"

    rows = meshed.mesh("tasks", "sweep", "--json").rows
    number = int(sweep[9:])
    assert [row["id"] for row in rows] == [f"{sweep[:9]}{number + i}" for i in range(1, 6)]
    assert [row["state"] for row in rows] == ["done", "done", "failed", "done", "failed"]
    assert len(meshed.mesh("tasks", sweep, "--state", "failed").out.splitlines()) == 3
    assert len(meshed.mesh("tasks", sweep, "--limit", 2, "--json").rows) == 2


def test_a_table_has_a_row_a_task(meshed: Shell, sweep: str) -> None:
    done = meshed.mesh("export", "sweep", "-o", "sweep.csv")
    assert done.out == "" and done.err == "wrote 5 rows to sweep.csv\n"
    with open(meshed.work / "sweep.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["x"], row["result"], row["state"]) for row in rows] == [
        ("1", "10", "done"),
        ("2", "20", "done"),
        ("", "", "failed"),
        ("a", "a" * 10, "done"),
        ("", "", "failed"),
    ]
    assert rows[2]["error"].startswith("TypeError: unsupported operand")
    assert {(row["attempts"], row["where"]) for row in rows} == {("1", ""), ("1", "sim.py:12")}
    assert all(row["host"] and float(row["took_s"]) >= 0 for row in rows)

    lines = meshed.mesh("export", sweep, "--json").out.splitlines()
    assert [json.loads(line)["arguments"] for line in lines] == [
        {"x": x} for x in (1, 2, None, "a", None)
    ]
    assert meshed.mesh("export", sweep).out.splitlines()[1].split(",")[4:7] == ["1", "done", "10"]
    assert len(meshed.mesh("export", f"{sweep[:9]}{int(sweep[9:]) + 1}").out.splitlines()) == 2
    assert "ends in neither" in meshed.mesh("export", sweep, "-o", "x.xls", code=2).err
    assert meshed.mesh("export", "nothing", code=6).err


def test_who_has_seen_enough_of_a_table_closes_the_pipe(meshed: Shell, sweep: str) -> None:
    piped = f"{sys.executable} -m mesh export sweep | true; exit ${{PIPESTATUS[0]}}"

    done = subprocess.run(
        ["bash", "-c", piped], cwd=meshed.work, env=meshed.env, capture_output=True, timeout=60
    )

    assert (done.returncode, done.stdout, done.stderr) == (1, b"", b"")


def test_what_failed_is_run_again_and_has_the_name(meshed: Shell) -> None:
    old = meshed.python(SWEEP.replace('"sweep"', '"again"')).strip()

    done = meshed.mesh("retry", "again")

    made = done.out.strip()
    assert made != old and done.err == "2 tasks again\n"
    meshed.mesh("wait", made, code=1)
    rows = meshed.mesh("tasks", "again", "--json").rows
    assert [row["id"].split(".")[0] == old.split(".")[0] for row in rows] == [
        *(True, True, False, True, False)
    ]
    assert meshed.mesh("wait", "again", "--json", code=1).json["failed"] == 2
    done = rows[0]["id"]
    assert "is done: only what failed is run again" in meshed.mesh("retry", done, code=1).err


def test_a_name_that_several_have_is_that_of_the_newest(meshed: Shell) -> None:
    _, newest = [meshed.python(SWEEP.replace('"sweep"', '"twice"')).strip() for _ in range(2)]

    assert meshed.mesh("explain", "twice").out.startswith(f"{newest} 'twice', a group of 5: ")


def test_a_folder_without_a_mesh_has_its_tables(shell: Shell) -> None:
    up = shell.up()
    shell.python(SWEEP)
    shell.mesh("stop")
    assert up.finish().code == 0

    there = "--dir", shell.folder / "m"
    rows = shell.mesh("export", "sweep", "--json", *there).out.splitlines()
    assert [json.loads(row)["result"] for row in rows] == [10, 20, None, "a" * 10, None]
    assert len(shell.mesh("tasks", "sweep", *there).out.splitlines()) == 6
