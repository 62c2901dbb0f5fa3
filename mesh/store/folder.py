"""A folder that holds a store: who may use it, whether it can, and whose it is.

A store's folder belongs to one user (0700), lies on a local disk, and has one owner process at a
time, proven by an flock. Anything else is refused before LMDB touches it, with the next step.
"""

from __future__ import annotations

import fcntl
import os
import re
import sys
import time
from pathlib import Path

from ..errors import StoreError

#: LMDB needs a local file system: on these it corrupts, or fails with ENOSYS, ESTALE or SIGBUS.
NETWORK_FILE_SYSTEMS = {
    "nfs", "nfs4", "lustre", "gpfs", "beegfs", "cifs", "smb3", "smbfs", "ceph", "afs", "9p",
    "fuse.sshfs", "fuse.glusterfs", "fuse.ceph", "orangefs", "pvfs2", "glusterfs", "ncpfs", "coda",
}  # fmt: skip

#: A lock that another process has is looked at this often: a wait for an flock has no end.
LOOK_S = 0.01

#: How the kernel writes a space, a tab, a newline or a backslash in a mount point.
_ESCAPED = re.compile(rb"\\([0-7]{3})")


def prepare(folder: Path) -> None:
    """Make `folder` (0700) and make sure that a store can live there.

    Raises:
        StoreError: it cannot be made or written, is another user's, or lies on a network.
    """
    _make(folder)
    kind = file_system_of(folder)
    if kind in NETWORK_FILE_SYSTEMS or kind.startswith("fuse.") and "overlay" not in kind:
        raise StoreError(
            f"{folder} is on a network file system ({kind}), where a store breaks. "
            f"Use a local one, such as {default_root() / folder.name}"
        )
    if folder.stat().st_mode & 0o077:
        folder.chmod(0o700)


def make(folder: Path) -> None:
    """Make `folder` (0700) for what is in it to be prepared; one that is there stays as it is.

    Raises:
        StoreError: it cannot be made or written, is another user's, or lies in a default root that
            is not the user's own.
    """
    if default_root() in folder.parents:
        prepare(default_root())
    _make(folder)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        owner = folder.stat().st_uid
    except OSError as error:
        raise StoreError(
            f"{folder} cannot be made: {error.strerror}. Choose another folder"
        ) from error
    if owner != os.getuid():
        raise StoreError(f"{folder} belongs to another user (uid {owner}): choose your own")
    if not os.access(folder, os.W_OK | os.X_OK) or _is_read_only(folder):
        raise StoreError(f"{folder} is read-only: choose a folder that you can write to")


def _is_read_only(folder: Path) -> bool:
    return bool(os.statvfs(folder).f_flag & os.ST_RDONLY)


def file_system_of(path: Path, mounts: Path = Path("/proc/self/mountinfo")) -> str:
    """The kind of file system `path` is on, as the kernel names it; "" where that is unknown."""
    if sys.platform != "linux" or not mounts.exists():
        return ""
    target = str(path.resolve())
    best, kind = "", ""
    for line in mounts.read_bytes().splitlines():
        left, _, right = line.partition(b" - ")
        fields, after = left.split(), right.split()
        if len(fields) < 5 or not after:
            continue
        point = os.fsdecode(_ESCAPED.sub(lambda found: bytes([int(found[1], 8)]), fields[4]))
        inside = target == point or target.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):
            best, kind = point, after[0].decode()
    return kind


def default_root() -> Path:
    """Where the folders of named meshes are: local, kept over reboots, one per user."""
    return Path(f"/var/tmp/mesh-{os.getuid()}")


class Lock:
    """An flock on a folder, until `release` or this process's death. That on ``owner`` makes it the
    folder's owner; who holds that on ``changing`` starts a mesh there, or ends one.

    Args:
        folder: it is there.
        name: of the lock.
        patience_s: how long to wait for another process to let go.

    Raises:
        StoreError: another process has it; its pid is named.
    """

    def __init__(self, folder: Path, name: str = "owner", patience_s: float = 0.0) -> None:
        self._file = os.open(folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        until = time.monotonic() + patience_s
        try:
            while not self._take():
                if time.monotonic() >= until:
                    pid = os.pread(self._file, 32, 0).decode(errors="replace").strip() or "?"
                    raise StoreError(
                        f"{folder} is in use by process {pid}: join that mesh, or choose another "
                        f"folder"
                    )
                time.sleep(LOOK_S)
        except BaseException:  # Ctrl-C while it waits
            os.close(self._file)
            raise
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, str(os.getpid()).encode(), 0)

    def _take(self) -> bool:
        """Whether it is ours from now on."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def release(self) -> None:
        """Let another process own the folder."""
        os.close(self._file)
