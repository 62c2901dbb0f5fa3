"""What tasks print: shown where the script prints while they run, and kept; also of killed ones."""

from __future__ import annotations

import contextvars
import ctypes
import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue

import pytest
import sample_tasks as tasks
from scripts import Script

from mesh import Mesh, TaskTimeout, WorkerLost


def talk(begun: str, gate: str, *, end: str = "the end\n") -> int:
    """Print in all the ways there are, wait, and print once more."""
    print("from print")
    print("to stderr", file=sys.stderr)
    warnings.warn("a warning", stacklevel=1)
    os.write(1, b"from a descriptor\n")
    subprocess.run(["echo", "from a command"], check=True)
    ctypes.CDLL(None).puts(b"from C")
    ctypes.CDLL(None).fflush(None)
    print("half a ", end="", flush=True)
    tasks.say_and_hold(begun, gate)
    print(f"line\n{end}", end="")
    return 1


SAID = ("from print\n", "to stderr\n", "a warning", "from a descriptor\n", "from a command\n")


class Heard:
    """Takes what an echo shows."""

    def __init__(self) -> None:
        self.said: SimpleQueue[tuple[str, str]] = SimpleQueue()
        self.text = ""

    def __call__(self, task: str, text: str) -> None:
        self.said.put((task, text))

    def until(self, text: str) -> str:
        """All that was shown, as soon as `text` was."""
        while text not in self.text:
            self.text += self.said.get(timeout=20)[1]
        return self.text

    def all(self) -> str:
        while not self.said.empty():
            self.text += self.said.get()[1]
        return self.text


def test_what_a_task_prints_is_shown_while_it_runs_and_each_line_once(tmp_path: Path) -> None:
    begun, gate = tasks.pipe_at(tmp_path / "begun"), tasks.pipe_at(tmp_path / "gate")
    heard = Heard()
    with Mesh(slots=2, echo=heard) as mesh:
        future = mesh.submit(talk, begun, gate)
        tasks.heard_at(begun)
        live = heard.until("from C\n")
        assert all(each in live for each in SAID) and "half" not in live, "whole lines"
        assert not future.done() and live in future.logs() and "half a " in future.logs()
        tasks.let_go(gate)
        assert future.result(20) == 1
        assert heard.all() == future.logs()
        assert heard.text.endswith("half a line\nthe end\n")


