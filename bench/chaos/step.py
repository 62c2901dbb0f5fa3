"""A step of a client, and the calls in it: what the load is made of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

#: More than `inline_bytes` on both sides of it, and more than one chunk of a transfer.
SIZES = (9_000, 60_000, 300_000, 2_500_000)


class Take(NamedTuple):
    """What a call takes.

    Attributes:
        how: "future" of the call `key`; "group", all values of the group whose first call is
            `key`; "stored", some task of its own whose result stays with a worker, submitted up to
            a minute ago; or "other", some task that another client has submitted just now.
        key: of whom.
        number: which of the stored or others, counted around.
    """

    how: str
    key: str = ""
    number: int = 0


@dataclass(frozen=True)
class Call:
    """One call.

    Attributes:
        key: the harness's name of it.
        function: of `calls`; or "put", which is none: an object is left in the mesh.
        arguments: after `history` and `key`; "TRACE" stands for a file of its own.
        options: of the task.
        value: the fingerprint of what it gives, or None if it must fail, or if that depends on what
            it takes.
        error: the name of the class of its error, or None.
        cancel: "queued" (unless it runs) or "running" (also then): the client cancels it.
        takes: of "combine", what is combined.
        data: of "combine", and what else is, as a fingerprint.
    """

    key: str
    function: str
    arguments: tuple[Any, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)
    value: str | None = None
    error: str | None = None
    cancel: str | None = None
    takes: tuple[Take, ...] = ()
    data: str | None = None

    @property
    def is_stored(self) -> bool:
        """Whether what it gives stays with a worker."""
        sizes = [each for each in self.arguments[:2] if isinstance(each, int)]
        return self.function in ("large", "combine", "put") and sizes[0] >= SIZES[0]


@dataclass(frozen=True)
class Step:
    """What a client does at once: submits `calls`, as a group if there are several.

    Attributes:
        calls: of one function and with the same options, but for the ids.
        flush: whether it waits until they are recorded.
        ask_again: whether it asks by id for a task that ended before.
        pause_s: how long it does nothing afterwards, and before it cancels.
        more: whether what follows belongs to it: it comes at once, and what is to be cancelled is
            cancelled after that.
    """

    calls: list[Call]
    flush: bool
    ask_again: bool
    pause_s: float
    more: bool = False
