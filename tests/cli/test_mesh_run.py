"""`mesh run`: commands as tasks, with the real thing."""

from __future__ import annotations

import os
import signal
import socket
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from shell import PATIENCE_S, Command, Shell

from mesh.cli import main
from mesh.cli.joblog import COLUMNS


def held_line(shell: Shell, name: str) -> tuple[str, Path, Path]:
    """A line for the shell that says when it runs, and waits to be let go; both by named pipes."""
    begun, gate = shell.work / f"begun-{name}", shell.work / f"gate-{name}"
    os.mkfifo(begun)
    os.mkfifo(gate)
    return f"echo $$ > {begun}; cat {gate}", begun, gate


def runs_of(shell: Shell) -> list[str]:
    """What the jobs of a test have noted that ran, in order."""
    return (shell.work / "ran").read_text().split()


NOTE = "echo {} >> ran; "


def test_without_a_mesh_one_begins_and_ends_with_the_command(shell: Shell) -> None:
    done = shell.mesh("run", "-k", "-j2", "--", "printf", "%s|", "x={}", "{#}", ":::", "a b", "c;d")
    assert done.out == "x=a b|1|x=c;d|2|"
    assert "2 of 2 ended" in done.err
    line = "echo {} \"$(basename {})\" '{/.}' >&2; pwd; echo $A $B"
    done = shell.mesh(
        *["run", "--no-progress", "--env", "A=a b", "--env", "B", "--cwd", shell.home, line],
        *[":::", "it's/$(x).y"],
        B="b",
    )
    assert done.out == f"{shell.home}\na b b\n"
    assert done.err == "it's/$(x).y $(x).y $(x)\n"


def test_values_from_standard_input_and_from_arrays(shell: Shell) -> None:
    lines = shell.start("run", "-k", "--tag", "echo {#}", stdin="a b\n\nc").finish()
    assert (lines.code, lines.out) == (0, "a b\t1\n\t2\nc\t3\n")
    commands = shell.start("run", "-k", stdin="echo 1 | wc -l\nfalse\n").finish()
    assert (commands.code, commands.out) == (1, "1\n")
    numbers = shell.mesh("run", "-k", "--array", "2-6:2%1", "echo {} $MESH_INDEX $MESH_SLOT_NUMBER")
    assert numbers.out == "2 1 0\n4 2 0\n6 3 0\n"
    assert shell.mesh("run", "echo", ":::").out == ""


def test_a_job_that_takes_several_slots_has_as_many_in_a_mesh_of_its_own(shell: Shell) -> None:
    wide = ["run", "-j1", "--cpus", "2", "--time-request", "1h", "--memory", "1GB"]
    assert shell.mesh(*wide, "echo", ":::", "a", "b").out in ("a\nb\n", "b\na\n")
    assert "cpus must be 1 or more" in shell.mesh("run", "--cpus", "0", "true", code=2).err


def test_lines_are_printed_while_jobs_run(shell: Shell) -> None:
    waiting, begun, gate = held_line(shell, "it")
    line = f"echo out {{}}; echo err >&2; {waiting}; test {{}} = good"
    running = shell.start("run", "-u", "--tag", "--results", "tree", line, ":::", "good")
    begun.read_text()
    assert {running.line(), running.line()} == {"good\tout good", "good\terr"}
    gate.write_text("end")
    done = running.finish()
    assert (done.code, done.out) == (0, "good\tend\n")
    place = shell.work / "tree" / "1" / "good"
    assert (place / "stdout").read_text() == "out good\nend"
    assert (place / "stderr").read_text() == "err\n"

    line = "echo out; test {} = good"
    found = ["run", "-u", "--no-progress", "--dir", "m", "--resume", line, ":::", "good", "bad"]
    assert shell.mesh(*found, code=1).out == "out\n" * 2
    assert shell.mesh(*found, code=1).out == "out\n" * 2


def test_dry_run_begins_nothing(shell: Shell) -> None:
    done = shell.mesh("run", "--dry-run", "--joblog", "log", "cp {} {.}.b", ":::", "a b.c", "d")
    assert (done.out, done.err) == ("cp 'a b.c' 'a b'.b\ncp d d.b\n", "")
    done = shell.mesh("run", "--dry-run", "--", "cp", "{}", ":::", "a b", ":::", "1", "2")
    assert done.out == "cp 'a b' 1\ncp 'a b' 2\n"
    assert not (shell.work / "log").exists()


