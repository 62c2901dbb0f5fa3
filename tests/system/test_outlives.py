"""Who outlives whom, in a terminal: Ctrl-C once and again, a window that is closed, a session.

A table in docs/guarantees.md (P7) names the test for each cell.
"""

from __future__ import annotations

import os
import signal
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sample_tasks as tasks
from ending import await_end
from leftovers import Leftovers
from scripts import ROOT
from terminal import CTRL_C, CTRL_D, Terminal
from test_mesh_life import all_gone

from mesh import Mesh

Run = Callable[..., Terminal]

#: Begins a task which says that it runs, says that it was interrupted, and stays nevertheless.
BEGINS = """
    import sys, time
    from mesh import Mesh

    def stay(begun, interrupted):
        try:
            with open(begun, "w"):
                pass
            time.sleep(600)
        except KeyboardInterrupt:
            with open(interrupted, "w"):
                pass
            time.sleep(600)

    begun, interrupted, *folder = sys.argv[1:]
"""

#: Where a script is when something comes in between.
INSIDE = "with Mesh({how}) as m:\n    f = m.submit(stay, begun, interrupted)\n    f.result()"
LEAVING = "with Mesh({how}) as m:\n    f = m.submit(stay, begun, interrupted)"
DETACHED = INSIDE.replace("f.result()", "m.detach(); f.result()")
NO_WITH = "m = Mesh({how})\nf = m.submit(stay, begun, interrupted)\nf.result()"
AT_EXIT = "m = Mesh({how})\nf = m.submit(stay, begun, interrupted)"

TEMPORARY, OWN, JOINED = "slots=1", "slots=1, dir=folder[0]", "access=folder[0]"


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Run]:
    """`terminal(command…)` runs a command in a terminal; it is ended with the test."""
    running: list[Terminal] = []
    path = os.pathsep.join([ROOT, os.environ.get("PYTHONPATH", "")]).strip(os.pathsep)

    def run(*command: object) -> Terminal:
        running.append(Terminal(command, tmp_path, os.environ | {"PYTHONPATH": path}))
        return running[-1]

    yield run
    for each in running:
        each.end()


@pytest.fixture
def begun(tmp_path: Path) -> str:
    """Where a task says that it runs."""
    return tasks.pipe_at(tmp_path / "begun")


@pytest.fixture
def interrupted(tmp_path: Path) -> str:
    """Where it says that it was interrupted."""
    return tasks.pipe_at(tmp_path / "interrupted")


@pytest.fixture
def script(terminal: Run, tmp_path: Path, begun: str, interrupted: str) -> Callable[..., Terminal]:
    """`script(source, how)` runs a script in a terminal; its task has begun."""

    def run(source: str, how: str, *into: object, folder: Path | None = None) -> Terminal:
        file = tmp_path / "script.py"
        file.write_text(textwrap.dedent(BEGINS) + source.replace("{how}", how) + "\n")
        folders = [] if folder is None else [folder]
        each = terminal(*into, sys.executable, file, begun, interrupted, *folders)
        tasks.heard_at(begun)
        return each

    return run


def assert_one_interrupt(shown: str) -> None:
    """What the user reads of an interrupt is that it was one."""
    assert shown.count("Traceback") == shown.count("KeyboardInterrupt") == 1, shown
    assert "During handling" not in shown and "ignored in" not in shown, shown


# -- Ctrl-C ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("source", [INSIDE, LEAVING, NO_WITH], ids=["inside", "leaving", "no_with"])
def test_ctrl_c_takes_a_temporary_mesh_along(
    script, source: str, times: int, interrupted: str, nothing_left_behind: Leftovers
) -> None:
    each = script(source, TEMPORARY)
    each.press(CTRL_C)
    tasks.heard_at(interrupted)
    if times == 2:  # while it waits for the task, which stays
        each.press(CTRL_C)
    code, shown = each.finish()
    assert code == -signal.SIGINT
    assert_one_interrupt(shown)
    assert all_gone(nothing_left_behind)


