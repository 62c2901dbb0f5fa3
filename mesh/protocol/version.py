"""Version: what a process runs: which Mesh, which Python.

Functions and values travel as pickles, from clients to workers, back, and from worker to worker,
through a router that decodes nothing. A function by value is bytecode, which another minor version
of Python misreads, or dies of. So all who exchange pickles run the minor version of their router:
it is there first, and everybody meets it. Who only looks exchanges none.
"""

from __future__ import annotations

import platform
import sys
from typing import Any

#: The version of Mesh.
MESH = "0.1.0"

#: The version of Python that pickles depend on.
PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"


def own() -> dict[str, str]:
    """What this process runs, for HELLO: of Python the patch level, too."""
    return {"mesh": MESH, "python": platform.python_version()}


def minor(python: str) -> str:
    """``3.11`` of ``3.11.2``."""
    return ".".join(python.split(".")[:2])


def of(about: dict[str, Any], what: str) -> str:
    """The version of `what` that a peer runs, by what it says `about` itself; "" if it does not."""
    return str(about.get("versions", {}).get(what, ""))