def test_what_fails_is_told_and_decides_the_exit_code(shell: Shell) -> None:
    line = "echo out {}; echo err {} >&2; exit {}"
    done = shell.mesh("run", "-k", "--no-progress", line, ":::", "0", "3", "3", code=1)
    assert done.out == "out 0\nout 3\nout 3\n"
    assert done.err == (
        "err 0\nerr 3\nerr 3\n"
        "mesh: 1 done, 2 failed\n"
        "mesh:   2× exit code 3, first job 2: echo out 3; echo err 3 >&2; exit 3\n"
    )
    late = shell.mesh(
        *["run", "--no-progress", "--time-limit", "0.2", "sleep", ":::", "600"], code=1
    )
    assert "1× TaskTimeout, first job 1: sleep 600: " in late.err
    none = shell.mesh("run", "--no-progress", "no such program", "-x", ":::", "a", code=1)
    assert none.err.startswith("no such program cannot be run on ") and none.out == ""
    assert "1× exit code 127, first job 1: 'no such program' -x a" in none.err
    lost = shell.mesh("run", "--no-progress", "--cwd", "nowhere", "true", ":::", "a", code=1)
    assert "1× FileNotFoundError, first job 1: true a: " in lost.err and "/nowhere" in lost.err
    tried = shell.mesh(
        *["run", "--retries", "2", "--backoff", "0", NOTE + "test $(wc -l < ran) = 3", ":::", "a"]
    )
    assert tried.out == "" and runs_of(shell) == ["a"] * 3


def test_enough_failures_end_it(shell: Shell) -> None:
    line = ["-j1", "--array", "1-1000000", "--max-fails"]
    done = shell.mesh("run", *line, "2", NOTE + "test {} = 2", code=1)
    assert "2 jobs failed: no more are begun" in done.err
    assert runs_of(shell)[:3] == ["1", "2", "3"] and len(runs_of(shell)) < 6
    done = shell.mesh("run", *line, "50%", "exit $(expr {} % 2)", code=1)
    assert "3 jobs failed: no more are begun" in done.err


@pytest.mark.parametrize("record", ["--joblog", "--results", "--dir"])
def test_what_was_killed_goes_on_where_it_was(shell: Shell, record: str) -> None:
    waiting, begun, gate = held_line(shell, "it")
    line = f"echo {{}} >> ran; echo {{}}; test {{}} != hold || {{ {waiting}; }}"
    kept = [record, shell.work / "kept"] + ["--resume"] * (record == "--dir")
    first = shell.start("run", "-j1", *kept, line, ":::", "a", "b", "hold", "c")
    assert begun.read_text().strip().isdecimal()
    assert [first.line(), first.line()] == ["a", "b"]
    if record == "--joblog":  # both were printed after they were written down
        assert len((shell.work / "kept").read_text().splitlines()) == 3
    first.send(signal.SIGKILL)
    first.finish()
    assert not shell.left()

    goes_on = [*kept, *{"--resume"} - {*kept}]
    again = shell.start("run", "-j1", "-k", *goes_on, line, ":::", "c", "hold", "b", "a")
    begun.read_text()
    gate.write_text("held\n")
    done = again.finish()
    assert done.code == 0, done
    assert sorted(runs_of(shell)) == ["a", "b", "c", "hold", "hold"]
    found = "b\na\n" if record == "--dir" else ""  # a mesh has what they wrote
    assert done.out == "c\nhold\nheld\n" + found


def test_what_has_failed_is_run_again_and_nothing_else(shell: Shell) -> None:
    line = NOTE + "test {} != bad || test -e good"
    for kept in (["--joblog", "log"], ["--results", "tree"], ["--dir", "m", "--resume"]):
        shell.mesh("run", *kept, line, ":::", "a", "bad", code=1)
        (shell.work / "ran").unlink()
        again = [*(each for each in kept if each != "--resume"), "--retry-failed"]
        shell.mesh("run", *again, line, ":::", "new", "bad", "a", code=1)
        assert runs_of(shell) == ["bad"], kept
        (shell.work / "good").touch()
        shell.mesh("run", *again, line, ":::", "bad")
        shell.mesh("run", *again, line, ":::", "bad")
        assert runs_of(shell) == ["bad", "bad"], kept
        (shell.work / "good").unlink()
        (shell.work / "ran").unlink()
    log = (shell.work / "log").read_text().splitlines()
    assert log[0] == "\t".join(COLUMNS) and len(log) == 5
    assert (shell.work / "tree" / "1" / "bad" / "exit").read_text() == "0\n"


def interrupted(running: Command, begun: Path) -> str:
    """Interrupt a run as soon as a job of it runs; what it says."""
    begun.read_text()
    running.send(signal.SIGINT)
    done = running.finish()
    assert done.code == 130, done
    return done.err


def test_ctrl_c_cancels_the_rest_and_says_how_to_go_on(shell: Shell) -> None:
    line, begun, _ = held_line(shell, "it")
    command = [line + "; true {}", ":::", "a", "b", "c"]
    said = interrupted(shell.start("run", "-j1", *command), begun)
    assert "0 done, 0 failed, 3 unfinished; with --joblog FILE" in said
    assert not shell.left()
    said = interrupted(shell.start("run", "-j1", "--joblog", "log", *command), begun)
    assert "3 unfinished; --resume goes on with what is left" in said