@pytest.mark.parametrize("last", ["", "\nm.shutdown(wait=False)"], ids=["open", "shut_down"])
def test_a_script_that_ends_says_what_it_waits_for_and_ctrl_c_cancels_it(
    script, last: str, interrupted: str, nothing_left_behind: Leftovers
) -> None:
    each = script(AT_EXIT + last, TEMPORARY)
    shown = each.until("mesh: waiting for a task of this script; Ctrl-C cancels")
    assert "Traceback" not in shown
    each.press(CTRL_C)
    tasks.heard_at(interrupted)
    each.press(CTRL_C)
    _, shown = each.finish()
    assert "mesh: interrupted: what had not ended is cancelled\n" in shown
    assert "Traceback" not in shown and "ignored in" not in shown
    assert all_gone(nothing_left_behind)


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_leaves_a_folder_in_which_the_task_is_cancelled(
    script, times: int, interrupted: str, tmp_path: Path, nothing_left_behind: Leftovers
) -> None:
    each = script(INSIDE, OWN, folder=tmp_path / "own")
    each.press(CTRL_C)
    tasks.heard_at(interrupted)
    if times == 2:
        each.press(CTRL_C)
    assert_one_interrupt(each.finish()[1])
    assert all_gone(nothing_left_behind)
    with Mesh(dir=tmp_path / "own", slots=0) as again:
        assert again.status()["tasks"] == dict.fromkeys(again.status()["tasks"], 0) | {
            "cancelled": 1
        }


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("source", [INSIDE, DETACHED], ids=["joined", "detached"])
def test_ctrl_c_of_a_joined_script_cancels_its_own_unless_it_has_detached(
    script, source: str, times: int, begun: str, interrupted: str, tmp_path: Path
) -> None:
    with Mesh(dir=tmp_path / "own", slots=1) as owner:
        each = script(source, JOINED, folder=owner.folder)
        each.press(CTRL_C)
        if source is INSIDE:
            tasks.heard_at(interrupted)
        if times == 2:
            each.press(CTRL_C)
        code, shown = each.finish()
        assert code == -signal.SIGINT
        if times == 1 or source is INSIDE:  # else the second may hit the telling of the first
            assert_one_interrupt(shown)
        state = "cancelled" if source is INSIDE else "running"
        assert owner.status()["tasks"][state] == 1
        owner.cancel("last")


# -- the end of a script, and of its terminal -----------------------------------------------------


@pytest.mark.parametrize("how", [TEMPORARY, OWN], ids=["temporary", "own"])
def test_a_terminal_that_is_closed_takes_the_mesh_of_its_script_along(
    script, how: str, tmp_path: Path, nothing_left_behind: Leftovers
) -> None:
    each = script(INSIDE, how, folder=tmp_path / "own")
    each.close()
    assert each.process.wait(20) == -signal.SIGHUP
    assert all_gone(nothing_left_behind)
    assert (tmp_path / "own").exists() == (how is OWN)
    if how is OWN:  # the script did not come to cancel it: run again, it is found
        with Mesh(dir=tmp_path / "own", slots=0) as again:
            assert again.status()["tasks"]["queued"] == 1


@pytest.mark.parametrize("source", [INSIDE, DETACHED], ids=["joined", "detached"])
def test_the_tasks_of_a_joined_script_outlive_its_terminal(
    script, source: str, tmp_path: Path
) -> None:
    with Mesh(dir=tmp_path / "own", slots=1) as owner:
        each = script(source, JOINED, folder=owner.folder)
        owner.flush()
        each.close()
        assert each.process.wait(20) == -signal.SIGHUP
        assert owner.status()["tasks"]["running"] == 1
        owner.cancel("last")


def test_a_background_job_ends_with_the_terminal_of_its_shell(
    terminal: Run, tmp_path: Path, begun: str, interrupted: str, nothing_left_behind: Leftovers
) -> None:
    (tmp_path / "script.py").write_text(
        textwrap.dedent(BEGINS) + INSIDE.replace("{how}", TEMPORARY) + "\n"
    )
    shell = terminal("bash", "--norc", "-i")
    shell.enter(f"{sys.executable} script.py {begun} {interrupted} &")
    tasks.heard_at(begun)
    shell.close()
    assert await_end(shell.pid)
    assert all_gone(nothing_left_behind)


# -- a session ------------------------------------------------------------------------------------


def test_an_interrupted_session_goes_on_with_its_mesh_and_a_cell_run_again_closes_the_old_one(
    terminal: Run, tmp_path: Path, begun: str, interrupted: str, nothing_left_behind: Leftovers
) -> None:
    (tmp_path / "begins.py").write_text(textwrap.dedent(BEGINS))
    session = terminal(sys.executable, "-i", "begins.py", begun, interrupted, tmp_path / "own")

    def enter(line: str) -> None:
        session.until(">>> ")  # what is typed before the prompt may be dropped
        session.enter(line)

    enter("m = Mesh(slots=2, dir=folder[0])")
    enter("f = m.submit(stay, begun, interrupted); f.result()")
    tasks.heard_at(begun)
    session.press(CTRL_C)
    session.until(".0 goes on; m.cancel('")
    session.until("KeyboardInterrupt")
    enter("print('f is', 'done' if f.done() else 'open', m.status()['tasks']['running'])")
    session.until("f is open 1")
    enter("unseen = m.submit(int, 'x').wait()")
    enter("m = Mesh(slots=2, dir=folder[0])")
    tasks.heard_at(interrupted)
    session.until("mesh: m was a mesh already: it is closed")
    session.until("mesh: a task failed, and nobody asked for the result: 1× ValueError")
    enter("print('f was', 'cancelled' if f.cancelled() else 'left', repr(m).split()[2])")
    session.until("f was cancelled embedded:")
    enter("print('two is', m.submit(pow, 2, 1).result())")
    session.until("two is 2")
    session.until(">>> ")
    session.press(CTRL_D)
    code, shown = session.finish()
    assert code == 0 and "Traceback" not in shown
    assert all_gone(nothing_left_behind)
