"""Litter: what meshes have left behind that were killed with everything they had started.

Folders of temporary meshes and of sockets are removed at the next start of any mesh. Whether
somebody still lives there is asked of the kernel, by the locks that owners hold and that their
death lets go; never of a pid. Nothing else is touched: no folder that is another user's, a link,
or has in it what no mesh puts there. Two that sweep at once do each other no harm.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path

from ..transport import sockets

#: What `tempfile` makes of this prefix.
PREFIX = "mesh-"
_NAME = re.compile(PREFIX + r"[a-z0-9_]{8}")

#: A file in the folder of a temporary mesh says that the mesh was one.
MARK = "temporary"

#: What there is in the folder of a temporary mesh.
_CONTENT = {MARK, "owner", "changing", "access.json", "log", "router", "worker"}

#: Who makes such a folder owns it and has marked it within this.
YOUNG_S = 3600.0

#: A start looks at so many names, and removes so many folders: the rest is for the next ones.
LOOK_MAX, REMOVE_MAX = 10_000, 20


def sweep(temporary: Path) -> None:
    """Remove what was left in the folder for temporary files, and where sockets are."""
    removed = 0
    for folder in _candidates(temporary):
        removed += _remove(folder)
        if removed >= REMOVE_MAX:
            break
    sockets.sweep(REMOVE_MAX)


def mark(folder: Path) -> None:
    """Say that `folder`, which is owned by now, is that of a temporary mesh."""
    (folder / MARK).touch(0o600)


def _candidates(temporary: Path) -> Iterator[Path]:
    """Folders of ours that are named like those of temporary meshes."""
    try:
        with os.scandir(temporary) as entries:
            names = [entry.name for entry in islice(entries, LOOK_MAX)]
    except OSError:
        return  # it cannot be read
    for name in filter(_NAME.fullmatch, names):
        try:
            about = (temporary / name).lstat()
        except OSError:
            continue  # somebody else was faster
        private = about.st_uid == os.getuid() and not about.st_mode & 0o077
        if private and stat.S_ISDIR(about.st_mode):
            yield temporary / name


def _remove(folder: Path) -> bool:
    """Remove the folder of a temporary mesh, if nobody lives there."""
    try:
        content = set(os.listdir(folder))
        if content <= {"owner"}:
            if time.time() - folder.lstat().st_mtime > YOUNG_S:
                _remove_unmarked(folder)
        elif content >= {MARK, "owner"} and content <= _CONTENT:
            return _remove_marked(folder, content)
    except OSError:
        pass  # somebody else was faster, or it cannot be removed
    return False


def _remove_unmarked(folder: Path) -> None:
    """Remove what a script left that was killed before its mesh began."""
    with ExitStack() as held:
        if _is_free(folder, held):
            (folder / "owner").unlink(missing_ok=True)
            folder.rmdir()


def _remove_marked(folder: Path, content: set[str]) -> bool:
    """Remove the folder of a temporary mesh, the lock last: so nobody else does it as well, and
    what is left of it by one who is killed meanwhile is still known for what it is."""
    with ExitStack() as held:
        if not all(_is_free(each, held) for each in (folder, folder / "router", folder / "worker")):
            return False
        for name in content - {MARK, "owner"}:
            if stat.S_ISDIR((folder / name).lstat().st_mode):
                shutil.rmtree(folder / name)
            else:
                (folder / name).unlink()
        (folder / MARK).unlink()
        (folder / "owner").unlink()
        folder.rmdir()
        return True


def _is_free(folder: Path, held: ExitStack) -> bool:
    """Whether nobody owns `folder`; nobody can then, until `held` is closed."""
    file = folder / "owner"
    try:
        descriptor = os.open(file, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return True
    held.callback(os.close, descriptor)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return os.path.samestat(os.fstat(descriptor), file.lstat())