def test_on_a_mesh_that_runs_the_rest_is_cancelled_too(shell: Shell) -> None:
    up = shell.up("--access", shell.folder / "a.json")
    env = {"MESH_ACCESS": str(shell.folder / "a.json")}
    alone = "mkdir lock && sleep 0.05 && rmdir lock && echo {}"  # there are two slots
    done = shell.mesh("run", "-k", "-j1", alone, ":::", "a", "b", "c", "d", **env)
    assert done.out == "a\nb\nc\nd\n"
    line, begun, _ = held_line(shell, "it")
    interrupted(shell.start("run", line + "; true {}", ":::", "a", **env), begun)
    tasks = shell.mesh("status", "--json", **env).json["tasks"]
    assert (tasks["done"], tasks["cancelled"], tasks["running"]) == (4, 1, 0)
    assert "command:mkdir lock &&" in shell.mesh("tasks", **env).out
    shell.mesh("stop", "--now", **env)
    assert up.finish().code == 0
    assert "mesh up" in shell.mesh("run", "--access", "gone", "true", ":::", "a", code=3).err


def test_a_job_whose_results_cannot_be_kept_is_not_in_the_log(shell: Shell) -> None:
    (shell.work / "tree").mkdir()
    (shell.work / "tree" / "1").touch()  # no folder
    line = ("run", "--joblog", "log", "--results", "tree", "echo", ":::", "a")

    said = shell.mesh(*line, code=1).err

    assert "--results tree cannot take that job 1 has ended: " in said
    assert "--resume goes on with what is left" in said
    assert (shell.work / "log").read_text() == "\t".join(COLUMNS) + "\n"
    (shell.work / "tree" / "1").unlink()
    assert shell.mesh(*line[:1], "--resume", *line[1:]).out == "a\n"


def test_a_job_that_is_stopped_keeps_what_it_wrote(shell: Shell) -> None:
    line = "echo out; echo err >&2; exec sleep"
    kept = ["--results", "tree", "--joblog", "log"]

    done = shell.mesh("run", "--time-limit", "1s", *kept, line, ":::", "300", code=1)

    assert done.out == "out\nerr\n", "both: they are in one log"
    assert (shell.work / "tree" / "1" / "300" / "stdout").read_text() == done.out
    _, host, begun, took_s, *_ = (shell.work / "log").read_text().splitlines()[1].split("\t")
    assert host == socket.gethostname()
    assert float(begun) > 0 and float(took_s) >= 1


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_standard_streams_may_be_closed(shell: Shell, closed: str) -> None:
    line = f"exec {sys.executable} -m mesh run --joblog log 'echo {{}}' ::: a b {closed}"
    done = Command(["sh", "-c", line], shell.work, shell.env).finish()
    assert done.code == 0 and "Traceback" not in done.err
    assert sorted(done.out.split()) == ([] if ">&-" in closed.split() else ["a", "b"])
    assert len((shell.work / "log").read_text().splitlines()) == 3


@pytest.mark.parametrize("what", ["run --array 1-3 echo", "run --joblog /dev/full echo ::: a"])
def test_a_full_disk_is_told_in_a_line(shell: Shell, what: str) -> None:
    line = f"exec {sys.executable} -m mesh {what} >/dev/full"
    done = Command(["sh", "-c", line], shell.work, shell.env).finish()
    assert done.code in (1, 2) and "Traceback" not in done.err
    assert "No space left on device" in done.err.splitlines()[-1]


def test_a_folder_that_is_gone(shell: Shell) -> None:
    line = f"mkdir gone; cd gone; rmdir ../gone; exec {sys.executable} -m mesh run"
    told = Command(["sh", "-c", f"{line} echo ::: a"], shell.work, shell.env).finish()
    assert told.code == 2 and "the current folder is gone" in told.err
    there = f"{line} --cwd {shell.home} pwd ::: ''"
    done = Command(["sh", "-c", there], shell.work, shell.env).finish()
    assert (done.code, done.out) == (0, f"{shell.home}\n")


def test_who_reads_no_further_ends_it(shell: Shell) -> None:
    running = shell.start("run", "--no-progress", "echo", "--array", stdin="x\n" * 1_000_000)
    assert running.line() == "--array x"
    assert running.process.stdout is not None
    running.process.stdout.close()
    assert running.line("err").startswith("mesh: nobody reads the output any more")
    assert running.process.wait(PATIENCE_S) == 1


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["echo `{}`", ":::", "a"], "in backticks"),
        (
            ["--dry-run", "echo {2}", ":::", "a"],
            "input 1: {2} has no value: the input has one value",
        ),
        (["--resume", "true", ":::", "a"], "--joblog"),
        (["--array", "9-1", "true"], "no numbers"),
        (["-j", "0", "true", ":::", "a"], "neither a number"),
        (["--env", "NO_SUCH", "true", ":::", "a"], "NAME=VALUE"),
        (["--colsep", "(", "true", ":::", "a"], "no regular expression"),
        (["true", "::::", "nowhere"], "nowhere cannot be read"),
        (["-u", "-k", "true", ":::", "a"], "--keep-order does not"),
    ],
)
def test_what_cannot_be_is_told_before_anything_runs(arguments: list[str], why: str) -> None:
    done = CliRunner().invoke(main, ["run", *arguments])
    assert done.exit_code in (1, 2) and why in done.output
