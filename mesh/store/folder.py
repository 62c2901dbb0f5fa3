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

from ..errors import DISK_FULL, StoreError

#: LMDB needs a local file system: on these it corrupts, or fails with ENOSYS, ESTALE or SIGBUS.
NETWORK_FILE_SYSTEMS = {
    "nfs", "nfs4", "lustre", "gpfs", "beegfs", "cifs", "smb3", "smbfs", "ceph", "afs", "9p",
    "fuse.sshfs", "fuse.glusterfs", "fuse.ceph", "orangefs", "pvfs2", "glusterfs", "ncpfs", "coda",
}  # fmt: skip

#: A lock that another process has is looked at this often: a wait for an flock has no end.
LOOK_S = 0.01

#: A folder that somebody reads (see `Share`) is free again within this, mostly.
READ_S = 10.0

#: Who has lost its owner lets go of its folder within this, mostly: it ends what it runs before.
ENDING_S = 30.0

#: How the kernel writes a space, a tab, a newline or a backslash in a mount point.
_ESCAPED = re.compile(rb"\\([0-7]{3})")


def prepare(folder: Path) -> None:
    """Make `folder` (0700) and make sure that a store can live there.

    Raises:
        StoreError: it cannot be made or written, is another user's, or lies on a network.
    """
    _make(folder)
    kind = file_system_of(folder)
    if is_of_network(kind):
        raise StoreError(
            f"{folder} is on a network file system ({kind}), where a store breaks. "
            f"Use a local one, such as {default_root() / folder.name}"
        )
    if folder.stat().st_mode & 0o077:
        folder.chmod(0o700)


def is_of_network(kind: str) -> bool:
    """Whether a file system of this kind is one on which a store breaks."""
    return kind in NETWORK_FILE_SYSTEMS or kind.startswith("fuse.") and "overlay" not in kind


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
        raise StoreError(
            f"{folder} belongs to another user (uid {owner}): choose your own, with --dir or dir="
        )
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


class InUse(StoreError):
    """A folder is another process's just now."""


class Lock:
    """An flock on a folder, until `release` or this process's death. That on ``owner`` makes it the
    folder's owner; who holds that on ``changing`` starts a mesh there, or ends one.

    Args:
        folder: it is there.
        name: of the lock.
        patience_s: how long to wait for another process to let go.

    Raises:
        InUse: another process has it; its pid is named. Or some read the folder, for READ_S.
        StoreError: its file cannot be made.
    """

    def __init__(self, folder: Path, name: str = "owner", patience_s: float = 0.0) -> None:
        try:
            self._file = os.open(folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreError(
                f"{folder / name} cannot be made: {error.strerror}. Choose another folder"
            ) from error
        begun = time.monotonic()
        try:
            while not self._take():
                waited_s = time.monotonic() - begun
                if waited_s >= patience_s and not self._is_read():
                    raise _in_use(folder, self._file)
                if waited_s >= max(patience_s, READ_S):
                    raise InUse(
                        f"{folder} is being read, by `mesh result` or the like: try again when "
                        f"that has ended"
                    )
                time.sleep(LOOK_S)
        except BaseException:  # Ctrl-C while it waits
            os.close(self._file)
            raise
        try:
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, str(os.getpid()).encode(), 0)
        except OSError as error:  # its number is for people; what needs room says that it has none
            if error.errno not in DISK_FULL:
                raise

    def _take(self) -> bool:
        """Whether it is ours from now on."""
        return _is_free(self._file, fcntl.LOCK_EX)

    def _is_read(self) -> bool:
        """Whether those that have it share it."""
        is_shared = _is_free(self._file, fcntl.LOCK_SH)
        fcntl.flock(self._file, fcntl.LOCK_UN)  # or two that start would keep each other waiting
        return is_shared

    def release(self) -> None:
        """Let another process own the folder. Once more does nothing: its number is another's."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def is_abandoned(folder: Path) -> bool:
    """Whether `folder` had an owner who is gone, as far as this process may know."""
    try:
        Share(folder).release()
    except StoreError:
        return False  # it has one, or it is not for us to look
    return (folder / "owner").exists()


def vacate(folder: Path, *names: str) -> None:
    """Wait until those have gone from the folders of these names in `folder`, which is ours, whom
    its former owner had started.

    Raises:
        InUse: one of them is still there after ENDING_S; its pid is named.
    """
    for name in names:
        if (folder / name).is_dir():
            Lock(folder / name, patience_s=ENDING_S).release()


class Share:
    """A share of a folder's lock, until `release` or this process's death: nobody owns the folder
    meanwhile. It takes no right to write there; where nothing can be written and nobody has ever
    owned it, there is nothing to hold.

    Raises:
        InUse: a process owns it.
        StoreError: it cannot be looked at.
    """

    def __init__(self, folder: Path) -> None:
        self._file: int | None = None
        try:
            self._file = os.open(folder / "owner", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        except OSError as error:
            raise StoreError(f"{folder} cannot be read: {error.strerror}") from error
        if not _is_free(self._file, fcntl.LOCK_SH):
            problem = _in_use(folder, self._file)
            os.close(self._file)
            raise problem

    def release(self) -> None:
        """Let a process own the folder."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _is_free(file: int, how: int) -> bool:
    """Whether a lock can be had, in this way; then it is."""
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _in_use(folder: Path, file: int) -> InUse:
    pid = os.pread(file, 32, 0).decode(errors="replace").strip() or "?"
    return InUse(f"{folder} is in use by process {pid}: join that mesh, or choose another folder")