def test_it_is_shown_before_the_result_is_there_and_before_the_mesh_is_gone(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with Mesh(slots=2) as mesh:
        for i in range(20):
            mesh.submit(print, "line", i).result(20)
            assert capsys.readouterr().out == f"line {i}\n"
        mesh.submit_many(print, ["x" * 5000] * 20).results(timeout=20)
        assert capsys.readouterr().out == ("x" * 5000 + "\n") * 20, "of what stays with its worker"
        assert list(mesh.map(print, ["a"] * 3)) == [None] * 3
        assert capsys.readouterr().out == "a\n" * 3
        mesh.submit(print, "nobody asks", end="")
    assert capsys.readouterr().out == "nobody asks\n"


def test_it_is_shown_where_the_script_has_submitted_last() -> None:
    """Jupyter writes what a thread prints into the cell that is in the thread's context."""
    cell = contextvars.ContextVar("cell", default=0)
    seen: list[int] = []
    with Mesh(slots=1, echo=lambda task, text: seen.append(cell.get())) as mesh:
        for each in 1, 2:
            cell.set(each)
            mesh.submit(print, "in the cell that runs").result(20)
    assert seen == [1, 2]


def test_a_joined_mesh_and_one_that_is_told_to_show_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with Mesh(slots=1, echo=False) as mesh:
        mesh.submit(print, "quiet").result(20)
        assert capsys.readouterr().out == ""
        with Mesh(access=mesh.folder) as other:
            other.submit(print, "quiet").result(20)
            assert capsys.readouterr().out == ""
        with Mesh(access=mesh.folder, echo=True) as other:
            mesh.submit(print, "another's").result(20)
            other.submit(print, "shown").result(20)
            assert capsys.readouterr().out == "shown\n"


def test_following_a_task_of_another_client(tmp_path: Path) -> None:
    begun, gate = tasks.pipe_at(tmp_path / "begun"), tasks.pipe_at(tmp_path / "gate")
    with Mesh(slots=1) as mesh, Mesh(access=mesh.folder) as other:
        future = mesh.submit(talk, begun, gate)
        tasks.heard_at(begun)
        followed = other.future(future.id).follow()
        text = ""
        while "half a " not in text:
            text += next(followed)
        assert all(each in text for each in SAID)
        tasks.let_go(gate)
        assert text + "".join(followed) == mesh.future(future.id).logs()
        assert "".join(other.future(future.id).follow()) == future.logs(), "it has ended"


def dies(how: str) -> None:
    """Print, and end with the slot, in one of several ways."""
    print(f"last words before {how}")
    if how == "signal":
        os.kill(os.getpid(), signal.SIGSEGV)
    if how == "exit":
        os._exit(3)
    if how == "deaf":
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    time.sleep(600)


@pytest.mark.parametrize(
    ("how", "error"),
    [
        ("signal", WorkerLost),
        ("exit", WorkerLost),
        ("interrupt", TaskTimeout),
        ("deaf", TaskTimeout),
    ],
)
def test_the_last_words_of_a_task_that_ends_with_its_slot_are_kept(
    own_mesh: Mesh, how: str, error: type[Exception]
) -> None:
    limits = {"time_limit": 0.3} if error is TaskTimeout else {}
    future = own_mesh.options(**limits).submit(dies, how)
    assert isinstance(future.exception(20), error)
    assert future.logs() == f"last words before {how}\n"


def test_of_much_that_was_printed_before_the_slot_died_the_end_is_kept(own_mesh: Mesh) -> None:
    def talk_and_die() -> None:
        print("x" * 100_000 + "the end")
        os._exit(1)

    log = own_mesh.submit(talk_and_die)
    assert isinstance(log.exception(20), WorkerLost)
    assert log.logs().startswith("[... ") and log.logs().endswith("xxthe end\n")


def talk_and_stay(begun: str) -> bytes:
    """Print much, and return much, though it is interrupted."""
    try:
        print("x" * 100_000, flush=True)
        tasks.say_and_sleep(begun, 600)
    except KeyboardInterrupt:
        pass
    return bytes(1_000_000)


def test_what_was_cancelled_leaves_nothing(tmp_path: Path) -> None:
    begun = tasks.pipe_at(tmp_path / "begun")
    with Mesh(dir=tmp_path / "own", slots=1, echo=False) as mesh:
        future = mesh.submit(talk_and_stay, begun)
        tasks.heard_at(begun)
        mesh.cancel(future.id)
        assert mesh.submit(pow, 2, 3).result(20) == 8
        [worker] = mesh.status()["workers"]
        assert (worker["results"], worker["stored_bytes"]) == (0, 0)
        incoming = tmp_path / "own" / "worker" / "incoming"
        assert [each.name for each in incoming.iterdir() if not each.suffix] == []


def test_what_was_interrupted_keeps_all_it_printed_and_its_result_leaves_nothing(
    tmp_path: Path,
) -> None:
    begun = tasks.pipe_at(tmp_path / "begun")
    with Mesh(dir=tmp_path / "own", slots=1, echo=False) as mesh:
        future = mesh.options(time_limit=1.0).submit(talk_and_stay, begun)
        tasks.heard_at(begun)
        assert isinstance(future.exception(20), TaskTimeout)
        assert future.logs() == "x" * 100_000 + "\n"
        assert mesh.submit(pow, 2, 3).result() == 8
        incoming = tmp_path / "own" / "worker" / "incoming"
        assert [each.name for each in incoming.iterdir() if not each.suffix] == []


def test_logs_of_what_waits_are_empty(own_mesh: Mesh, tmp_path: Path) -> None:
    gate = tasks.pipe_at(tmp_path / "gate")
    held = own_mesh.submit(tasks.hold, gate, "x")
    after = own_mesh.submit(print, held)

    assert after.logs() == "" == held.logs()
    tasks.let_go(gate)
    assert after.wait(20) and after.logs() == "x\n"


def test_a_script_that_floods_its_terminal_and_is_not_read_ends(
    script: Callable[..., Script],
) -> None:
    running = script(
        """
        from mesh import Mesh, TaskTimeout, WorkerLost

        def flood(n):
            for _ in range(40):
                print("x" * 99_999)

        if __name__ == "__main__":
            with Mesh(slots=2) as m:
                m.submit_many(flood, range(20)).wait()
                print("all ended", flush=True)
        """
    )
    lines = []
    while not lines or lines[-1] != "all ended":
        lines.append(running.line())
    assert "some of it is left out" in running.errors() or len("".join(lines)) < 20 * 300_000
