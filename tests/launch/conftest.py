"""Tests of launchers: with real sshd, Slurm and mpiexec where they are installed; else they skip,
with the reason."""

from __future__ import annotations

import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from shell import Shell

HERE = Path(__file__).parent

#: Longer than any test should take, and shorter than anybody's patience with a hang.
TEST_S = 90


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents and "shell" in set(item.fixturenames):
            item.add_marker(pytest.mark.system)
            if sys.platform != "linux":
                item.add_marker(pytest.mark.skip(reason="waits on pidfds and reads /proc"))


def _too_long(number: int, frame: object) -> None:
    raise TimeoutError(f"the test has not ended within {TEST_S} s")


@pytest.fixture(autouse=True)
def no_hang() -> Iterator[None]:
    """A test that hangs is ended."""
    before = signal.signal(signal.SIGALRM, _too_long)
    signal.setitimer(signal.ITIMER_REAL, TEST_S)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@contextmanager
def _shell(folder: Path) -> Iterator[Shell]:
    sockets = Path(tempfile.mkdtemp(prefix="mesh-test-", dir="/tmp"))  # ipc paths must be short
    shell = Shell(folder, sockets)
    try:
        yield shell
        left = shell.left()
        assert not left, "left behind:\n" + "\n".join(left)
    finally:
        shell.close()
        shutil.rmtree(sockets)


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    """A shell for this test alone; what it started must have ended with it."""
    with _shell(tmp_path) as shell:
        yield shell
