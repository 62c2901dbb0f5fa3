"""Tests on hosts in network namespaces: each has a net of its own, and leaves nothing behind."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import hosts
import numpy  # noqa: F401  # its threads and files are there before any test looks
import pytest
from alarm import ended_within
from ending import await_end
from leftovers import Leftovers, place_of_its_own

#: Longer than any test should take, and shorter than anybody's patience with a hang.
TEST_S = 60

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    ours = [item for item in items if HERE in item.path.parents]
    why = hosts.missing() if ours else None
    for item in ours:
        item.add_marker(pytest.mark.system)
        if why is not None:
            item.add_marker(pytest.mark.skip(reason=why))


@pytest.fixture(autouse=True)
def nothing_left_behind(tmp_path: Path) -> Iterator[Leftovers]:
    """Each test has a place of its own, leaves nothing there, and ends in time."""
    with place_of_its_own(tmp_path) as leftovers, ended_within(TEST_S, 5):
        yield leftovers


@pytest.fixture
def net(tmp_path: Path, nothing_left_behind: Leftovers) -> Iterator[hosts.Net]:
    """A switch without hosts. What the test starts on one must have ended with it."""
    (tmp_path / "hosts").mkdir()
    net = hosts.Net(tmp_path / "hosts", Path(os.environ["XDG_RUNTIME_DIR"]))
    try:
        yield net
        nothing_left_behind.folders += [each.folder / "tmp" for each in net.hosts]
        nothing_left_behind.folders += [each.sockets / "mesh" for each in net.hosts]
        left = [line for pid, line in nothing_left_behind.processes().items() if not await_end(pid)]
        assert not left, "left behind:\n" + "\n".join(left)
    finally:
        nothing_left_behind.end()
        net.close()
