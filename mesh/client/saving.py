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
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from ..errors import MeshError, PayloadError
from ..protocol import payload
from ..protocol.outcome import parse, parse_ref
from ..task import Kind

if TYPE_CHECKING:
    from .future import Future

#: Written at a time.
STEP_BYTES = 4 * 1024 * 1024


def save(future: Future, path: str, timeout: float | None = None) -> tuple[int, str]:
    """Write the value of a task that is done to `path`, where ``-`` is standard output: how many
    bytes, and, if it is a pickle, of what type.

    Raises:
        MeshError: the file cannot be written.
        BaseException: see `Future.result`.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    error = future.exception(timeout)
    if error is not None:
        raise error
    kind, body = future.raw  # type: ignore[misc]  # it is done
    rest = parse(body).rest
    with contextlib.ExitStack() as stack:
        try:
            if kind == Kind.STORED:
                left = None if deadline is None else max(0.0, deadline - time.monotonic())
                folder = (
                    Path(tempfile.gettempdir()) if path == "-" else Path(path).absolute().parent
                )
                rest = future.fetch(parse_ref(rest), left, _scratch(folder, stack))
            return _write(future.id, memoryview(rest), stack.enter_context(_target(path)))
        except OSError as problem:
            if isinstance(problem, TimeoutError) or problem.errno is None:
                raise
            raise MeshError(f"{path} cannot be written: {problem.strerror}") from problem


def save_value(value: Any, path: str) -> tuple[int, str]:
    """The same of a value that is in memory.

    Raises:
        MeshError: the file cannot be written.
    """
    try:
        with _target(path) as file:
            return _write_value(value, file)
    except OSError as problem:
        raise MeshError(f"{path} cannot be written: {problem.strerror}") from problem


@contextlib.contextmanager
def _target(path: str) -> Iterator[IO[bytes]]:
    """Where to write: a file gets its name, on the disk, if all went well."""
    if path == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    final = os.path.realpath(path)
    if os.path.exists(final) and not stat.S_ISREG(os.stat(final).st_mode):
        with open(final, "wb") as file:  # a pipe, a device
            yield file
        return
    part = f"{final}.part"
    try:
        with open(part, "wb") as file:
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
        return _copy(raw, file), ""
    try:
        value = payload.load(packed)
    except Exception as error:
        raise PayloadError(f"the result of {task} cannot be unpickled here: {error}") from error
    if payload.is_plain(packed) and not isinstance(value, (str, bytes, bytearray)):
        return _copy(packed, file), type(value).__qualname__
    return _write_value(value, file)


def _write_value(value: Any, file: IO[bytes]) -> tuple[int, str]:
    if isinstance(value, (bytes, bytearray, memoryview)):
        return _copy(memoryview(value).cast("B"), file), ""
    if isinstance(value, str):
        return _copy(memoryview(value.encode("utf-8", "surrogatepass")), file), ""
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
