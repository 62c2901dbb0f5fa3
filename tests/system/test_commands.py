"""Commands as tasks: what they leave, how they fail, and that all they start ends with them."""

from __future__ import annotations

import os
import pickle
import signal
from pathlib import Path

import pytest
from ending import await_end

from mesh import Command, CommandFailed, Mesh


def test_what_a_command_writes_is_its_result(mesh: Mesh, tmp_path: Path) -> None:
    (tmp_path / "a b").write_bytes(b"\xff\x00")
    cat = Command("cat {}; echo $WHO >&2")
    assert pickle.loads(pickle.dumps(cat)) == cat

    done = mesh.options(cwd=str(tmp_path), env={"WHO": "me"}).submit(cat, Path("a b")).result()

    assert (done.stdout, done.stderr) == (b"\xff\x00", b"me\n") and done.host and done.took_s > 0
    assert [each.text for each in mesh.map(Command(["echo", "x={}"]), range(2))] == ["x=0", "x=1"]
    large = mesh.submit(Command(["head", "-c", "{}", "/dev/zero"]), 3_000_000).result()
    assert large.stdout == bytes(3_000_000)


def test_one_that_fails_says_how_and_leaves_what_it_wrote(mesh: Mesh) -> None:
    failing = mesh.submit(Command("echo out; echo one >&2; echo two >&2; exit {}"), 3)
    with pytest.raises(CommandFailed, match="exit code 3: one\ntwo") as failed:
        failing.result()
    assert (failed.value.exit_code, failed.value.signal, failed.value.stdout_bytes) == (3, None, 4)
    assert failing.logs() == "out\none\ntwo\n"

    error = mesh.submit(Command("kill -9 $$; true {}"), 1).exception()
    assert isinstance(error, CommandFailed) and "SIGKILL" in str(error)
    assert (error.exit_code, error.signal) == (None, signal.SIGKILL)
    error = mesh.submit(Command(["no-such-program"]), 1).exception()
    assert isinstance(error, CommandFailed) and "no-such-program cannot be run on" in str(error)


def test_it_is_told_what_functions_can_ask(mesh: Mesh) -> None:
    say = Command('touch "$MESH_SCRATCH/{}" && echo $MESH_TASK_ID $MESH_INDEX $MESH_TIME_LEFT_S')
    told = mesh.options(time_limit=3600).submit_many(say, ["a", "b"])
    for index, done in enumerate(told.results()):
        task, number, left_s = done.text.split()
        assert (task, int(number)) == (told[index].id, index) and 0 < float(left_s) <= 3600
    assert Command("echo {} $MESH_TASK_ID")("here").text == "here"  # and is a function as any


def test_what_a_live_one_writes_is_printed_as_it_comes(mesh: Mesh, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    line = Command("echo out; echo err >&2; cat {}; exit 3", live=True)
    running = mesh.submit(line, gate)
    said = running.follow()
    while (text := next(said)) and "err" not in text:
        pass
    gate.write_text("last\n")
    error = running.exception()
    assert isinstance(error, CommandFailed) and error.exit_code == 3
    assert sorted(running.logs().split()) == ["err", "last", "out"]
    done = mesh.submit(Command("echo out; echo err >&2; true {}", live=True), 1)
    assert (done.result().stdout, done.result().stderr) == (b"out\n", b"err\n")
    assert sorted(done.logs().split()) == ["err", "out"]


def test_of_much_that_a_failed_one_wrote_head_and_tail_stay(mesh: Mesh) -> None:
    write = "echo first; head -c 2000000 /dev/zero | tr '\\0' x; echo last; exit {}"
    log = mesh.submit(Command(write), 1)
    error = log.exception()

    assert isinstance(error, CommandFailed)
    said = log.logs()[: error.stdout_bytes]
    assert said.startswith("first\n") and said.endswith("last\n") and "bytes left out" in said


def test_it_is_run_again_as_often_as_it_is_told(mesh: Mesh, tmp_path: Path) -> None:
    trying = Command("echo . >> {}; test $(wc -l < {}) -ge 3")
    runs = mesh.options(retries=2, backoff=0).submit(trying, tmp_path / "runs")
    assert runs.result().stdout == b""
    assert (tmp_path / "runs").read_text() == ".\n.\n.\n"


@pytest.mark.parametrize("how", ["time limit", "cancel"])
def test_what_it_has_started_ends_with_it(mesh: Mesh, tmp_path: Path, how: str) -> None:
    said = tmp_path / "said"
    os.mkfifo(said)
    line = "trap '' INT; sleep 600 & echo $! > {}; wait; sleep 600"
    view = mesh.options(time_limit=2) if how == "time limit" else mesh
    running = view.submit(Command(line), said)
    with open(said) as pipe:
        sleeper = int(pipe.read())
    if how == "cancel":
        assert mesh.cancel(running.id) == 1
    assert running.wait() and running.state in ("failed", "cancelled")
    assert await_end(sleeper)
