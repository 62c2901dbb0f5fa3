"""What a task prints, kept with the task.

File descriptors 1 and 2 of a slot are one file, opened to append, so that C code and subprocesses
are caught as well as `print`. A line that is printed is in the file at once: the worker reads it
there while the task runs, if somebody listens (tail.py). Between tasks only the two are looked at:
a task that prints nothing costs four seeks, which take half as long as two fstats. What a task
printed is the stretch between two sizes; of a long one only head and tail are kept. A flood is
thinned by the worker, which punches a hole into the middle (`thin`) while the task still runs:
sizes stay true, the disk stays free.

A shell's ``>/dev/stderr`` empties the file. So it begins with a hole that no output is as large as:
a file that is smaller than it was has been emptied, and what is in it is what was printed since.
"""

from __future__ import annotations

import ctypes
import io
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

from ..errors import DISK_FULL
from ..protocol.printout import LOG_BYTES_MAX, thinned

#: The file begins with a hole of this size: of more that a task prints after it has emptied the
#: file, the beginning is lost. Where there are no holes it is what a slot takes of the disk.
HOLE_BYTES = 16 * 1024 * 1024

#: The file is begun anew between two tasks when it has grown so much beyond that.
FILE_BYTES_MAX = 1024 * 1024

#: To be told from any other, the file is at a random position from here on. It appends wherever it
#: is, hardly any other is there, and no file system has so small a limit.
_MARK_MIN = 1 << 31

#: Kept of what a slot was printing that has died: it travels with the outcome.
LAST_BYTES = 8 * 1024

#: The worker thins a file that takes more than this.
FLOOD_BYTES = 16 * 1024 * 1024

_FALLOC_KEEP_SIZE, _FALLOC_PUNCH_HOLE = 1, 2


class Catch:
    """A file for the output of tasks that run one after the other. `path` is made anew; the worker
    removes it. `log` is where the worker's log is: for what is not a task's doing."""

    def __init__(self, path: Path, log: int) -> None:
        self.file = os.open(
            path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600
        )
        self.log = log
        self._base = 0  # where the output of the first task begins
        with suppress(OSError):  # a limit to the size of files
            os.ftruncate(self.file, HOLE_BYTES)
            self._base = HOLE_BYTES
        self.begin = self._base  # where the output of the task begins that comes next

    def settle(self) -> int:
        """The size of the file, with all that was printed in it."""
        raise NotImplementedError

    def take(self) -> bytes:
        """What was printed since the last call; of much, head and tail."""
        size = self.settle()
        if size == self.begin:
            return b""
        begin, self.begin = self.begin, size
        if size < begin:  # emptied
            begin = 0
        half = LOG_BYTES_MAX // 2
        if size - begin <= LOG_BYTES_MAX:
            text = os.pread(self.file, size - begin, begin)
        else:
            head, tail = os.pread(self.file, half, begin), os.pread(self.file, half, size - half)
            text = thinned(head, size - begin - LOG_BYTES_MAX, tail)
        if begin == 0 or size > self._base + FILE_BYTES_MAX:
            os.ftruncate(self.file, 0)
            os.ftruncate(self.file, self._base)
            self.begin = self._base
        return text

    def say(self, text: str) -> None:
        """Tell the worker's log."""
        os.write(self.log, f"{text}\n".encode())


class Capture(Catch):
    """The output of the tasks of this process."""

    def __init__(self, path: Path) -> None:
        log = os.dup(2)
        os.set_inheritable(log, False)
        super().__init__(path, log)
        self._inode = os.fstat(self.file).st_ino
        self._mark = _MARK_MIN + int.from_bytes(os.urandom(3), sys.byteorder)
        self._attach()

    def _attach(self) -> None:
        """Lead both outputs into the file."""
        os.dup2(self.file, 1)
        os.dup2(self.file, 2)
        sys.stdout, sys.stderr = self._out, self._err = text_stream(1), text_stream(2)

    def settle(self) -> int:
        """The size of the file, with all that was printed in it."""
        try:
            sys.stdout.flush()
            sys.stderr.flush()
            os.lseek(self.file, self._mark, os.SEEK_SET)
            attached = (
                sys.stdout is self._out
                and sys.stderr is self._err
                and (
                    os.lseek(1, 0, os.SEEK_CUR) == os.lseek(2, 0, os.SEEK_CUR) == self._mark
                    or os.fstat(1).st_ino == os.fstat(2).st_ino == self._inode  # others print
                )
            )
        except (OSError, ValueError, AttributeError):
            attached = False
        if attached:
            return os.lseek(self.file, 0, os.SEEK_END)
        # The task has closed or replaced them: its own choice, not the next one's.
        for ours in (self._out, self._err):
            try:
                ours.flush()
            except (OSError, ValueError):
                pass  # closed
        size = os.fstat(self.file).st_size
        self._attach()
        return size


class _Output(io.FileIO):
    """What finds no room on the disk is left out: a task that prints must not fail for that."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data) or 0
        except OSError as error:
            if error.errno not in DISK_FULL:
                raise
            return len(data)


def text_stream(descriptor: int) -> TextIO:
    """A text stream on `descriptor`, which stays open whatever becomes of the stream."""
    return io.TextIOWrapper(
        io.BufferedWriter(_Output(descriptor, "w", closefd=False)),
        encoding="utf-8",
        errors="backslashreplace",
        line_buffering=True,
    )


def last_words(path: Path, begin: int) -> bytes:
    """What a task printed whose slot is dead, from `begin` on; of much, the end."""
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            begin = begin if size >= begin else 0  # emptied
            at = max(begin, size - LAST_BYTES)
            file.seek(at)
            text = file.read(LAST_BYTES)
    except OSError:
        return b""  # it died before it had the file, or there is no descriptor left
    return thinned(b"", at - begin, text) if at > begin else text


def thin(path: Path) -> None:
    """Free the middle of a capture file that has grown too large. Linux; elsewhere it grows."""
    try:
        stat = path.stat()
    except FileNotFoundError:
        return
    if stat.st_blocks * 512 < FLOOD_BYTES or not hasattr(_libc(), "fallocate"):
        return
    file = os.open(path, os.O_WRONLY)
    try:
        begin = HOLE_BYTES + FILE_BYTES_MAX + LOG_BYTES_MAX  # beyond any task's head
        length = stat.st_size - LOG_BYTES_MAX - begin
        if length > 0:
            mode = _FALLOC_PUNCH_HOLE | _FALLOC_KEEP_SIZE
            _libc().fallocate(file, mode, ctypes.c_int64(begin), ctypes.c_int64(length))
    finally:
        os.close(file)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
