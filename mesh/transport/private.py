"""Private files: JSON that only its owner may read, written so that a reader sees all or nothing.

Whoever can read such a file can run code as its owner, so one that others can read is refused.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..errors import AccessDenied


def write(path: Path, data: dict[str, Any], what: str) -> None:
    """Write `data` to `path`: the old file stays until the new one is whole and on disk.

    Raises:
        AccessDenied: it cannot be written; `what` says what it is.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            draft.unlink()  # of a process of this number that was killed, or somebody's link
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with open(descriptor, "w") as file:
            json.dump(data, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    except OSError as error:
        raise AccessDenied(
            f"{what} {path} cannot be written: {error.strerror}. Choose another"
        ) from error


def read(path: Path, what: str) -> dict[str, Any]:
    """What is in the file at `path`.

    Raises:
        FileNotFoundError: there is none.
        AccessDenied: it cannot be read, is not yours, others can read it, or it is no JSON object.
    """
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            stat = os.fstat(file.fileno())
            text = file.read()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise AccessDenied(f"{what} {path} cannot be read: {error.strerror}") from error
    if stat.st_uid != os.getuid():
        raise AccessDenied(f"{what} {path} belongs to uid {stat.st_uid}, not to you")
    if stat.st_mode & 0o077:
        raise AccessDenied(f"{what} {path} can be read by others: chmod 600 {path}")
    return parse(text, f"{path}", what)


def parse(text: str, source: str, what: str) -> dict[str, Any]:
    """The JSON object that `text` is; `source` says where it comes from.

    Raises:
        AccessDenied: it is none.
    """
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise AccessDenied(f"{source} is no {what}: {error}") from None
    if not isinstance(data, dict):
        raise AccessDenied(f"{source} is no {what}: it is no JSON object")
    return data
