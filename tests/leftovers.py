"""What a test leaves behind: processes, files, descriptors, threads."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import tempfile
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from ending import await_end

#: What was told to go may take this long to be gone.
GOING_S = 3.0

#: Linux's flag of a process that has begun to end (include/linux/sched.h).
_PF_EXITING = 0x4


class Leftovers:
    """Remembers what is there now; `check` fails if there is more."""

    #: Every process that a test starts inherits this mark in its environment.
    VARIABLE = "MESH_TEST"

    def __init__(self, folders: list[Path]) -> None:
        self.mark = uuid.uuid4().hex
        self.folders = folders
        self._descriptors = _descriptors()
        self._threads = set(threading.enumerate())
        self._tasks = _system_threads()

    def processes(self) -> dict[int, str]:
        """The living processes of this test, with their command lines."""
        wanted = f"{self.VARIABLE}={self.mark}".encode()
        found = {}
        for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
            try:
                environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
                # Who is ending has no memory, and for a moment longer its files and sockets.
                ours = wanted in environment or (environment == [b""] and _is_ending(pid))
                if pid != os.getpid() and ours:
                    line = Path(f"/proc/{pid}/cmdline").read_bytes()
                    found[pid] = line.replace(b"\0", b" ").decode(errors="replace")
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue  # it ended meanwhile, or is another user's
        return found

    def check(self) -> None:
        """Fail if anything of the test is still there."""
        left = [
            f"process {pid}: {line}"
            for pid, line in self.processes().items()
            if not await_end(pid, GOING_S)
        ]
        left += [f"child {pid} was not waited for" for pid in _zombies()]
        for folder in self.folders:
            left += [f"file {path}" for path in sorted(folder.rglob("*"))]
        for thread in set(threading.enumerate()) - self._threads:
            thread.join(GOING_S)
            if thread.is_alive():
                left.append(f"thread {thread.name}")
        gc.collect()
        for number, target in _descriptors().items():
            if self._descriptors.get(number) != target:
                left.append(f"descriptor {number}: {target}")
        if not left and _system_threads() > self._tasks:
            left.append(f"{_system_threads() - self._tasks} threads that Python does not know")
        assert not left, "left behind:\n" + "\n".join(left)

    def end(self) -> None:
        """End what is still there, so that no other test meets it."""
        for pid in self.processes():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
            await_end(pid, GOING_S)


def _is_ending(pid: int) -> bool:
    """Whether a process, perhaps another's, is on its way out, and not yet a zombie."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return words[0] not in "ZX" and bool(int(words[6]) & _PF_EXITING)


def _descriptors() -> dict[int, str]:
    found = {}
    for number in map(int, os.listdir("/proc/self/fd")):
        try:
            found[number] = os.readlink(f"/proc/self/fd/{number}")
        except FileNotFoundError:
            continue  # that of the listing itself
    return found


def _system_threads() -> int:
    return len(os.listdir("/proc/self/task"))


def _zombies() -> list[int]:
    found = []
    for thread in os.listdir("/proc/self/task"):
        try:
            for pid in Path(f"/proc/self/task/{thread}/children").read_text().split():
                state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
                if state == "Z":
                    found.append(int(pid))
        except FileNotFoundError:
            continue  # the thread has just ended, or the child was just waited for
    return found


@contextmanager
def place_of_its_own(folder: Path) -> Iterator[Leftovers]:
    """A home, a temporary folder and a socket folder for what is started inside; afterwards all of
    it is gone: processes, files, descriptors, threads."""
    temporary, home = folder / "tmp", folder / "home"
    temporary.mkdir()
    home.mkdir()
    sockets = Path(tempfile.mkdtemp(prefix="mesh-test-", dir="/tmp"))  # ipc paths must be short
    leftovers = Leftovers([temporary, sockets / "mesh"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(temporary))
        patch.setenv("TMPDIR", str(temporary))
        patch.setenv("HOME", str(home))
        patch.setenv("XDG_RUNTIME_DIR", str(sockets))
        patch.delenv("MESH_ACCESS", raising=False)
        patch.setenv(leftovers.VARIABLE, leftovers.mark)
        try:
            yield leftovers
            leftovers.check()
        finally:
            leftovers.end()
            shutil.rmtree(sockets)
