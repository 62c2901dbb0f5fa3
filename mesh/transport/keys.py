"""Keys: who a process is on a TCP socket, and what it may therefore do.

A mesh has one CURVE key pair for its router and one for each role: whoever holds that of a role may
do what the role may (`core/rights.py`). They are made once, as a `Ring` that stays in the router's
folder, or in an access file that was made beforehand. What else joins a mesh has `Keys`: the
router's public key and the pair of one role; an admin's those of the other roles, too, and can be
cut down to one of them.

Keys are text in Z85 (ZeroMQ RFC 32). No `repr` shows a secret.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..errors import AccessDenied, MeshError
from . import private

#: What keys are given out for; an admin may do everything.
ROLES = ADMIN, CLIENT, WORKER = "admin", "client", "worker"

SCHEMA = 1

#: Its name in the router's folder.
RING_FILE = "keys.json"

#: A key in Z85.
_KEY = re.compile(r"[0-9a-zA-Z.\-:+=^!/*?&<>()\[\]{}@%$#]{40}")


@dataclass(frozen=True)
class Pair:
    """A CURVE key pair."""

    public: str
    secret: str = field(repr=False)

    @classmethod
    def new(cls) -> Pair:
        """A fresh one.

        Raises:
            MeshError: this build of ZeroMQ has no CURVE.
        """
        import zmq

        if not zmq.has("curve"):
            raise MeshError(
                "this pyzmq was built without CURVE, so there is no TCP: install a wheel of it"
            )
        public, secret = zmq.curve_keypair()
        return cls(public.decode(), secret.decode())

    @classmethod
    def from_json(cls, value: Any) -> Pair:
        """What `as_json` gave; AccessDenied: that is none."""
        good = isinstance(value, list) and len(value) == 2 and all(map(_is_key, value))
        if not good:
            raise AccessDenied("a key pair is two texts of 40 characters")
        return cls(*value)

    def as_json(self) -> list[str]:
        """Public and secret key."""
        return [self.public, self.secret]


@dataclass(frozen=True)
class Keys:
    """What one role knows: the router's public key and its own pair; an admin those of `others`;
    `ring` is in a file that was made before its router, or None."""

    router: str
    role: str
    own: Pair
    others: dict[str, Pair] = field(default_factory=dict)
    ring: Ring | None = None

    def cut(self, role: str) -> Keys:
        """The keys of `role` alone.

        Raises:
            AccessDenied: these are not an admin's.
        """
        if role == self.role and not self.others:
            return self
        if role != self.role and role not in self.others:
            raise AccessDenied(f"keys of role {self.role} cannot be cut down to role {role}")
        return Keys(self.router, role, self.own if role == self.role else self.others[role])

    def as_json(self) -> dict[str, Any]:
        """For an access file."""
        data: dict[str, Any] = {
            "router": self.router,
            "role": self.role,
            "own": self.own.as_json(),
            "others": {role: pair.as_json() for role, pair in self.others.items()},
        }
        if self.ring is not None:
            data["ring"] = self.ring.as_json()
        return data

    @classmethod
    def from_json(cls, data: Any) -> Keys:
        """What `as_json` gave.

        Raises:
            AccessDenied: that is none.
        """
        if not isinstance(data, dict) or not _is_key(data.get("router")):
            raise AccessDenied("its keys have no router's key")
        others = data.get("others", {})
        if data.get("role") not in ROLES or not isinstance(others, dict):
            raise AccessDenied(f"its keys are of no role: {data.get('role')!r}")
        ring = data.get("ring")
        return cls(
            data["router"],
            data["role"],
            Pair.from_json(data.get("own")),
            {role: Pair.from_json(pair) for role, pair in others.items() if role in ROLES},
            None if ring is None else Ring.from_json(ring),
        )


@dataclass(frozen=True)
class Ring:
    """All the keys of the mesh `mesh`: its router's pair, and one of each role. Who made it before
    a router has also said where that is to `listen`, and what to `advertise`. `port` is where it
    listened last."""

    mesh: str
    router: Pair
    roles: dict[str, Pair]
    listen: str | None = None
    port: int = 0
    advertise: tuple[str, ...] = ()

    @classmethod
    def new(cls, mesh: str, listen: str | None = None, advertise: Iterable[str] = ()) -> Ring:
        """Fresh ones; MeshError: there is no CURVE."""
        roles = {role: Pair.new() for role in ROLES}
        return cls(mesh, Pair.new(), roles, listen, advertise=tuple(advertise))

    def renewed(self, roles: Iterable[str]) -> Ring:
        """With new pairs for `roles`: the old ones open nothing any more."""
        fresh = {role: Pair.new() for role in roles}
        return replace(self, roles=self.roles | fresh)

    def admin(self, *, whole: bool = False) -> Keys:
        """What an admin knows; `whole` with the ring itself."""
        others = {role: pair for role, pair in self.roles.items() if role != ADMIN}
        ring = self if whole else None
        return Keys(self.router.public, ADMIN, self.roles[ADMIN], others, ring)

    def role_of(self) -> dict[str, str]:
        """Public key → role."""
        return {pair.public: role for role, pair in self.roles.items()}

    def write(self, folder: Path) -> None:
        """Keep it in the router's folder; AccessDenied: it cannot be written."""
        private.write(folder / RING_FILE, self.as_json(), "key file")

    def as_json(self) -> dict[str, Any]:
        """For a file."""
        roles = {role: pair.as_json() for role, pair in self.roles.items()}
        return {
            "schema": SCHEMA,
            "mesh": self.mesh,
            "router": self.router.as_json(),
            "roles": roles,
            "listen": self.listen,
            "port": self.port,
            "advertise": list(self.advertise),
        }

    @classmethod
    def from_json(cls, data: Any) -> Ring:
        """What `as_json` gave.

        Raises:
            AccessDenied: that is none.
        """
        good = (
            isinstance(data, dict)
            and data.get("schema") == SCHEMA
            and isinstance(data.get("mesh"), str)
            and isinstance(data.get("roles"), dict)
            and set(data["roles"]) >= set(ROLES)
            and isinstance(data.get("listen"), str | None)
            and isinstance(data.get("port", 0), int)
            and isinstance(data.get("advertise", []), list)
        )
        if not good:
            raise AccessDenied("these are no keys of a mesh that this Mesh understands")
        roles = {role: Pair.from_json(data["roles"][role]) for role in ROLES}
        router = Pair.from_json(data.get("router"))
        elsewhere = tuple(map(str, data.get("advertise", [])))
        return cls(data["mesh"], router, roles, data.get("listen"), data.get("port", 0), elsewhere)


def ring_in(folder: Path) -> Ring | None:
    """The keys of the mesh in `folder`, if it has any.

    Raises:
        AccessDenied: they cannot be read, or others can read them.
    """
    path = folder / RING_FILE
    try:
        return Ring.from_json(private.read(path, "key file"))
    except FileNotFoundError:
        return None
    except AccessDenied as error:
        raise AccessDenied(f"{path}: {error}") from None


def _is_key(value: Any) -> bool:
    return isinstance(value, str) and _KEY.fullmatch(value) is not None
