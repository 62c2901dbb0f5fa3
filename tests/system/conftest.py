"""Tests with real processes: each has folders of its own, and leaves nothing behind.

Linux: they wait for processes by pidfd and look for what is left in /proc.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy  # noqa: F401  # its threads and files are there before any test looks
import pytest
import sample_tasks as tasks
from alarm import ended_within
from leftovers import Leftovers, place_of_its_own
from matrix import LONG
from scripts import Script

from mesh import Mesh

#: Longer than any test should take, and shorter than anybody's patience with a hang.
TEST_S = 30 * max(1.0, LONG)

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.system)
            if sys.platform != "linux":
                item.add_marker(pytest.mark.skip(reason="waits on pidfds and reads /proc"))


@pytest.fixture(autouse=True)
def nothing_left_behind(tmp_path: Path) -> Iterator[Leftovers]:
    """Each test has a place of its own, leaves nothing there, and ends in time."""
    with place_of_its_own(tmp_path) as leftovers, ended_within(TEST_S, 5):
        yield leftovers


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    """A mesh with two slots, shared by the tests of a file that do it no harm."""
    with place_of_its_own(tmp_path_factory.mktemp("shared")), Mesh(slots=2) as m:
        # What is made when it is first needed is there before a test counts descriptors.
        called, gate = threading.Event(), tmp_path_factory.mktemp("gate") / "gate"
        held = m.submit(tasks.hold, tasks.pipe_at(gate), None)  # not done before it has a callback
        held.add_done_callback(lambda _: called.set())
        tasks.let_go(gate)
        assert len(m.submit(bytes, 100_000).result(20)) == 100_000 and called.wait(20)
        assert m.submit(len, bytes(100_000)).result(20) == 100_000
        m.submit(print, "what tasks print is shown").result(20)
        yield m


@pytest.fixture
def own_mesh(nothing_left_behind: Leftovers) -> Iterator[Mesh]:
    """A mesh with two slots for one test."""
    with Mesh(slots=2) as m:
        yield m


@pytest.fixture
def script(tmp_path: Path) -> Iterator[type[Script]]:
    """`script(source, *arguments)` runs a script of its own; it is ended with the test."""
    running: list[Script] = []

    def run(source: str, *arguments: object, **environment: str) -> Script:
        running.append(Script(tmp_path, source, arguments, environment))
        return running[-1]

    yield run
    for each in running:
        each.close()
