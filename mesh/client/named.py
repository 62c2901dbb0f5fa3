"""Named: what a user's text, an id, a prefix, an own id or "last", means on a mesh."""

from __future__ import annotations

from typing import NamedTuple

from ..errors import TaskNotFound
from ..store.meaning import CANDIDATES_MAX
from ..task import parse
from .source import Source


class Named(NamedTuple):
    """A task, or a group of so many (`size`) behind its own id."""

    kind: str
    session: str
    counter: int
    size: int

    def spans(self, connection: Source) -> list[tuple[str, int, int]]:
        """The tasks that this stands for, as (session, first, count)."""
        if self.kind == "task":
            return [(self.session, self.counter, 1)]
        about = {"session": self.session, "first": self.counter}
        older = connection.ask("group", about)["foreign"]
        own = (self.session, self.counter + 1, self.size)
        return [own, *((session, first, count) for _, session, first, count in older)]


def find(connection: Source, text: str, why: str) -> Named:
    """What `text` means. `why` says how the mesh was chosen.

    Raises:
        TaskNotFound: nothing, or it is a prefix of several ids; some of them are told.
        TypeError: it is no text.
    """
    if not isinstance(text, str):
        raise TypeError(f"an id is a string such as 'k3f9x2m7.17', not {text!r}")
    if not text:
        raise TaskNotFound("'' is no id: give one such as k3f9x2m7.17, your own, or last")
    own = parse(text)
    if own is not None and own[0] == connection.session:
        connection.flush(None)
    found = connection.ask("resolve", {"texts": [text]})[0]
    if found is None:
        raise TaskNotFound(f"no task or group {text!r} on mesh {connection.access.mesh} ({why})")
    kind, *about = found
    if kind == "several":
        told = ", ".join(about[:CANDIDATES_MAX])
        told += ", …" if len(about) > CANDIDATES_MAX else ""
        raise TaskNotFound(
            f"{text!r} is ambiguous on mesh {connection.access.mesh} ({why}): it may be {told}. "
            f"Give more of the id"
        )
    return Named(kind, *about)
