"""What comes in the middle of submitting: Ctrl-C, and arguments that raise or run short."""

from __future__ import annotations

import itertools
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import suppress
from typing import Any

import pytest
import sample_tasks as tasks

from mesh import Mesh, TaskNotFound


class Rows:
    """A sequence that promises more than it gives, or raises."""

    def __init__(self, promised: int, given: int, error: Exception | None = None) -> None:
        self.promised, self.given, self.error = promised, given, error

    def __len__(self) -> int:
        return self.promised

    def __iter__(self) -> Iterator[int]:
        yield from range(self.given)
        if self.error is not None:
            raise self.error


def interrupted(after_s: float, do: Callable[[], object]) -> None:
    """Ctrl-C comes while `do` runs, once: a second one might hit the test itself and end all
    tests. The interpreter drops what is raised in a callback of the garbage collector or of a weak
    reference, and says so to its hook: then, and only then, it comes again."""
    over, dropped = threading.Event(), threading.Event()

    def interrupt() -> None:
        over.wait(after_s)
        while not over.is_set():
            os.kill(os.getpid(), signal.SIGINT)
            dropped.wait()
            dropped.clear()

    former, sys.unraisablehook = sys.unraisablehook, lambda _: dropped.set()
    thread = threading.Thread(target=interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            thread.start()
            do()
    finally:
        over.set()
        dropped.set()
        thread.join()
        sys.unraisablehook = former


@pytest.mark.parametrize("given", [0, 5, 300])
def test_a_row_that_raises_leaves_nothing_to_wait_for(own_mesh: Mesh, given: int) -> None:
    rows = Rows(1000, given, ZeroDivisionError("bad row"))
    with pytest.raises(ZeroDivisionError, match="bad row"):
        own_mesh.submit_many(abs, rows)
    own_mesh.flush(20)
    assert own_mesh.submit(abs, -1).result(20) == 1


def test_fewer_rows_than_their_length_says(own_mesh: Mesh) -> None:
    with pytest.raises(ValueError, match=r"by their len\(\) .* are 10 rows; they gave 5"):
        own_mesh.submit_many(abs, Rows(10, 5))
    own_mesh.flush(20)


def test_the_group_of_a_row_that_raised_can_be_found(own_mesh: Mesh) -> None:
    with pytest.raises(ZeroDivisionError):
        own_mesh.submit_many(abs, Rows(600, 512, ZeroDivisionError()))
    found = own_mesh.group("last")
    assert found.results(errors="skip", timeout=20) == list(range(256)), "block by block"


def test_an_interrupted_loop_of_submits_can_go_on(own_mesh: Mesh) -> None:
    for after_s in (0.01, 0.03, 0.08):
        futures: list[Any] = []
        interrupted(
            after_s,
            lambda into=futures: [into.append(own_mesh.submit(abs, -i)) for i in itertools.count()],
        )
        own_mesh.flush(20)
        assert [future.result(20) for future in futures] == list(range(len(futures)))


def test_an_interrupted_submit_many_can_go_on(own_mesh: Mesh) -> None:
    interrupted(0.2, lambda: own_mesh.submit_many(abs, range(3_000_000)))
    with suppress(TaskNotFound):  # nothing was sent yet
        own_mesh.cancel("last")
    assert own_mesh.submit(abs, -1).result(20) == 1
    own_mesh.flush(20)


def test_what_an_interrupt_kept_from_being_sent_counts_as_cancelled(own_mesh: Mesh) -> None:
    groups: list[Any] = []
    add = own_mesh._connection.waiting.add
    own_mesh._connection.waiting.add = lambda group: (groups.append(group), add(group))  # type: ignore
    rows = Rows(1000, 300, KeyboardInterrupt())  # type: ignore[arg-type]
    with pytest.raises(KeyboardInterrupt):
        own_mesh.submit_many(tasks.pid_of_slot, rows)
    [group] = groups
    assert group.wait(20)
    assert (group.status()["done"], group.status()["cancelled"]) == (256, 744)
    with pytest.raises(CancelledError):
        group[999].result(20)
