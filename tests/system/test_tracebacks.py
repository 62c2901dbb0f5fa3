"""What is seen of a task that failed: the user's own lines, and the class that was raised."""

from __future__ import annotations

import linecache
import subprocess
import sys
import traceback
from collections.abc import Callable

import pytest

from mesh import Future, Mesh, PayloadError, TaskFailed
from mesh.errors import RemoteTraceback


class NeedsTwo(Exception):
    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")
        self.one = one


def shown(future: Future) -> str:
    """What Python prints if nobody catches the error."""
    with pytest.raises(BaseException) as raised:
        future.result(20)
    return "".join(traceback.format_exception(raised.type, raised.value, raised.tb))


def remote(future: Future) -> str:
    """The part of it that comes from the worker."""
    return shown(future).rpartition("\nThe above exception was the direct cause of")[0]


def divide(n: int) -> float:
    return 1 / n


def chained() -> None:
    try:
        divide(0)
    except ZeroDivisionError as error:
        raise NeedsTwo(1, 2) from error


def test_the_lines_are_the_users_and_the_class_is_the_one_that_was_raised(mesh: Mesh) -> None:
    future = mesh.submit(chained)
    with pytest.raises(NeedsTwo, match="1 and 2") as raised:
        future.result(20)
    assert raised.value.one == 1 and type(raised.value.__cause__) is RemoteTraceback

    text = str(raised.value.__cause__)
    assert text.index("return 1 / n") < text.index("direct cause") < text.index("raise NeedsTwo")
    assert "processes/slot.py" not in text and "in run_task" not in text
    assert text.endswith("NeedsTwo: 1 and 2")


def test_an_error_that_is_raised_again_and_again_does_not_grow(mesh: Mesh) -> None:
    future = mesh.submit(divide, 0)
    group = mesh.submit_many(divide, [0, 0])
    assert len({shown(future).count("\n") for _ in range(3)}) == 1
    with pytest.raises(ZeroDivisionError) as raised:
        group.results()
    ours = [each.path for each in raised.traceback if "mesh/client" in str(each.path)]
    assert len(ours) <= 3


def test_source_that_is_here_alone_is_shown(mesh: Mesh) -> None:
    cell, name = "def in_a_cell(x):\n    y = x\n    return y / 0\n", "<ipython-input-7-0123abcd>"
    linecache.cache[name] = len(cell), None, cell.splitlines(keepends=True), name
    there: dict[str, Callable[[int], float]] = {}
    exec(compile(cell, name, "exec"), there)

    text = remote(mesh.submit(there["in_a_cell"], 1))
    assert f'File "{name}", line 3, in in_a_cell\n    return y / 0\nZeroDivisionError' in text


def test_of_a_long_chain_the_end_is_shown_and_that_there_was_more(mesh: Mesh) -> None:
    def long_chain() -> None:
        last: BaseException | None = None
        for i in range(100):
            try:
                raise ValueError("x" * 300, i) from last
            except ValueError as error:
                last = error
        assert last is not None
        raise last

    lines = remote(mesh.submit(long_chain)).splitlines()
    assert lines[2] == "[... what came before is left out ...]"
    assert lines[3] == "Traceback (most recent call last):"
    assert ", 99)" in "\n".join(lines)


def test_what_ends_processes_elsewhere_fails_the_task_alone(mesh: Mesh) -> None:
    for fail in (lambda: sys.exit("enough"), lambda: exec("raise KeyboardInterrupt")):
        with pytest.raises(TaskFailed, match=r"SystemExit: enough|KeyboardInterrupt"):
            mesh.submit(fail).result(20)
    with pytest.raises(SyntaxError):
        mesh.submit(eval, "1 +").result(20)


class Unmakeable:
    def __reduce__(self) -> object:
        return divide, (0,)


def test_an_argument_that_cannot_be_made_there_says_where(mesh: Mesh) -> None:
    text = shown(mesh.submit(print, Unmakeable()))
    assert "return 1 / n" in text and "cannot be loaded on the worker: ZeroDivisionError" in text
    with pytest.raises(PayloadError):
        mesh.submit(print, Unmakeable()).result(20)


def test_in_an_interpreter_without_files() -> None:
    source = """if True:
        from mesh import Mesh
        def fail(): raise ValueError("no file has this line")
        with Mesh(slots=1) as m: m.submit(fail).result()
    """
    ended = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, timeout=30
    )
    assert ended.returncode == 1
    assert 'File "<string>", line 3, in fail\nValueError: no file has this line' in ended.stderr
