"""`--log-json`: one line an event, with task, lease and worker."""

from __future__ import annotations

import errno
import io
import json
import os
import signal
import sys
import threading
from pathlib import Path

import pytest
from shell import Shell

from mesh.cli.amounts import Size
from mesh.processes.complaints import LINE_BYTES_MAX, Complaints
from mesh.processes.log import Log


def rows(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_each_event_of_each_task_is_a_line_of_the_router(shell: Shell) -> None:
    up = shell.up("--log-json", "--listen", "tcp://127.0.0.1:*")
    good = shell.submit("sim:scaled", 2)
    bad = shell.submit("--retries", 1, "sim:fail", "no")
    shell.mesh("wait", good, bad, code=1)
    deadly = shell.submit("sim:die", 9)
    shell.mesh("wait", deadly, code=1)
    up.send(signal.SIGTERM)
    done = up.finish()
    assert done.code == 0
    said = [json.loads(line)["text"] for line in done.err.splitlines()]
    assert [text.split(" ", 1)[0] for text in said] == ["nothing"]

    router = rows(shell.folder / "m" / "log" / "router.log")
    told = {
        task: [row for row in router if row.get("task") == task] for task in (good, bad, deadly)
    }
    assert [row["event"] for row in told[good]] == ["submitted", "given", "done"]
    assert [row["event"] for row in told[bad]] == [
        "submitted", "given", "ran", "retried", "given", "failed",
    ]  # fmt: skip
    assert [row["event"] for row in told[deadly]].count("given") == 3
    leases = [row["lease"] for row in told[bad] if row["event"] == "given"]
    assert len(set(leases)) == 2
    assert all(row["worker"] for row in router if row["event"] in ("given", "done", "ran"))
    assert {row["event"] for row in router} >= {"started", "joined", "left", "stopped"}
    assert all(row["time"] > 0 and row["pid"] > 0 for row in router)

    worker = rows(shell.folder / "m" / "log" / "worker.log")
    assert [row["how"] for row in worker if row["event"] == "slot died"].count(
        "was killed by SIGKILL (out of memory?)"
    ) >= 3
    assert {"slot started", "stopped"} <= {row["event"] for row in worker}


def test_the_log_says_that_a_task_has_begun_and_how_the_mesh_drains(shell: Shell) -> None:
    log = shell.folder / "m" / "log"
    up = shell.up("--log-json")
    held, quick = shell.held(), shell.submit("sim:scaled", 2)
    shell.mesh("wait", quick)
    task = shell.submit(*held.call)
    held.await_begin()
    while ("begun", task) not in [
        (row["event"], row.get("task")) for row in rows(log / "router.log")
    ]:
        shell.mesh("status")
    stopping = shell.start("stop", "--drain-timeout", 60)
    assert "waiting for 1 running task" in stopping.line("err")
    while not any(row["event"] == "drain began" for row in rows(log / "worker.log")):
        shell.mesh("status")
    held.let_go()
    assert stopping.finish().code == up.finish().code == 0

    router, worker = rows(log / "router.log"), rows(log / "worker.log")
    told = [row for row in router if row.get("task") == task]
    assert [row["event"] for row in told] == ["submitted", "given", "begun", "done"]
    assert len({row["lease"] for row in told[1:]}) == len({row["worker"] for row in told[1:]}) == 1
    assert 0 < told[3]["begun_at"] <= told[2]["time"] and told[3]["took_s"] > 0
    of_quick = [row for row in router if row.get("task") == quick]
    assert [row["event"] for row in of_quick] == ["submitted", "given", "done"]
    assert of_quick[2]["begun_at"] > 0, "of what is over at once its end tells when it began"
    for part in router, worker:
        drain = [row for row in part if row["event"].startswith("drain")]
        assert [row["event"] for row in drain] == ["drain began", "drain ended"]
        assert (drain[0]["within_s"], drain[0]["running"]) == (60, 1)


def test_a_drain_without_end_that_is_hurried(shell: Shell) -> None:
    router = shell.start("router", "--dir", shell.folder / "m", "--log-json")
    router.line()
    worker = shell.start(
        "worker", "--slots", 1, "--log-json", "--drain-timeout", "inf", "--dir", shell.folder / "w"
    )
    worker.line()
    held = shell.held()
    shell.submit(*held.call)
    held.await_begin()
    worker.send(signal.SIGTERM)
    while "drain began" not in (line := worker.line("err")):
        json.loads(line)
    assert json.loads(line)["within_s"] is None and "Infinity" not in line
    worker.send(signal.SIGTERM)
    rest = [json.loads(line) for line in worker.finish().err.splitlines()]
    drain = [row["event"] for row in rest if "drain" in row["event"]]
    assert drain == ["drain hurried", "drain ended"]
    router.send(signal.SIGTERM)
    assert router.finish().code == 0


def test_what_a_slot_says_of_itself_is_a_line_of_the_worker(shell: Shell) -> None:
    """Of one that cannot start: its interpreter's words are not ours."""
    broken = shell.folder / "broken"
    broken.mkdir()
    (broken / "sitecustomize.py").write_text(
        "import os, sys\n"
        "if 'mesh.processes.slot' in ' '.join(sys.orig_argv):\n"
        "    os.write(2, b'no end of')\n"
        "    raise SystemExit('a broken site')\n"
    )
    path = f"{broken}{os.pathsep}{shell.env['PYTHONPATH']}"
    router = shell.start("router", "--dir", shell.folder / "m", "--log-json")
    router.line()
    worker = shell.start(
        "worker", "--slots", 2, "--dir", shell.folder / "w", "--log-json", PYTHONPATH=path
    )

    done = worker.finish()

    assert done.code == 1
    told = [json.loads(line) for line in done.err.splitlines()]
    died = {row["slot_pid"] for row in told if row["event"] == "slot died"}
    said = [row for row in told if row["event"] == "slot said"]
    assert died and {row["slot_pid"] for row in said} >= died
    texts = {row["text"].partition(": ")[2] for row in said}
    assert "SystemExit: a broken site" in texts and any("no end of" in text for text in texts)
    drain = [row["event"] for row in told if "drain" in row["event"]]
    assert drain == ["drain began", "drain ended"]
    last = [row for row in told if row["event"] != "slot said"][-1]  # a slot may speak to the end
    assert "slots do not start" in last["text"]
    router.send(signal.SIGTERM)
    assert all(json.loads(line) for line in router.finish().err.splitlines())


def test_without_it_a_log_is_for_people(shell: Shell) -> None:
    up = shell.up()
    shell.mesh("wait", shell.submit("sim:scaled", 2))
    shell.mesh("stop")
    assert up.finish().code == 0

    text = (shell.folder / "m" / "log" / "router.log").read_text()
    assert "router of mesh" in text and "{" not in text


def test_what_is_no_amount_is_a_usage_error(shell: Shell) -> None:
    for wrong in (["--ttl", "soon"], ["--ttl", "0"], ["--quota", "much"], ["--quota", "-1"]):
        assert "Usage" in shell.mesh("up", *wrong, code=2).err


def test_a_size_below_a_megabyte_needs_a_unit(shell: Shell) -> None:
    for wrong in (
        ["up", "--quota", "5"],
        ["up", "--quota", " 999999 "],
        ["worker", "--max-memory-per-child", "512"],
        ["submit", "--memory", "2.5", "sim:scaled", "1"],
    ):
        said = shell.mesh(*wrong, code=2).err
        assert "without a unit is" in said and "GB" in said
    for right in ("5B", "1000000", "0.5kB", "64 KiB"):
        assert Size().convert(right, None, None) > 0


def test_how_long_and_how_much_a_mesh_remembers_is_said_and_told(shell: Shell) -> None:
    up = shell.up("--ttl", "12h", "--quota", "20GB")
    settings = shell.mesh("status", "--json").json["settings"]
    assert (settings["ttl_s"], settings["quota_bytes"]) == (12 * 3600, 20 * 10**9)
    shell.mesh("stop")
    assert up.finish().code == 0


def test_lines_of_a_child_are_told_when_they_are_whole() -> None:
    said = Complaints()
    assert said.lines() == []
    os.write(said.write, b"one\n\ntw")
    assert said.lines() == ["one"]
    os.write(said.write, b"o\n\xff")
    assert said.lines() == ["two"]
    os.write(said.write, b"x" * (LINE_BYTES_MAX - 1))
    assert said.lines() == ["\ufffd" + "x" * (LINE_BYTES_MAX - 1)], "a piece of a long one"
    os.write(said.write, b"no end")
    said.started()
    assert (said.lines(), said.lines(last=True)) == ([], ["no end"])
    said.close()


def test_errors_that_nobody_catches_are_records(monkeypatch: pytest.MonkeyPatch) -> None:
    for place, name in [(sys, "excepthook"), (sys, "unraisablehook"), (threading, "excepthook")]:
        monkeypatch.setattr(place, name, getattr(place, name))  # put back afterwards
    stream = io.StringIO()
    Log(stream, as_json=True).catch_crashes()

    thread = threading.Thread(target=lambda: 1 / 0)
    thread.start()
    thread.join()
    sys.excepthook(KeyError, KeyError("k"), None)

    in_thread, in_main = map(json.loads, stream.getvalue().splitlines())
    assert (in_thread["event"], in_thread["type"]) == ("crashed", "ZeroDivisionError")
    assert in_thread["text"].startswith("Traceback") and "1 / 0" in in_thread["text"]
    assert (in_main["event"], in_main["text"]) == ("crashed", "KeyError: 'k'")


class Pipe(io.StringIO):
    """A stream that is read, or not."""

    is_read = True

    def write(self, text: str) -> int:
        if not self.is_read:
            raise BrokenPipeError(errno.EPIPE, "Broken pipe")
        return super().write(text)


def test_a_log_that_nobody_reads_for_a_while_says_what_it_left_out() -> None:
    pipe = Pipe()
    log = Log(pipe)

    pipe.is_read = False
    log("one")
    log("two")
    pipe.is_read = True
    log("three")

    lines = [line.split(" ", 2)[2] for line in pipe.getvalue().splitlines()]
    assert lines[0].endswith("lines were lost: Broken pipe") and lines[1:] == ["three"]
