"""The access file: how anything joins a mesh.

JSON, 0600, written atomically: the mesh's id, the addresses at which its router may be reached, the
keys of one role, the protocol it speaks. A name NAME stands for ``~/.mesh/NAME.json``. Whoever can
read the file can do what its role may, so one that others can read is refused.
"""

from __future__ import annotations

import os
import socket
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..errors import AccessDenied, MeshError, RouterUnreachable, VersionMismatch
from ..protocol.messages import VERSION_MAX, VERSION_MIN
from . import private
from .keys import Keys

SCHEMA = 1

ENVIRONMENT = "MESH_ACCESS"

#: A TCP connection on a quiet network is there in milliseconds; beyond this nobody listens.
CONNECT_S = 2.0

#: An access file that comes by standard input.
STDIN = "-"


@dataclass
class Access:
    """What an access file says.

    Attributes:
        mesh: the mesh's id.
        addresses: where its router may be reached, best first; none before it has been started.
        pid, host, folder: of the router.
        keys: for TCP; None in a mesh that does not listen there.
        path: the file that it was read from; not in it.
    """

    mesh: str
    addresses: list[str]
    pid: int = 0
    folder: str | None = None
    host: str = ""
    protocol: list[int] = field(default_factory=lambda: [VERSION_MIN, VERSION_MAX])
    schema: int = SCHEMA
    keys: Keys | None = None
    path: Path | None = None

    def as_json(self) -> dict[str, Any]:
        """For a file, or for a process that is to join."""
        data = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "path"}
        return data | {"keys": None if self.keys is None else self.keys.as_json()}

    @classmethod
    def from_json(cls, data: dict[str, Any], source: str = "this") -> Access:
        """What `as_json` gave; `source` says where it comes from.

        Raises:
            AccessDenied: that is none, or one of a later version.
        """
        try:
            known = {each: data[each] for each in cls.__dataclass_fields__ if each in data}
            keys = known.pop("keys", None)
            known.pop("path", None)
            access = cls(**known, keys=None if keys is None else Keys.from_json(keys))
            good = (
                type(access.mesh) is str
                and type(access.schema) is type(access.pid) is int
                and type(access.addresses) is list
                and type(access.host) is str
                and isinstance(access.folder, str | None)
                and list(map(type, access.protocol)) == [int, int]
                and all(
                    isinstance(each, str) and each.startswith(("ipc://", "tcp://"))
                    for each in access.addresses
                )
            )
        except (ValueError, TypeError, KeyError) as error:
            raise AccessDenied(f"{source} is no access file: {error}") from None
        if not (good and (access.addresses or access.keys)) or access.schema > SCHEMA:
            raise AccessDenied(f"{source} is no access file that this Mesh understands")
        return access

    def write(self, path: Path) -> None:
        """Write to `path`, so that a reader sees the old file or the new one.

        Raises:
            AccessDenied: it cannot be written.
        """
        private.write(path, self.as_json(), "access file")

    def again(self) -> Access:
        """What the file says by now, if it is still there and of the same mesh."""
        if self.path is None:
            return self
        try:
            found = read(self.path)
        except MeshError:
            return self
        return found if found.mesh == self.mesh else self

    @property
    def address(self) -> str:
        """Where its router is, for people: where others reach it, if they do."""
        far = [each for each in self.addresses if each.startswith("tcp://")]
        return (far or self.addresses or ["no address"])[0]

    def dialled(self) -> list[str]:
        """Its addresses as a `Dialer` takes them, those that can be reached from this host."""
        is_here = self.host in ("", socket.gethostname())
        found = []
        for address in self.addresses:
            if address.startswith("ipc://"):
                found += [address] if is_here or self.keys is None else []
            elif self.keys is not None:
                found.append(f"{address}#{self.keys.router}")
        return found

    def cut(self, role: str) -> Access:
        """An access with the keys of `role` alone, for somebody elsewhere.

        Raises:
            AccessDenied: there are no keys, or they are not an admin's.
        """
        if self.keys is None:
            raise AccessDenied(
                f"mesh {self.mesh} has no keys, for it is on this host alone: start it with "
                f"--listen any, or make keys for it with `mesh access new`"
            )
        return replace(self, keys=self.keys.cut(role))


def locate(given: str | os.PathLike[str] | None) -> Path:
    """The access file that `given` means: a file, a folder, a bare name; ``-`` for standard
    input; without it ``$MESH_ACCESS``, else ``~/.mesh/default.json``.

    Raises:
        AccessDenied: its folder cannot be entered.
    """
    text = os.fspath(given) if given is not None else os.environ.get(ENVIRONMENT) or "default"
    if text == STDIN:
        return Path(text)
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
    """The access file at `path`; that at ``-`` comes by standard input.

    Raises:
        RouterUnreachable: there is none: no mesh, or not yet.
        AccessDenied: it cannot be read, is not yours, or others can read it.
    """
    if str(path) == STDIN:
        said = "standard input"
        return Access.from_json(private.parse(sys.stdin.read(), said, "access file"), said)
    try:
        data = private.read(path, "access file")
    except FileNotFoundError:
        raise RouterUnreachable(
            f"no access file {path}: start a mesh with `mesh up`, or name another with --access"
        ) from None
    return replace(Access.from_json(data, str(path)), path=path)


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
    """Whether the router of `access` runs: it listens, and if it is of this host it is there.

    The kernel is asked, not the router: one that is busy or stopped is alive all the same.
    """
    addresses = [each.partition("#")[0] for each in access.dialled()]
    is_elsewhere = access.host not in ("", socket.gethostname())
    return (is_elsewhere or _is_running(access.pid)) and any(map(_listens, addresses))


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
