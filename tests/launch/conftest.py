"""Tests of launchers: with real sshd, Slurm and mpiexec where they are installed; else they skip,
with the reason."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from alarm import ended_within
from shell import Shell, shell_in

HERE = Path(__file__).parent

#: Longer than any test should take, and shorter than anybody's patience with a hang.
TEST_S = 90


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents and "shell" in set(item.fixturenames):
            item.add_marker(pytest.mark.system)
            if sys.platform != "linux":
                item.add_marker(pytest.mark.skip(reason="waits on pidfds and reads /proc"))


@pytest.fixture(autouse=True)
def no_hang() -> Iterator[None]:
    """A test that hangs is ended."""
    with ended_within(TEST_S):
        yield


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    """A shell for this test alone; what it started must have ended with it."""
    with shell_in(tmp_path) as shell:
        yield shell
