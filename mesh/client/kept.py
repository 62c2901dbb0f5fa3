"""Kept: results that were asked for, as plain files in a folder of the user's.

    objects/ab/abcdef…    a value, named by the SHA-256 of its content: bytes as they are, text as
                          UTF-8, everything else as a pickle
    names/T=2.3.json      what is kept under a name, a task's id or its own one: digest, size, type

It is there without a mesh, for whoever can read files; on a network file system, too, and for
several processes at once: a file is written under a name of its own, brought to the disk, and
renamed. Nothing in it is changed, locked or mapped. What is read is compared with its digest.
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

from ..errors import ResultLost, TaskNotFound
from .saving import BYTES, TEXT, Ended, pour, told_of

#: A longer name is cut, and told apart by a digest: file systems take 255 bytes.
NAME_CHARS_MAX = 200

_READ_BYTES = 1024 * 1024


class Kept:
    """Results that were asked for, as plain files in a folder: no mesh is needed to read them.

    Args:
        folder: that of `Mesh(results=)` or ``--results``; made when the first is kept.

    Example:
        >>> with Mesh(results="results") as m:
        ...     m.options(id="T=2.30").submit(simulate, 2.3).result()
        >>> Kept("results").result("T=2.30")  # next year, on another machine
        0.901
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder).expanduser().absolute()

    def keep(self, ended: Ended, *names: str | None, timeout: float | None = None) -> None:
        """Keep the value of a task, under its id and these names; one that is there stays.

        Raises:
            MeshError: it cannot be written.
            PayloadError, ResultLost, ResultUnreachable, TimeoutError: the value cannot be had.
        """
        with told_of(str(self.folder)):
            about = self._about(ended.id)
            if about is None or not self._object(about["digest"]).is_file():
                about = self._write(ended, timeout)
            for name in {ended.id, *names} - {None}:
                if (self._about(str(name)) or {}).get("digest") != about["digest"]:
                    self._name(str(name), about)

    def value(self, ended: Ended, *names: str | None, timeout: float | None = None) -> Any:
        """The value of a task, which is kept from now on.

        Raises:
            MeshError: see `keep`, `result`.
        """
        self.keep(ended, *names, timeout=timeout)
        return self.result(ended.id)

    def keep_group(self, id: str, name: str | None, members: list[str]) -> None:
        """Keep which tasks, that are kept themselves, a group is made of.

        Raises:
            MeshError: it cannot be written.
        """
        with told_of(str(self.folder)):
            self._name(id, {"group": id, "name": name, "members": members})

    def has(self, name: str) -> bool:
        """Whether something is kept under a name."""
        return self._about(name) is not None

    def members(self, name: str) -> list[str] | None:
        """The ids of a group's members; None if it is no group."""
        found: list[str] | None = (self._about(name) or {}).get("members")
        return found

    def result(self, name: str) -> Any:
        """The value that is kept under a task's id or own id; of a group the list of values.

        Raises:
            TaskNotFound: there is none.
            ResultLost: its file is damaged, or not there.
        """
        about = self._about(name)
        if about is None:
            raise TaskNotFound(f"nothing is kept under {name!r} in {self.folder}")
        if "members" in about:
            return [self.result(member) for member in about["members"]]
        content = self._read(name, about)
        if about["type"] == BYTES:
            return bytes(content)
        if about["type"] == TEXT:
            return content.decode("utf-8", "surrogatepass")
        return pickle.loads(content)

    # -- files -------------------------------------------------------------------------------

    def _object(self, digest: str) -> Path:
        return self.folder / "objects" / digest[:2] / digest

    def _entry(self, name: str) -> Path:
        safe = quote(name, safe=" =+,@()[]{}#!~", errors="surrogatepass")
        if len(safe) > NAME_CHARS_MAX or safe.startswith("."):
            digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
            safe = f"{quote(safe, safe='')[: NAME_CHARS_MAX - 65]}-{digest}".replace(".", "%2E")
        return self.folder / "names" / f"{safe}.json"

    def _about(self, name: str) -> dict[str, Any] | None:
        try:
            about: dict[str, Any] = json.loads(self._entry(name).read_text())
        except (OSError, ValueError):
            return None
        return about

    def _name(self, name: str, about: dict[str, Any]) -> None:
        with self._new(lambda: self._entry(name)) as file:
            file.write(json.dumps(about | {"name": name}).encode() + b"\n")

    def _write(self, ended: Ended, timeout: float | None) -> dict[str, Any]:
        """Bring a value to the disk, under its digest; what is said of it."""
        summed = _Summed()
        with self._new(lambda: self._object(summed.digest.hexdigest())) as file:
            summed.file = file
            folder = Path(tempfile.gettempdir())
            size, kind = pour(ended, summed, folder, timeout)  # type: ignore[arg-type]
        digest = summed.digest.hexdigest()
        return {"id": ended.id, "digest": digest, "size_bytes": size, "type": kind}

    @contextmanager
    def _new(self, target: Callable[[], Path]) -> Iterator[IO[bytes]]:
        """A file that has the name `target()` when all of it is there."""
        self.folder.mkdir(parents=True, exist_ok=True)
        descriptor, part = tempfile.mkstemp(dir=self.folder, prefix="part-")
        try:
            with open(descriptor, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            final = target()
            final.parent.mkdir(parents=True, exist_ok=True)
            os.replace(part, final)
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(part)
            raise

    def _read(self, name: str, about: dict[str, Any]) -> bytearray:
        file = self._object(about["digest"])
        content, digest = bytearray(), hashlib.sha256()
        try:
            with open(file, "rb") as opened:
                while part := opened.read(_READ_BYTES):
                    digest.update(part)
                    content += part
        except OSError as error:
            raise ResultLost(
                f"the kept result {name!r} is gone: {file}: {error.strerror}"
            ) from error
        if digest.hexdigest() != about["digest"]:
            raise ResultLost(f"the kept result {name!r} is damaged: {file} is not what it was")
        return content


class _Summed:
    """A file that sums up what is written to it."""

    def __init__(self) -> None:
        self.digest = hashlib.sha256()
        self.file: IO[bytes] | None = None

    def write(self, content: Any) -> int:
        """Write it."""
        self.digest.update(content)
        assert self.file is not None
        return self.file.write(content)
