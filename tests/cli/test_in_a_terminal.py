"""Commands in a terminal, whose Ctrl-C goes to all of its foreground."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

import pytest
from shell import Shell
from terminal import CTRL_C, Terminal

Start = Callable[..., Terminal]


@pytest.fixture
def terminal(shell: Shell) -> Iterator[Start]:
    """`terminal(arguments…)` runs ``mesh ARGUMENTS`` in a terminal; it is ended with the test."""
    running: list[Terminal] = []

    def start(*arguments: object) -> Terminal:
        running.append(Terminal([sys.executable, "-m", "mesh", *arguments], shell.work, shell.env))
        return running[-1]

    yield start
    for each in running:
        each.end()


def test_ctrl_c_twice_ends_a_run_in_few_words(shell: Shell, terminal: Start) -> None:
    job = "trap 'echo it was interrupted > {}' INT; echo job {} runs >&2; sleep 600; sleep 600"
    run = terminal("run", "-u", job, ":::", "first")
    run.until("job first runs")

    run.press(CTRL_C)
    run.press(CTRL_C)
    code, shown = run.finish()

    assert code == 130 and "Traceback" not in shown
    assert "1 unfinished" in shown and shown.rstrip().endswith("interrupted")
    assert shell.left() == []


def test_ctrl_c_ends_an_idle_mesh_that_is_up(shell: Shell, terminal: Start) -> None:
    up = terminal("up", "--slots", 1, "--dir", shell.folder / "m")
    up.until("stop it")

    up.press(CTRL_C)
    code, shown = up.finish()

    assert code == 0 and "mesh: nothing runs: the mesh ends" in shown and "Traceback" not in shown
    assert shell.left() == []
