"""Launchers as a mesh sees them: what starts workers for it elsewhere, and what was started.

Those of Mesh are in `mesh.launch`, a floor above; a site may have one of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

from ..errors import MeshError
from ..transport.access import Access

#: What leaves by itself may take so long for it, when its mesh has ended.
LEAVE_S = 5.0

#: So many are started, looked at or ended at once: each is a process here, such as ssh.
PARALLEL = 16


class Launched(Protocol):
    """Something that was launched."""

    def end(self, patience_s: float) -> None:
        """Give it so many seconds to leave by itself, and cancel it then.

        Raises:
            MeshError: it cannot be; it may still run.
        """


Ended = TypeVar("Ended", bound=Launched)


class Launcher(Protocol):
    """Starts workers."""

    def launch(self, access: Access) -> Sequence[Launched]:
        """Start workers of the mesh of `access`, an admin's.

        Raises:
            LaunchFailed: why it cannot.
        """


def end_all(
    launched: Iterable[Ended], patience_s: float, say: Callable[[str], None]
) -> list[Ended]:
    """End them all at once; what has been ended. `say` hears of what may still run."""

    def end(each: Launched) -> str:
        try:
            each.end(patience_s)
        except (MeshError, OSError) as error:
            return f"{each} may still run: {error}"
        return ""

    known = list(launched)
    with ThreadPoolExecutor(PARALLEL) as pool:
        try:
            found = list(pool.map(end, known))
        except RuntimeError:  # the interpreter ends, and begins no threads any more
            found = [end(each) for each in known]
    for why in filter(None, found):
        say(why)
    return [each for each, why in zip(known, found, strict=True) if not why]
