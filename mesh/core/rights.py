"""Rights: what the holder of a key may be, and may ask for.

Who connects by TCP bears the role that its key was given out for (`transport/keys.py`); who comes
by the socket in the owner's own folder is the owner, and an *admin*. A *client* submits, looks,
fetches and cancels; a *worker* runs tasks and says what became of them; an admin does both, and
ends the mesh. What is not named here is not allowed. Roles keep strangers out and mistakes small:
who may submit tasks runs code as the workers' user.

Who would exchange pickles must run the Python that the mesh runs (`protocol/version.py`): a worker
of another may not join, a client of another may look and cancel, and submits nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..protocol import messages as m
from ..protocol import version
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
    CLIENT: frozenset(
        {*_BOTH, m.Function, m.Submit, m.Group, m.Put, m.Watch, m.Cancel, m.Ask, m.Listen}
    ),
    WORKER: frozenset(
        {
            *(*_BOTH, m.Done, m.Returned, m.Report, m.Dropped, m.Copied, m.Where, m.Lost, m.Taken),
            *(m.Offer, m.Adopted, m.Closed, m.Printed, m.Dialled),
        }
    ),
}

#: What brings pickles into the mesh.
_PICKLED = frozenset({m.Function, m.Submit, m.Put})

#: Questions that are orders, and about more than what the asker has submitted.
_ADMINS = frozenset({"stop", "prune", "renew", "forget workers"})


def taken_back() -> m.Error:
    """What is said to who has a key that nobody has any more."""
    return m.Error(
        "AccessDenied", "this key has been taken back: ask the mesh's owner for an access file"
    )


def refusal(
    hello: m.Hello, old: Peer | None, key_role: str, runs: dict[str, str]
) -> m.Error | None:
    """Why who says `hello` with a key of `key_role` may not join, if so. `old` is who has that
    identity now; `runs` what the router runs."""
    if not key_role:
        return taken_back()
    if hello.version_min > m.VERSION_MAX or hello.version_max < m.VERSION_MIN:
        theirs = version.of(hello.about, "mesh")
        return m.Error(
            "VersionMismatch",
            f"this router speaks protocol {m.VERSION_MIN} to {m.VERSION_MAX}, "
            f"you {hello.version_min} to {hello.version_max}: use the same Mesh version"
            + (f" (it is {version.MESH} there, and {theirs} here)" if theirs else ""),
        )
    if hello.role not in (CLIENT, WORKER) or not is_session(hello.who):
        return m.Error("MeshError", f"no role {hello.role!r} of {hello.who!r}")
    if hello.role not in _MAY_BE[key_role]:  # what no key mends comes first: a doctor asks for it
        return mismatch(hello.about, runs) or m.Error(
            "AccessDenied",
            f"this access file is for a {key_role}, and does not let a {hello.role} in: have one "
            f"made with `mesh access show --role {hello.role}`",
        )
    if hello.role == CLIENT and old is not None and old.incarnation != hello.incarnation:
        return m.Error("SessionTaken", f"session {hello.who} belongs to another client")
    return mismatch(hello.about, runs) if hello.role == WORKER else None


def mismatch(about: dict[str, Any], runs: dict[str, str]) -> m.Error | None:
    """Why who says this `about` itself cannot exchange pickles with a mesh whose router `runs`
    this, if so. Who says nothing is not judged."""
    theirs, ours = version.of(about, "python"), runs.get("python", "")
    if not theirs or not ours or version.minor(theirs) == version.minor(ours):
        return None
    return m.Error(
        "VersionMismatch",
        f"this mesh runs Python {version.minor(ours)} ({ours} at its router), and you run "
        f"{theirs}: what is pickled needs the same minor version on both sides. Start this one "
        f"with Python {version.minor(ours)}, or the mesh with Python {version.minor(theirs)}",
    )


def objection(peer: Peer, message: type[m.Message]) -> m.Error | None:
    """Why who has joined may not send such a message to the router, if so."""
    if message not in _MAY_SAY[peer.role]:
        text = f"{message.__name__} is not for a {peer.role} to say to a router"
        return m.Error("MeshError", text)
    return peer.mismatch if message in _PICKLED else None


def may_ask(key_role: str, what: str) -> bool:
    """Whether who has a key of `key_role` may ask this."""
    return key_role == ADMIN or what not in _ADMINS
