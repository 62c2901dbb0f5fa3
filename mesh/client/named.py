"""Named: what a user's text means on a mesh: an id, a prefix, an own id, a group's name, "last"."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..errors import TaskNotFound
from ..store.meaning import CANDIDATES_MAX
from ..task import parse
from . import roll
from .source import Source


class Named(NamedTuple):
    """A task, or a group of so many (`size`) behind its own id."""

    kind: str
    session: str
    counter: int
    size: int

    def spans(self, connection: Source) -> list[tuple[str, int, int]]:
        """The tasks that this stands for, as (session, first, count)."""
        own = (self.session, self.counter + (self.kind == "group"), self.size)
        return [
            own,
            *((session, first, count) for _, session, first, count in self._older(connection)),
        ]

    def members(self, connection: Source) -> list[tuple[str, int, int]]:
        """The same, but each once and in their order."""
        own = self.counter + (self.kind == "group")
        return roll.members(self.session, own, self.size, self._older(connection))

    def _older(self, connection: Source) -> list[list[Any]]:
        """The members of a group that are older tasks."""
        if self.kind == "task":
            return []
        about = {"session": self.session, "first": self.counter}
        older: list[list[Any]] = connection.ask("group", about)["foreign"]
        return older


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
