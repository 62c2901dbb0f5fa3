"""Descriptors: makes sure that this process may open as many as it will need.

libzmq that gets none ends the process, or tries again for ever and says nothing: a worker with too
few would look alive and be mute. So whoever is about to open sockets reserves first. Routers and
workers wish for as many as are allowed. What runs users' code has the limit that the user gave it:
tasks may use `select`, and what they start may close all it might have. So slots put it back, and a
client raises it no further than is needed.
"""

from __future__ import annotations

import os
import resource
from contextlib import suppress

from ..errors import MeshError

#: The soft limit that this process was started with.
AT_START = resource.getrlimit(resource.RLIMIT_NOFILE)[0]

#: What a client opens: its sockets, and those of a connection to a holder of results. For as many
#: of these as are kept at once it would like to have some more: each takes four.
CLIENT = 20
CLIENT_FETCHES = 64

#: What is said of a limit that there is none of: more than any kernel has.
UNLIMITED = 2**31 - 1

#: With more than this part of the limit in use it is time to say so.
SCARCE_PART = 0.75

#: What a router opens at least: its store, its sockets, the connections of a few peers. Each
#: further peer needs one.
ROUTER = 24


def of_worker(slots: int) -> int:
    """What a worker opens: its store, its sockets, a few connections that fetch, what starting a
    process needs, both ends of the pair to each slot, its slate, and the pipe for what it says."""
    return 28 + 4 * slots


def usage() -> tuple[int, int]:
    """How many are open here, and how many may be."""
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return _open_now(soft), UNLIMITED if soft == resource.RLIM_INFINITY else soft


def is_scarce(count: int, limit: int) -> bool:
    """Whether few are left, by what `usage` said."""
    return count > limit * SCARCE_PART


def put_back(limit: int) -> None:
    """From now on at most so many are open here: for users' code."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):  # the hard limit is lower by now
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))


def reserve(count: int, who: str, wished: int = 0) -> None:
    """Make sure that `who` can open `count` more descriptors, and `wished` if that is allowed.

    Raises:
        MeshError: the hard limit does not allow as many.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return
    open_now = _open_now(soft)
    needed = open_now + count
    most = max(needed, open_now + wished)
    for limit in (most, min(most, hard), needed):
        if limit > soft and limit >= needed:
            try:
                resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
                return
            except (OSError, ValueError):
                continue  # more than the hard limit, or than macOS allows whatever that says
    if needed > soft:
        raise MeshError(
            f"{who} needs {needed} open files, and only {soft} are allowed here: raise the limit "
            f"(ulimit -n {needed})"
        )


def _open_now(limit: int) -> int:
    try:
        return len(os.listdir("/dev/fd"))
    except OSError:
        return limit  # not even one is left to look with
