"""Which mesh: what `Mesh(...)`'s arguments and the environment mean.

`access` joins that mesh; else `$MESH_ACCESS` joins; else a mesh is embedded: in `dir`, in the
default folder of `name`, or in a temporary folder. On a folder whose mesh is alive we join it.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import RouterUnreachable
from ..processes.alive import is_alive
from ..processes.cpus import cpus
from ..processes.litter import PREFIX
from ..processes.local import Plan
from ..store import folder as store_folder
from ..store.durability import Durability, level
from ..store.folder import default_root
from ..transport import access as access_files
from ..transport.access import Access
from ..transport.interfaces import is_dialled, parse

#: Who starts a mesh in a folder, or ends one there, has done so within this: what was there before
#: ends, and then router and worker begin.
CHANGING_S = 120.0

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class Place:
    """Where the mesh is: to join (`access`), or to embed (`folder`); `why` tells the user. In a
    `shared` folder others may start a mesh, too. `durability` is that of a mesh to embed."""

    access: Access | None
    folder: Path
    temporary: bool
    why: str
    durability: Durability = "disk"
    shared: bool = False

    def plan(
        self,
        slots: int | None,
        tasks_max: int | None,
        memory_max: int | None,
        settings: dict[str, Any] | None,
        listen: str | None,
        resources: dict[str, int] | None,
        threads: int | None,
        advertise: Sequence[str] | None,
    ) -> Plan:
        """What to start, to embed a mesh here; by default with a process for each CPU."""
        return Plan(
            self.folder,
            cpus() if slots is None else slots,
            listen=listen,
            durability=self.durability,
            temporary=self.temporary,
            tasks_max=tasks_max,
            memory_max=memory_max,
            resources=resources or {},
            threads=threads or 1,
            settings=settings or {},
            advertise=advertise or (),
        )


def find(
    access: str | os.PathLike[str] | None,
    folder: str | os.PathLike[str] | None,
    name: str | None,
    slots: int | None,
    durability: str | None,
    listen: str | None = None,
    resources: dict[str, int] | None = None,
    threads: int | None = None,
    advertise: Sequence[str] | None = None,
) -> Place:
    """The place that these arguments mean.

    Raises:
        ValueError: they contradict each other.
        RouterUnreachable, AccessDenied, VersionMismatch: the access file to join by cannot be used.
    """
    if access is not None:
        embedding: dict[str, object] = {
            "slots": slots,
            "dir": folder,
            "name": name,
            "durability": durability,
        }
        embedding |= {"listen": listen, "resources": resources, "threads": threads}
        embedding |= {"advertise": advertise}
        given = [name for name, value in embedding.items() if value is not None]
        if given:
            raise ValueError(
                f"access= joins a mesh that is there, {given[0]}= embeds one here: give one of them"
            )
        return _join(access_files.locate(access), f"access={os.fspath(access)!r}")
    if folder is not None and name is not None:
        raise ValueError("dir= and name= both say where the mesh is: give one of them")
    own = slots, folder, name, durability, listen, resources, threads, advertise
    embeds = any(value is not None for value in own)
    if not embeds and os.environ.get(access_files.ENVIRONMENT):
        return _join(access_files.locate(None), f"${access_files.ENVIRONMENT}")
    if listen is not None and listen != "any" and parse(listen) is None:
        raise ValueError(f"listen takes 'any' or 'tcp://HOST:PORT', not {listen!r}")
    _check_advertised(advertise, listen)
    lasting = level(durability, temporary=folder is None and name is None)
    if folder is not None:
        if not os.fspath(folder):
            raise ValueError("dir='' names no folder; '.' is the current one")
        path = Path(folder).expanduser().absolute()
        return _folder(path, f"dir={os.fspath(folder)!r}", lasting)
    if name is not None:
        return _folder(folder_of(name), f"name={name!r}", lasting)
    made = tempfile.mkdtemp(prefix=PREFIX, dir=Path(tempfile.gettempdir()))
    return Place(None, Path(made), True, "a temporary mesh", lasting)


@contextmanager
def settled(
    access: str | os.PathLike[str] | None,
    folder: str | os.PathLike[str] | None,
    name: str | None,
    slots: int | None,
    durability: str | None,
    listen: str | None = None,
    resources: dict[str, int] | None = None,
    threads: int | None = None,
    advertise: Sequence[str] | None = None,
) -> Iterator[Place]:
    """`find`, and nobody else starts a mesh in that place meanwhile, or ends one.

    Raises:
        StoreError: the folder cannot be used, or somebody else does so for too long.
        Exception: see `find`.
    """
    given = access, folder, name, slots, durability, listen, resources, threads, advertise
    place = find(*given)
    if not place.shared:
        try:
            yield place
        except BaseException:
            if place.temporary:  # interrupted before a mesh was there that would remove it
                shutil.rmtree(place.folder, ignore_errors=True)
            raise
        return
    if place.access is None:
        store_folder.make(place.folder)
        store_folder.prepare(place.folder)
    changing = store_folder.Lock(place.folder, "changing", CHANGING_S)
    try:
        yield find(*given)
    finally:
        changing.release()


def launching(
    access: str | os.PathLike[str] | None,
    embeds: Iterable[object],
    slots: int | None,
    listen: str | None,
) -> tuple[int | None, str | None]:
    """`slots` and `listen` of a mesh for which workers are launched: unless it is joined it listens
    for them, and has no slots of its own. `embeds`: what says, if given, that it is not."""
    embedding = any(each is not None for each in embeds)
    joins = access is not None or not embedding and os.environ.get(access_files.ENVIRONMENT)
    if joins:
        return slots, listen
    return 0 if slots is None else slots, listen or "any"


def at_least(least: int, name: str, value: int | None) -> int | None:
    """An argument that counts something, if it is given.

    Raises:
        TypeError: it is no integer.
        ValueError: it is less.
    """
    if value is not None and not isinstance(value, int):
        raise TypeError(f"{name} is an integer, not {value!r}")
    if value is not None and (isinstance(value, bool) or value < least):
        raise ValueError(f"{name} must be {least} or more, not {value!r}")
    return value


def folder_of(name: str) -> Path:
    """The default folder of the mesh called `name`.

    Raises:
        ValueError: it cannot be a folder's name.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"name={name!r}: letters, digits, '.', '_' and '-', at most 64")
    return default_root() / name


def _check_advertised(advertise: Sequence[str] | None, listen: str | None) -> None:
    if isinstance(advertise, str):
        raise ValueError(f"advertise={advertise!r}: give a list of addresses")
    for each in advertise or ():
        if not is_dialled(each):
            raise ValueError(
                f"advertise takes addresses that others dial, such as "
                f"'tcp://mesh.example.org:5555', not {each!r}"
            )
    if advertise and listen is None:
        raise ValueError("advertise= says where else a mesh is reached that listens: give listen=")


def _join(path: Path, why: str) -> Place:
    access = access_files.read(path)
    access_files.check_protocol(access)
    return Place(access, Path(access.folder or path.parent), False, why)


def _folder(folder: Path, why: str, durability: Durability) -> Place:
    path = folder / "access.json"
    if not path.exists():
        return Place(None, folder, False, why, durability, True)
    try:
        access = access_files.read(path)
    except RouterUnreachable:  # it has just gone
        return Place(None, folder, False, why, durability, True)
    if not is_alive(access):
        return Place(None, folder, False, why, durability, True)  # killed, or about to end
    access_files.check_protocol(access)
    return Place(access, folder, False, f"{why}, where a mesh is alive", shared=True)
