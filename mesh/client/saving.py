"""Saving: the value of a task as a file, in pieces, however large it is.

Bytes are written as they are, text as UTF-8, everything else as a pickle. What a worker keeps is
mapped, from its file or from one that it was fetched into: none of it need be in memory at once,
unless the value is text or made of many small objects. A file has its name when all of it is there.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import pickle
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

from ..errors import MeshError, PayloadError
from ..protocol import payload
from ..protocol.outcome import parse, parse_ref
from ..task import Kind

#: Written at a time.
STEP_BYTES = 4 * 1024 * 1024

#: The types of values that are no pickle in their file.
BYTES, TEXT = "bytes", "str"


class Ended(NamedTuple):
    """A task that is done: its id, its outcome, and what fetches what a worker keeps of it."""

    id: str
    kind: int
    body: Any
    fetch: Callable[..., Any]  # see `Connection.fetch`


def save(ended: Ended, path: str, timeout: float | None = None) -> tuple[int, str]:
    """Write the value of a task to `path`, where ``-`` is standard output: how many bytes, and of
    what type it is.

    Raises:
        MeshError: the file cannot be written.
        PayloadError, ResultLost, ResultUnreachable, TimeoutError: the value cannot be had.
    """
    folder = Path(tempfile.gettempdir()) if path == "-" else Path(path).absolute().parent
    with told_of(path), target(path) as file:
        return pour(ended, file, folder, timeout)


def pour(
    ended: Ended, file: IO[bytes], folder: Path, timeout: float | None = None
) -> tuple[int, str]:
    """Write the value of a task to an open file; what is fetched comes into `folder` first.

    Raises:
        OSError: it cannot be written.
        PayloadError, ResultLost, ResultUnreachable, TimeoutError: the value cannot be had.
    """
    rest = parse(ended.body).rest
    with contextlib.ExitStack() as stack:
        if ended.kind == Kind.STORED:
            rest = ended.fetch(parse_ref(rest), timeout, _scratch(folder, stack))
        return _write(ended.id, memoryview(rest), file)


@contextlib.contextmanager
def told_of(path: str) -> Iterator[None]:
    """An error of the system while a file is written becomes one that names it."""
    try:
        yield
    except OSError as problem:
        if isinstance(problem, TimeoutError) or problem.errno is None:
            raise
        if path == "-" and isinstance(problem, BrokenPipeError):
            raise  # who reads has seen enough
        raise MeshError(f"{path} cannot be written: {problem.strerror}") from problem


def save_value(value: Any, path: str) -> tuple[int, str]:
    """The same of a value that is in memory.

    Raises:
        MeshError: the file cannot be written.
    """
    with told_of(path), target(path) as file:
        return _write_value(value, file)


@contextlib.contextmanager
def target(path: str) -> Iterator[IO[bytes]]:
    """Where to write: a file gets its name, on the disk, if all went well."""
    if path == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    if not path:
        raise MeshError("'' names no file: give one to write to, or - for standard output")
    final = os.path.realpath(path)
    if os.path.exists(final) and not stat.S_ISREG(os.stat(final).st_mode):
        with open(final, "wb") as file:  # a pipe, a device
            yield file
        return
    # A name of its own: somebody else may be writing to the same file, and the last one wins.
    part = os.path.join(os.path.dirname(final), f".{os.urandom(8).hex()}.part")
    try:
        with open(part, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, final)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(part)
        raise


def _scratch(folder: Path, stack: contextlib.ExitStack) -> Callable[[int], mmap.mmap]:
    """What makes room for what is fetched: in a file without a name, mapped."""

    def into(size: int) -> mmap.mmap:
        where = folder if os.access(folder, os.W_OK) else None
        file = stack.enter_context(tempfile.TemporaryFile(dir=where))  # noqa: SIM115 (it is one)
        os.posix_fallocate(file.fileno(), 0, size)  # a full disk must be found out here
        return mmap.mmap(file.fileno(), size)

    return into


def _write(task: str, packed: memoryview, file: IO[bytes]) -> tuple[int, str]:
    raw = payload.raw(packed)
    if raw is not None:
        return _copy(raw, file), BYTES
    try:
        value = payload.load(packed)
    except Exception as error:
        raise PayloadError(f"the result of {task} cannot be unpickled here: {error}") from error
    if payload.is_plain(packed) and not isinstance(value, (str, bytes, bytearray)):
        return _copy(packed, file), type(value).__qualname__
    return _write_value(value, file)


def _write_value(value: Any, file: IO[bytes]) -> tuple[int, str]:
    if isinstance(value, (bytes, bytearray, memoryview)):
        return _copy(memoryview(value).cast("B"), file), BYTES
    if isinstance(value, str):
        return _copy(memoryview(value.encode("utf-8", "surrogatepass")), file), TEXT
    counted = _Counted(file)
    pickle.dump(value, counted, protocol=5)
    return counted.size, type(value).__qualname__


def _copy(content: memoryview, file: IO[bytes]) -> int:
    for at in range(0, len(content), STEP_BYTES):
        file.write(content[at : at + STEP_BYTES])
    return len(content)


class _Counted:
    """A file that counts, and takes large buffers piece by piece."""

    def __init__(self, file: IO[bytes]) -> None:
        self.size = 0
        self._file = file

    def write(self, content: Any) -> int:
        """Write it."""
        with memoryview(content) as whole, whole.cast("B") as view:
            size = _copy(view, self._file)
        self.size += size
        return size
