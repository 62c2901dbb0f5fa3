"""The access file: how anything joins a mesh.

JSON, 0600, written atomically: the mesh's id, the router's addresses, the protocol it speaks. A
name NAME stands for ``~/.mesh/NAME.json``. Whoever can read the file can run code as the mesh's
user, so one that others can read is refused.
"""

from __future__ import annotations

import json
import os
import socket
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..errors import AccessDenied, MeshError, RouterUnreachable, VersionMismatch
from ..protocol.messages import VERSION_MAX, VERSION_MIN

SCHEMA = 1

ENVIRONMENT = "MESH_ACCESS"

#: A TCP connection on a quiet network is there in milliseconds; beyond this nobody listens.
CONNECT_S = 2.0


@dataclass
class Access:
    """What an access file says."""

    mesh: str
    addresses: list[str]
    pid: int = 0
    folder: str | None = None
    host: str = ""
    protocol: list[int] = field(default_factory=lambda: [VERSION_MIN, VERSION_MAX])
    schema: int = SCHEMA

    def write(self, path: Path) -> None:
        """Write to `path`, so that a reader sees the old file or the new one.

        Raises:
            AccessDenied: it cannot be written.
        """
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with open(descriptor, "w") as file:
                json.dump(asdict(self), file, indent=1)
                file.flush()
                os.fsync(file.fileno())
            os.replace(draft, path)
        except OSError as error:
            raise AccessDenied(
                f"access file {path} cannot be written: {error.strerror}. Choose another"
            ) from error


def locate(given: str | os.PathLike[str] | None) -> Path:
    """The access file that `given` means: a file, a folder, a bare name; without it
    ``$MESH_ACCESS``, else ``~/.mesh/default.json``.

    Raises:
        AccessDenied: its folder cannot be entered.
    """
    text = os.fspath(given) if given is not None else os.environ.get(ENVIRONMENT) or "default"
    path = Path(text).expanduser()
    try:
        if path.is_dir():
            return path / "access.json"
        is_there = path.exists()
    except PermissionError as error:
        raise AccessDenied(f"access file {path} cannot be read: {error.strerror}") from error
    if is_there or os.sep in text or text.endswith(".json"):
        return path
    return home() / f"{text}.json"


def home() -> Path:
    """Where the access files of named meshes are."""
    return Path("~/.mesh").expanduser()


def read(path: Path) -> Access:
    """The access file at `path`.

    Raises:
        RouterUnreachable: there is none: no mesh, or not yet.
        AccessDenied: it cannot be read, is not yours, or others can read it.
    """
    try:
        stat = path.stat()
        text = path.read_text(errors="replace")
    except FileNotFoundError:
        raise RouterUnreachable(
            f"no access file {path}: start a mesh with `mesh up`, or name another with --access"
        ) from None
    except OSError as error:
        raise AccessDenied(f"access file {path} cannot be read: {error.strerror}") from error
    if stat.st_uid != os.getuid():
        raise AccessDenied(f"access file {path} belongs to uid {stat.st_uid}, not to you")
    if stat.st_mode & 0o077:
        raise AccessDenied(f"access file {path} can be read by others: chmod 600 {path}")
    try:
        data: dict[str, Any] = json.loads(text)
        known = {name: data[name] for name in Access.__dataclass_fields__ if name in data}
        access = Access(**known)
        good = (
            type(access.mesh) is str
            and type(access.schema) is type(access.pid) is int
            and type(access.addresses) is list
            and list(map(type, access.protocol)) == [int, int]
            and all(
                isinstance(each, str) and each.startswith(("ipc://", "tcp://"))
                for each in access.addresses
            )
        )
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise AccessDenied(f"{path} is no access file: {error}") from None
    if not (good and access.addresses) or access.schema > SCHEMA:
        raise AccessDenied(f"{path} is no access file that this Mesh understands")
    return access


def check_protocol(access: Access) -> None:
    """Make sure that the mesh of `access` can be spoken to.

    Raises:
        VersionMismatch: it speaks other versions of the protocol.
    """
    low, high = access.protocol
    if low > VERSION_MAX or high < VERSION_MIN:
        raise VersionMismatch(
            f"mesh {access.mesh} speaks protocol {low} to {high}, this Mesh {VERSION_MIN} to "
            f"{VERSION_MAX}: use the same Mesh version"
        )


def is_alive(access: Access) -> bool:
    """Whether the router of `access` runs on this host: its process is there, and listens.

    The kernel is asked, not the router: one that is busy or stopped is alive all the same.
    """
    return _is_running(access.pid) and any(map(_listens, access.addresses))


def _is_running(pid: int) -> bool:
    try:
        if pid:
            os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # somebody else's, and there
    return True


def _listens(address: str) -> bool:
    kind, _, target = address.partition("://")
    try:
        if kind == "ipc":
            with socket.socket(socket.AF_UNIX) as dialled:
                dialled.setblocking(False)
                dialled.connect(target)
        else:
            host, _, port = target.rpartition(":")
            socket.create_connection((host.strip("[]"), int(port)), CONNECT_S).close()
    except BlockingIOError:
        return True  # so many are dialling that its backlog is full
    except (OSError, ValueError):
        return False
    return True


def claim(path: Path) -> None:
    """Make sure that an access file may be written at `path`.

    Raises:
        MeshError: a mesh that lives, or may live on another host, is joined by that file.
        AccessDenied: what is there is no access file of ours.
    """
    try:
        access = read(path)
    except RouterUnreachable:
        return
    if is_alive(access):
        shown = path.stem if path.parent == home() else path
        raise MeshError(
            f"mesh {access.mesh} is running here (router process {access.pid}): join it with "
            f"--access {shown}, stop it with `mesh stop --access {shown}`, or give another --name"
        )
    here = socket.gethostname()
    if access.host not in ("", here):
        raise MeshError(
            f"{path} is of a mesh on host {access.host}, and whether that lives cannot be seen "
            f"from {here}: stop it there, give another --name, or replace the file with --takeover"
        )
