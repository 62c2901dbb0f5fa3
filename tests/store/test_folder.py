"""A store's folder: whose it is, where it lies, and that it has one owner."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import types
from pathlib import Path

import pytest

from mesh.errors import StoreError
from mesh.store import folder
from mesh.store.folder import (
    NETWORK_FILE_SYSTEMS,
    InUse,
    Lock,
    Share,
    file_system_of,
    is_abandoned,
    prepare,
    vacate,
)

MOUNTS = """\
22 1 259:2 / / rw,relatime shared:1 - ext4 /dev/nvme0n1p2 rw
23 22 0:21 / /proc rw,nosuid shared:2 - proc proc rw
24 22 0:40 / /home rw shared:3 - nfs4 server:/home rw,vers=4.2
25 24 0:41 / /home/local rw shared:4 - xfs /dev/sdb1 rw
26 22 0:42 / /lustre rw - lustre 10.0.0.1@tcp:/scratch rw
27 22 0:43 / /mnt/my\\040data rw - fuse.sshfs me@host: rw
28 22 0:44 / /mnt/donn\303\251es rw - cifs //server/share rw
29 22 0:45 / /over rw - fuse.fuse-overlayfs overlay rw
30 22 0:46 / /home2 rw - tmpfs tmpfs rw
31 22 0:47 / /lustre rw - ext4 /dev/sdc1 rw
broken line
32 22 0:48 /
"""


@pytest.fixture
def mounts(tmp_path: Path) -> Path:
    file = tmp_path / "mountinfo"
    file.write_bytes(MOUNTS.encode("latin-1"))
    return file


def test_a_folder_is_made_for_its_owner_alone(tmp_path: Path):
    made = tmp_path / "a" / "b"

    prepare(made)

    assert made.stat().st_mode & 0o777 == 0o700


def test_a_folder_that_others_could_enter_is_closed(tmp_path: Path):
    tmp_path.chmod(0o755)

    prepare(tmp_path)

    assert tmp_path.stat().st_mode & 0o777 == 0o700


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path):
    (tmp_path / "file").touch()

    with pytest.raises(StoreError, match=r"file/mesh cannot be made: .*Choose another folder"):
        prepare(tmp_path / "file" / "mesh")
    with pytest.raises(StoreError, match=r"file cannot be made: File exists"):
        prepare(tmp_path / "file")


def test_a_folder_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(os, "getuid", lambda: 4242)

    with pytest.raises(StoreError, match=r"belongs to another user \(uid \d+\): choose your own"):
        prepare(tmp_path)


def test_a_folder_that_cannot_be_written_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(os, "access", lambda path, mode: not mode & os.W_OK)

    with pytest.raises(StoreError, match="is read-only: choose a folder that you can write to"):
        prepare(tmp_path)


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_a_folder_without_the_right_to_write_is_refused(tmp_path: Path):
    tmp_path.chmod(0o500)

    with pytest.raises(StoreError, match="is read-only"):
        prepare(tmp_path)


def test_a_read_only_file_system_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    read_only = types.SimpleNamespace(f_flag=os.ST_RDONLY)
    monkeypatch.setattr(os, "statvfs", lambda path: read_only)

    with pytest.raises(StoreError, match="is read-only"):
        prepare(tmp_path)


@pytest.mark.skipif(sys.platform != "linux", reason="reads mountinfo")
@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "ext4"),
        ("/tmp/x", "ext4"),
        ("/home", "nfs4"),
        ("/home/ada/mesh", "nfs4"),
        ("/home/local", "xfs"),
        ("/home/local/mesh", "xfs"),
        ("/home/locality", "nfs4"),
        ("/home2/ada", "tmpfs"),
        ("/mnt/my data/mesh", "fuse.sshfs"),
        ("/mnt/données/mesh", "cifs"),
        ("/lustre/a", "ext4"),  # what was mounted over it hides it
        ("/over/a", "fuse.fuse-overlayfs"),
    ],
)
def test_the_innermost_mount_tells_the_file_system(mounts: Path, path: str, kind: str):
    assert file_system_of(Path(path), mounts) == kind


def test_where_nothing_is_known_of_mounts_nothing_is_claimed(tmp_path: Path):
    assert file_system_of(tmp_path, tmp_path / "nowhere") == ""


@pytest.mark.parametrize("kind", sorted({*NETWORK_FILE_SYSTEMS, "fuse.s3fs", "fuse.rclone"}))
def test_a_network_file_system_is_refused_with_a_path_that_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
):
    mounts = tmp_path / "mountinfo"
    mounts.write_text(f"22 1 0:40 / / rw - {kind} server:/ rw\n")
    monkeypatch.setattr(folder, "file_system_of", lambda path: file_system_of(path, mounts))
    monkeypatch.setattr(sys, "platform", "linux")

    with pytest.raises(StoreError) as raised:
        prepare(tmp_path / "ising")

    assert f"network file system ({kind})" in str(raised.value)
    assert str(folder.default_root() / "ising") in str(raised.value)


@pytest.mark.parametrize("kind", ["ext4", "xfs", "tmpfs", "overlay", "fuse.fuse-overlayfs", ""])
def test_a_local_file_system_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str):
    monkeypatch.setattr(folder, "file_system_of", lambda path: kind)

    prepare(tmp_path / "ising")


def owner(path: Path) -> subprocess.Popen[str]:
    """Another process that owns the folder."""
    script = """if True:
        import pathlib, sys
        from mesh.store.folder import Lock
        lock = Lock(pathlib.Path(sys.argv[1]))
        print("mine", flush=True)
        sys.stdin.read()
    """
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None and process.stdout.readline() == "mine\n"
    return process


def test_a_folder_in_use_is_refused_and_its_owner_named(tmp_path: Path):
    with owner(tmp_path) as other:
        with pytest.raises(StoreError, match=rf"in use by process {other.pid}: join that mesh"):
            Lock(tmp_path)
        other.communicate("")

    Lock(tmp_path).release()


def test_the_death_of_an_owner_frees_its_folder(tmp_path: Path):
    with owner(tmp_path) as other:
        other.send_signal(signal.SIGKILL)

    Lock(tmp_path).release()


def test_a_lock_is_let_go_and_taken_again(tmp_path: Path):
    Lock(tmp_path).release()

    lock = Lock(tmp_path)

    assert (tmp_path / "owner").read_text() == str(os.getpid())
    lock.release()


def test_a_child_does_not_inherit_the_lock(tmp_path: Path):
    lock = Lock(tmp_path)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        lock.release()

        Lock(tmp_path).release()

        child.communicate(b"\n")


def test_who_reads_shares_a_folder_with_others_and_with_no_owner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(folder, "READ_S", 0.0)
    Share(tmp_path).release()  # nobody has ever owned it
    owner = Lock(tmp_path)
    with pytest.raises(InUse, match=f"in use by process {os.getpid()}"):
        Share(tmp_path)
    owner.release()
    first, second = Share(tmp_path), Share(tmp_path)
    first.release()
    with pytest.raises(InUse, match="is being read"):
        Lock(tmp_path)
    second.release()
    Lock(tmp_path).release()


def test_an_owner_waits_for_who_reads(tmp_path: Path):
    Lock(tmp_path).release()
    share = Share(tmp_path)
    owners: list[Lock] = []
    thread = threading.Thread(target=lambda: owners.append(Lock(tmp_path)))
    thread.start()
    share.release()
    thread.join(folder.READ_S / 2)
    [owner] = owners
    owner.release()


def test_a_full_disk_takes_no_lock_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        lock = Lock(tmp_path)
    with pytest.raises(InUse):
        Lock(tmp_path)
    lock.release()


def test_a_lock_that_cannot_be_made_is_told_with_its_place(tmp_path: Path):
    (tmp_path / "owner").mkdir()
    with pytest.raises(StoreError, match="owner cannot be made: Is a directory"):
        Lock(tmp_path)


def test_a_lock_that_was_let_go_closes_nothing_of_others(tmp_path: Path):
    lock = Lock(tmp_path)
    lock.release()
    with (tmp_path / "other").open("w") as other:  # has the number that the lock had
        lock.release()
        other.write("whole")
    assert (tmp_path / "other").read_text() == "whole"


def test_a_folder_is_abandoned_if_its_owner_is_gone(tmp_path: Path):
    assert not is_abandoned(tmp_path), "nobody ever owned it"
    lock = Lock(tmp_path)
    assert not is_abandoned(tmp_path)
    lock.release()
    assert is_abandoned(tmp_path)


def test_who_begins_in_a_folder_waits_for_what_its_former_owner_ran(tmp_path: Path):
    vacate(tmp_path, "router", "worker")
    for name in ("router", "worker"):
        (tmp_path / name).mkdir()
        held = Lock(tmp_path / name)
        waiting = threading.Thread(target=vacate, args=[tmp_path, "router", "worker"])
        waiting.start()
        held.release()
        waiting.join(20)
        assert not waiting.is_alive()
