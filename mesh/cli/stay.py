"""How long a worker stays, by its options and its batch manager."""

from __future__ import annotations

import functools
import math
import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from ..options import show_seconds
from .amounts import Duration

if TYPE_CHECKING:
    from ..core.term import Term


class Stay(NamedTuple):
    """What the options say, in seconds; None: nothing."""

    time_limit: float | None
    leave_before: float | None
    idle_timeout: float | None
    router_timeout: float

    def options(self, say: Callable[[str], None]) -> dict[str, Any]:
        """What a worker is told of it, that begins now."""
        return {"term": self._term(say), "router_timeout_s": self.router_timeout}

    def _term(self, say: Callable[[str], None]) -> Term:
        """Without a limit its manager is asked; `say` hears of that."""
        from ..core.term import Term
        from ..processes.walltime import Walltime, find

        idle_s = math.inf if self.idle_timeout is None else self.idle_timeout
        if self.time_limit is None:
            found = find(os.environ, say)
        else:
            found = Walltime(self.time_limit, "--time-limit")
        if found is None:
            return Term(idle_timeout_s=idle_s)
        before_s = found.leave_before_s if self.leave_before is None else self.leave_before
        say(
            f"its time ends in {show_seconds(found.left_s)}, says {found.by}: it leaves "
            f"{show_seconds(before_s)} before"
        )
        ends_at, asks = time.monotonic() + found.left_s, self.time_limit is None
        return Term(ends_at, before_s, idle_s, asks=asks)


def stay_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--time-limit``, ``--leave-before``, ``--idle-timeout`` and ``--router-timeout``, as the
    argument `stay`."""

    @click.option(
        "--time-limit",
        type=Duration(),
        metavar="TIME",
        help="Its time ends then, such as 3600, 12h or 1-02:03:04. Default: as Slurm or PBS says.",
    )
    @click.option(
        "--leave-before",
        type=Duration(),
        metavar="TIME",
        help="So long before that it takes no more tasks; half-way from there, what still runs is "
        "interrupted, and runs elsewhere. Default: a minute, or a tenth of a shorter time.",
    )
    @click.option(
        "--idle-timeout",
        type=Duration(),
        metavar="TIME",
        help="Leave after so long without a task (exit code 0). Default: never.",
    )
    @click.option(
        "--router-timeout",
        type=click.FloatRange(min=0, min_open=True),
        default=60.0,
        show_default=True,
        metavar="SECONDS",
        help="Leave after so long without a router (exit code 3).",
    )
    @functools.wraps(command)
    def staying(
        *args: Any,
        time_limit: float | None,
        leave_before: float | None,
        idle_timeout: float | None,
        router_timeout: float,
        **kwargs: Any,
    ) -> Any:
        stay = Stay(time_limit, leave_before, idle_timeout, router_timeout)
        return command(*args, stay=stay, **kwargs)

    return staying
