"""Descriptors: makes sure that this process may open as many as it will need.

libzmq that gets none ends the process, or tries again for ever and says nothing: a worker with too
few would look alive and be mute. So whoever is about to open sockets reserves first. It must not
raise the limit further than is needed: slots inherit it, and tasks may use `select`.
"""

from __future__ import annotations

import os
import resource

from ..errors import MeshError

#: What a client opens: its sockets, and those it fetches with.
CLIENT = 20

#: What a router opens at least: its store, its sockets, the connections of a few peers. Each
#: further peer needs one.
ROUTER = 24


def of_worker(slots: int) -> int:
    """What a worker opens: its store, its sockets, a few connections that fetch, what starting a
    process needs, both ends of the pair to each slot, and the pipe for what it says."""
    return 28 + 3 * slots


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
    for limit in [open_now + wished, hard, needed] if wished else [needed]:
        if limit > soft:
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
