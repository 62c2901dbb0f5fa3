"""What a task prints, kept with the task.

File descriptors 1 and 2 of a slot are one file, opened to append, so that C code and subprocesses
are caught as well as `print`. Between tasks only the two are looked at: a task that prints nothing
costs two fstats. What a task printed is the stretch between two sizes; of a long one only head and
tail are kept. A flood is thinned by the worker, which punches a hole into the middle (`thin`) while
the task still runs: sizes stay true, the disk stays free.
"""

from __future__ import annotations

import ctypes
import io
import os
import sys
from pathlib import Path
from typing import Any, TextIO

from ..errors import DISK_FULL

#: Kept of one task's output: half of it head, half tail.
LOG_BYTES_MAX = 1024 * 1024

#: The file is begun anew between two tasks when it has grown beyond this.
FILE_BYTES_MAX = 1024 * 1024

#: The worker thins a file that takes more than this.
FLOOD_BYTES = 16 * 1024 * 1024

_FALLOC_KEEP_SIZE, _FALLOC_PUNCH_HOLE = 1, 2


class Capture:
    """The output of the tasks of this process. `path` is made anew; the worker removes it."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
        self.log = os.dup(2)  # where the worker's log is: for what is not a task's doing
        os.set_inheritable(self.log, False)
        self._inode = os.fstat(self._file).st_ino
        self._begin = 0
        self._attach()

    def _attach(self) -> None:
        """Lead both outputs into the file."""
        os.dup2(self._file, 1)
        os.dup2(self._file, 2)
        sys.stdout = self._out = _text(1)
        sys.stderr = self._err = _text(2, line_buffering=True)

    def take(self) -> bytes:
        """What was printed since the last call; of much, head and tail."""
        try:
            sys.stdout.flush()
            sys.stderr.flush()
            out, err = os.fstat(1), os.fstat(2)
            attached = (
                out.st_ino == err.st_ino == self._inode
                and sys.stdout is self._out
                and sys.stderr is self._err
            )
        except (OSError, ValueError, AttributeError):
            attached = False
        if attached:
            size = out.st_size
        else:  # the task has closed or replaced them: its own choice, not the next one's
            for ours in (self._out, self._err):
                try:
                    ours.flush()
                except (OSError, ValueError):
                    pass  # closed
            size = os.fstat(self._file).st_size
            self._attach()
        if size == self._begin:
            return b""
        begin, self._begin = self._begin, size
        half = LOG_BYTES_MAX // 2
        if size - begin <= LOG_BYTES_MAX:
            text = os.pread(self._file, size - begin, begin)
        else:
            left_out = size - begin - LOG_BYTES_MAX
            note = f"\n[... {left_out} bytes left out ...]\n".encode()
            text = os.pread(self._file, half, begin) + note
            text += os.pread(self._file, half, size - half)
        if size > FILE_BYTES_MAX:
            os.ftruncate(self._file, 0)
            self._begin = 0
        return text


class _Output(io.FileIO):
    """What finds no room on the disk is left out: a task that prints must not fail for that."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data) or 0
        except OSError as error:
            if error.errno not in DISK_FULL:
                raise
            return len(data)


def _text(descriptor: int, *, line_buffering: bool = False) -> TextIO:
    """A text stream on `descriptor`, which stays open whatever becomes of the stream."""
    return io.TextIOWrapper(
        io.BufferedWriter(_Output(descriptor, "w", closefd=False)),
        encoding="utf-8",
        errors="backslashreplace",
        line_buffering=line_buffering,
    )


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
        begin = FILE_BYTES_MAX + LOG_BYTES_MAX  # beyond any task's head
        length = stat.st_size - LOG_BYTES_MAX - begin
        if length > 0:
            mode = _FALLOC_PUNCH_HOLE | _FALLOC_KEEP_SIZE
            _libc().fallocate(file, mode, ctypes.c_int64(begin), ctypes.c_int64(length))
    finally:
        os.close(file)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
