"""Source: what futures, groups and lists are told by: a connection to a router, or a mesh's folder.

What both can do in one way is here; see `Connection` and `ColdConnection` for the rest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from ..core.client import PAGE_TASKS
from ..protocol import outcome
from ..protocol.outcome import parse, parse_ref
from ..transport.access import Access

if TYPE_CHECKING:
    from .fetch import Into
    from .future import Future
    from .group import Group
    from .kept import Kept
    from .listening import Pieces
    from .waiting import Waiting

#: How long a question to the router may take.
ANSWER_S = 30.0


class Source:
    """See the module.

    Attributes:
        access: of the mesh.
        session: this client's; "" of one that submits nothing.
        waiting: who waits for which task.
        kept: where results stay that were asked for.
        is_in_with: whether a `with` ends this client: who is interrupted there leaves it, and has
            its tasks cancelled.
    """

    access: Access
    session: str
    waiting: Waiting
    kept: Kept | None
    is_in_with = False

    def ask(self, what: str, about: dict[str, Any], timeout: float | None = ANSWER_S) -> Any:
        """Ask the router, or what it would say.

        Raises:
            RouterUnreachable: no answer in time.
            MeshError: something is wrong.
        """
        raise NotImplementedError

    def fetch(self, ref: outcome.Ref, timeout: float | None = None, into: Into = bytearray) -> Any:
        """The bytes of a stored result.

        Raises:
            ResultLost, ResultUnreachable, TimeoutError: they cannot be had.
        """
        raise NotImplementedError

    def watch_task(self, session: str, counter: int) -> Future:
        """A future for a task that somebody submitted."""
        raise NotImplementedError

    def watch_group(self, group: Group) -> None:
        """Hear of a group that somebody submitted."""
        raise NotImplementedError

    def cancel(
        self, spans: list[tuple[str, int, int]], *, running: bool, timeout: float = ANSWER_S
    ) -> dict[str, int]:
        """Cancel tasks; the router's tally."""
        raise NotImplementedError

    def flush(self, timeout: float | None) -> bool:
        """Wait until all that was submitted is recorded; False if that took too long."""
        raise NotImplementedError

    def call(self, callback: Callable[[], None]) -> None:
        """Run a user's callback."""
        raise NotImplementedError

    def check_process(self) -> None:
        """Raise in a fork.

        Raises:
            RuntimeError: this process is a fork of the one that opened the mesh.
        """
        raise NotImplementedError

    def is_recorded(self, counter: int) -> bool:
        """Whether the router has acknowledged a task of this client."""
        raise NotImplementedError

    @property
    def no_room(self) -> str | None:
        """Why the router records nothing more just now, if so."""
        raise NotImplementedError

    def count(self, spans: list[tuple[str, int, int]]) -> dict[str, int]:
        """How many of these tasks are in each state that is not an end."""
        counts: Counter[str] = Counter()
        for at in range(0, len(spans), PAGE_TASKS):
            counts.update(self.ask("count", {"spans": spans[at : at + PAGE_TASKS]}))
        return counts

    def follow(self, session: str, counter: int) -> AbstractContextManager[Pieces]:
        """What a task prints while that lasts, and what its run has printed before, in pieces."""
        raise NotImplementedError

    def look(self, session: str, first: int, count: int = 1) -> None:
        """Somebody has seen how these tasks ended."""

    def shown(self) -> None:
        """Wait until what own tasks have printed is shown, as far as it has been heard of."""

    def log_of(self, body: Any) -> tuple[float, bytes]:
        """When the run began that has this outcome (unix time), and what it printed."""
        found = parse(body)
        log = found.log
        if found.flags & outcome.LOG_STORED:
            log = bytes(self.fetch(parse_ref(log)))
        return found.begun, log
