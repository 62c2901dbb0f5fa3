"""The access file: how anything joins a mesh.

JSON, 0600, written atomically: the mesh's id, the addresses at which its router may be reached, the
keys of one role, the protocol it speaks. A name NAME stands for ``~/.mesh/NAME.json``. Whoever can
read the file can do what its role may, so one that others can read is refused.
"""

from __future__ import annotations

import os
import shlex
import socket
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..errors import AccessDenied, MeshError, RouterUnreachable, VersionMismatch
from ..protocol.messages import VERSION_MAX, VERSION_MIN
from . import private
from .keys import Keys, Pair

SCHEMA = 1

ENVIRONMENT = "MESH_ACCESS"

#: In the folder of a mesh.
FILE_NAME = "access.json"

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

    @property
    def own(self) -> Pair | None:
        """The key pair of who joins by it; None in a mesh that has none."""
        return None if self.keys is None else self.keys.own

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
        try:
            return replace(self, keys=self.keys.cut(role))
        except AccessDenied as error:
            raise AccessDenied(
                f"{self.path or 'this access file'}: {error}. Give an admin's, which is "
                f"~/.mesh/NAME.json where the mesh was started, or ask who has that for what "
                f"`mesh access show --role {role}` makes"
            ) from None


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
            return path / FILE_NAME
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
        start, others = "mesh up", ", or say which one (--access, --dir; in Python access=, dir=)"
        if path.name == FILE_NAME:
            start, others = f"mesh up --dir {shlex.quote(str(path.parent))}", ""
        raise RouterUnreachable(
            f"no access file {path}: start a mesh with `{start}`{others}"
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
