"""Member: a member of a group as an argument."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..protocol import inputs
from ..task import show

if TYPE_CHECKING:
    from .group import Group


class Member:
    """A member of a group as an argument: as good as its future there, and much lighter."""

    __slots__ = ("_group", "_index")

    def __init__(self, group: Group, index: int) -> None:
        self._group, self._index = group, index

    def reference(self) -> tuple[bytes, str]:
        """Which task of which mesh it is."""
        return self._group.reference(self._index)

    def __reduce__(self) -> Any:
        return inputs.refer(*self.reference(), self._group)

    @property
    def meaning(self) -> str:
        """See `Future.meaning`."""
        alias = self._group.alias_of(self._index)
        return show(*self._group.task_of(self._index)) if alias is None else alias


inputs.REFERRING.add(Member)
