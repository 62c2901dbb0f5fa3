"""The entrance of a router: its one socket, where that listens, and who is let in.

It listens in the owner's own folder of sockets, and on TCP if it was told to, or if the mesh's keys
were made for that. Where else it is reached, through a gateway or by a public name, it is told.
The keys stay in the mesh's folder, so that an access file is good for as long
as the mesh is; the port stays, too, if nobody has taken it. What comes in is handed on with the
role of who has sent it.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import MeshError, RouterUnreachable, StoreError
from ..transport import access as access_files
from ..transport import interfaces, sockets
from ..transport.access import Access
from ..transport.door import Door
from ..transport.keys import ADMIN, Ring, ring_in
from ..transport.poller import Poller


def ring_of(folder: Path, access: Path) -> Ring | None:
    """The keys of the mesh in `folder`, or those that its access file was made with beforehand.

    Raises:
        AccessDenied: they cannot be read.
    """
    found = ring_in(folder)
    if found is None:
        beforehand = _ring_at(access)
        if beforehand is not None:
            beforehand.write(folder)
        return beforehand
    return found


def _ring_at(access: Path) -> Ring | None:
    try:
        keys = access_files.read(access).keys
    except RouterUnreachable:
        return None  # there is no such file
    return None if keys is None else keys.ring


class Entrance:
    """The entrance of the router of `mesh`, whose folder is `folder`. `ring` are its keys, if there
    are any; `listen` is a TCP address, or ``any`` of this host, or None. `advertise` are addresses
    by which it is reached as well: those of a tunnel, or of a gateway. They come first.

    Raises:
        MeshError: that cannot be bound, or strangers would be let in.
        StoreError: the keys are of another mesh.
    """

    def __init__(
        self,
        mesh: str,
        folder: Path,
        ring: Ring | None,
        listen: str | None,
        advertise: Iterable[str] = (),
    ) -> None:
        if ring is not None and ring.mesh != mesh:
            raise StoreError(
                f"the keys in {folder} or its access file are of mesh {ring.mesh}, its records of "
                f"mesh {mesh}: give it the folder or the file that it had, or another --name"
            )
        self._mesh, self._folder, self._ring = mesh, folder, ring
        self._folder_of_sockets = sockets.SocketFolder(mesh)
        self.context = sockets.context()
        self._door: Door | None = None
        self._listener: sockets.Listener | None = None
        try:
            self._listener = listener = sockets.Listener(
                self.context, self._folder_of_sockets.path / "router.sock"
            )
            self.addresses = [listener.path]
            wanted = listen or (ring.listen if ring is not None else None)
            elsewhere = tuple(advertise) or (ring.advertise if ring is not None else ())
            if wanted is not None:
                found = [*elsewhere, *self._listen(listener, wanted)]
                self.addresses += dict.fromkeys(found)
            elif elsewhere:
                raise MeshError(
                    f"nobody reaches {elsewhere[0]}, for this router does not listen on TCP: give "
                    f"--listen any, or tcp://HOST:PORT, as well; in Python listen="
                )
        except BaseException:
            self.close(0)
            raise

    def _listen(self, listener: sockets.Listener, wanted: str) -> list[str]:
        """Listen on TCP; by which addresses that is reached."""
        ring = self._ring if self._ring is not None else Ring.new(self._mesh)
        self._door = door = Door(self.context, ring.router)
        bound = _bind(listener, wanted, ring)
        door.prove(bound)
        door.let_in(ring.role_of())
        port = (interfaces.parse(bound) or ("", 0))[1]
        if ring is not self._ring or ring.port != port:
            ring = replace(ring, port=port)
            ring.write(self._folder)
        self._ring = ring
        return interfaces.published(bound)

    @property
    def roles(self) -> dict[str, str]:
        """The public keys that are let in, with the role of each."""
        return {} if self._ring is None else self._ring.role_of()

    def attend(self, poller: Poller) -> None:
        """Have `poller` wait for who comes."""
        assert self._listener is not None
        poller.add(self._listener.monitor, quiet=True)
        poller.add(self._listener.socket)
        if self._door is not None:
            poller.add(self._door.socket)

    def look(self, ready: set[Any]) -> bool:
        """Answer who is at the door; whether a connection was cut."""
        assert self._listener is not None
        if self._door is not None and self._door.socket in ready:
            self._door.answer()
        is_due = self._listener.monitor in ready or self._listener.is_shut
        return is_due and self._listener.look() > 0

    @property
    def is_shut(self) -> bool:
        """Whether newcomers by TCP have to wait: see `transport/gate.py`."""
        return self._listener is not None and self._listener.is_shut

    def receive(self) -> Iterator[tuple[bytes, list[bytes], str, bool]]:
        """What has come in: routing id, frames, the role of the sender, and whether by TCP."""
        assert self._listener is not None
        for peer, frames, key in self._listener.receive():
            if key is None:
                yield peer, frames, ADMIN, False
            else:
                yield peer, frames, self._door.role_of(key) if self._door is not None else "", True

    def send(self, peer: bytes, frames: list[Any]) -> bool:
        """Send to one peer; False if it is gone or does not read."""
        assert self._listener is not None
        return self._listener.send(peer, frames)

    def write(self, files: Iterable[Path]) -> Access:
        """Write access files for the owner; what they say."""
        keys = None if self._ring is None else self._ring.admin()
        host = socket.gethostname()
        access = Access(self._mesh, self.addresses, os.getpid(), str(self._folder), host, keys=keys)
        for file in files:
            ring = self._ring if _is_made_beforehand(file) else None
            replace(access, keys=None if keys is None else replace(keys, ring=ring)).write(file)
        return access

    def renew(self, files: Iterable[Path]) -> dict[str, str]:
        """The keys in the folder have changed: go by them from now on. Public key → role."""
        ring = ring_in(self._folder)
        if ring is not None and self._door is not None:
            self._ring = ring
            self._door.let_in(ring.role_of())
            self.write(files)
        return self.roles

    def close(self, linger_ms: int) -> None:
        """Nobody gets in any more. What was sent last has `linger_ms` to leave."""
        if self._listener is not None:
            self._listener.close(linger_ms)
        if self._door is not None:
            self._door.close()
        self.context.term()
        self._folder_of_sockets.leave()


def _bind(listener: sockets.Listener, wanted: str, ring: Ring) -> str:
    """Bind where `wanted` says; at the port of the last time, if any will do and it is free."""
    address = interfaces.numeric("tcp://*:0" if wanted == "any" else wanted)
    host, port = interfaces.parse(address) or ("", 0)
    if port == 0 and ring.port:
        try:
            return listener.listen(interfaces.show(host, ring.port), ring.router)
        except MeshError:
            pass  # somebody else has it now
    return listener.listen(address, ring.router)


def _is_made_beforehand(file: Path) -> bool:
    try:
        return _ring_at(file) is not None
    except MeshError:
        return False


def remove_own(file: Path) -> None:
    """Remove the access file, unless another router has written it since, or it was made before
    there was one."""
    try:
        data = json.loads(file.read_text())
        if data.get("pid") == os.getpid() and "ring" not in (data.get("keys") or {}):
            file.unlink()
    except (OSError, ValueError):
        pass  # gone already, or no longer ours to judge
