"""Alive: whether a mesh is there to be joined, and whether one may begin in its place.

Nobody is asked who could be busy: the kernel knows who runs, who listens and who holds a lock.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

from ..errors import MeshError, RouterUnreachable
from ..store import folder as store_folder
from ..transport import access as access_files
from ..transport.access import Access

#: A TCP connection on a quiet network is there in milliseconds; beyond this nobody listens.
CONNECT_S = 2.0


def is_alive(access: Access) -> bool:
    """Whether the mesh of `access` lives: its router listens; if it is of this host it is there,
    and so is the owner of its folder, without whom it is about to end.

    The kernel is asked, not the router: one that is busy or stopped is alive all the same.
    """
    if access.host in ("", socket.gethostname()):
        if not _is_running(access.pid):
            return False
        if access.folder is not None and store_folder.is_abandoned(Path(access.folder)):
            return False
    return any(_listens(each.partition("#")[0]) for each in access.dialled())


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
        access = access_files.read(path)
    except RouterUnreachable:
        return
    if is_alive(access):
        shown = path.stem if path.parent == access_files.home() else path
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
