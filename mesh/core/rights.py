"""Rights: what the holder of a key may be, and may ask for.

Who connects by TCP bears the role that its key was given out for (`transport/keys.py`); who comes
by the socket in the owner's own folder is the owner, and an *admin*. A *client* submits, looks,
fetches and cancels; a *worker* runs tasks and says what became of them; an admin does both, and
ends the mesh. What is not named here is not allowed. Roles keep strangers out and mistakes small:
who may submit tasks runs code as the workers' user.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..protocol import messages as m
from ..protocol.shape import is_session

if TYPE_CHECKING:
    from .peers import Peer

ADMIN, CLIENT, WORKER = "admin", "client", "worker"

#: Key's role → what its holder may join as.
_MAY_BE = {
    ADMIN: frozenset({CLIENT, WORKER}),
    CLIENT: frozenset({CLIENT}),
    WORKER: frozenset({WORKER}),
}

#: What each who has joined may say.
_BOTH = {m.Bye, m.Beat, m.Error, m.Fetched, m.Relay}
_MAY_SAY: dict[str, frozenset[type[m.Message]]] = {
    CLIENT: frozenset({*_BOTH, m.Function, m.Submit, m.Group, m.Put, m.Watch, m.Cancel, m.Ask}),
    WORKER: frozenset(
        {
            *(*_BOTH, m.Done, m.Returned, m.Report, m.Dropped, m.Copied, m.Where, m.Lost, m.Taken),
            *(m.Offer, m.Adopted, m.Closed),
        }
    ),
}

#: Questions that are orders, and about more than what the asker has submitted.
_ADMINS = frozenset({"stop", "prune", "renew", "forget workers"})


def taken_back() -> m.Error:
    """What is said to who has a key that nobody has any more."""
    return m.Error(
        "AccessDenied", "this key has been taken back: ask the mesh's owner for an access file"
    )


def refusal(hello: m.Hello, old: Peer | None, key_role: str) -> m.Error | None:
    """Why who says `hello` with a key of `key_role` may not join, if so. `old` is who has that
    identity now."""
    if not key_role:
        return taken_back()
    if hello.version_min > m.VERSION_MAX or hello.version_max < m.VERSION_MIN:
        return m.Error(
            "VersionMismatch",
            f"this router speaks protocol {m.VERSION_MIN} to {m.VERSION_MAX}, "
            f"you {hello.version_min} to {hello.version_max}: use the same Mesh version",
        )
    if hello.role not in (CLIENT, WORKER) or not is_session(hello.who):
        return m.Error("MeshError", f"no role {hello.role!r} of {hello.who!r}")
    if hello.role not in _MAY_BE[key_role]:
        return m.Error(
            "AccessDenied",
            f"this access file is for a {key_role}, and does not let a {hello.role} in: have one "
            f"made with `mesh access show --role {hello.role}`",
        )
    if hello.role == CLIENT and old is not None and old.incarnation != hello.incarnation:
        return m.Error("SessionTaken", f"session {hello.who} belongs to another client")
    return None


def may_say(role: str, message: type[m.Message]) -> bool:
    """Whether who has joined as `role` may send such a message to the router."""
    return message in _MAY_SAY[role]


def may_ask(key_role: str, what: str) -> bool:
    """Whether who has a key of `key_role` may ask this."""
    return key_role == ADMIN or what not in _ADMINS
