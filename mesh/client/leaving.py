"""Leaving: what becomes of a script's tasks, and of its own mesh, when it lets go of it.

Who leaves in order waits. Who leaves by an exception, or is interrupted as it waits, has its own
tasks cancelled. A further Ctrl-C shortens what is left to do, and keeps none of it from being done.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress

from ..core.guard import GRACE_S
from ..errors import MeshError
from ..processes.local import LocalMesh
from .connection import Connection
from .launcher import LEAVE_S, Launched, end_all
from .prompt import is_at_prompt

#: What was cancelled is told so within this.
CANCELLED_S = 5.0

#: An own router says within this that it stops: its answer may be lost with it.
STOPPED_S = 3.0

#: What was cancelled as it ran may clean up, as it may in a mesh that goes on.
CLEANED_UP_S = 2 * GRACE_S + 0.5

#: Who detaches has submitted everything within this, or is kept waiting by a mesh that is gone.
FLUSHED_S = 60.0

#: A script that has come to its end, and waits for longer than this, says what for.
SAID_AFTER_S = 1.0


class Leaving:
    """How one client leaves.

    Args:
        connection: the client's.
        local: the mesh that it has started, if it has.
        warn: takes a line that the user should see.

    Attributes:
        launched: what ends with this client.
        detached: whether what it has submitted goes on without it.
    """

    def __init__(
        self, connection: Connection, local: LocalMesh | None, warn: Callable[[str], None]
    ) -> None:
        self._connection = connection
        self._local = local
        self._warn = warn
        self.launched: Sequence[Launched] = []
        self.detached = False

    def leave(self, *, cancel: bool) -> None:
        """Wait for what was submitted, or `cancel` it; then let go of everything.

        Raises:
            KeyboardInterrupt: it was interrupted, and has cancelled what had not ended.
        """
        if not cancel:
            try:
                self._wait()
            except BaseException:  # Ctrl-C
                with suppress(KeyboardInterrupt):  # the next one shortens it, and is no news
                    self._end(cancel=True)
                raise
        self._end(cancel=cancel)
        if not (cancel or self.detached):
            self.tell_unseen()  # callbacks have had their look

    def tell_unseen(self) -> None:
        """Say of what failed, and nobody has looked at."""
        if (said := self._connection.unseen.words()) is not None:
            self._warn(said)

    def wait_aloud(self) -> None:
        """Wait for what was submitted, at the end of a script that does not say that it does."""
        waiting = self._connection.waiting
        if self.detached or waiting.wait_idle(SAID_AFTER_S):
            return
        count = sum(each for _, _, each in waiting.own_spans())
        if count:
            many = "a task" if count == 1 else f"{count:,} tasks"
            self._warn(f"waiting for {many} of this script; Ctrl-C cancels what has not ended")
        waiting.wait_idle()

    def cancel_own(self) -> None:
        """Cancel what this client has submitted, and hear that it has ended, unless it is gone."""
        if self.detached:
            return
        spans = self._connection.waiting.own_spans()
        if spans:
            self._connection.cancel(spans, running=True, timeout=CANCELLED_S)
            self._connection.waiting.wait_for_own(CANCELLED_S)

    def let_go(self, *, told: bool = False) -> None:
        """Let go of everything; children of ours that were not `told` to leave are ended."""
        local = self._local
        with ExitStack() as rest:  # the last one first, and all of them, whatever comes in between
            if not self.detached:  # those of a mesh that has ended leave by themselves
                patience_s = 0.0 if local is None else LEAVE_S
                rest.callback(end_all, self.launched, patience_s, self._warn)
            if local is not None:
                rest.callback(local.close, now=not told)
                rest.callback(local.begin_end)
            rest.callback(self._connection.close)

    def _wait(self) -> None:
        """Wait until nobody waits for this client any more."""
        if not self.detached:
            self._connection.waiting.wait_idle()
            return
        with suppress(MeshError):  # it is gone
            self._connection.flush(FLUSHED_S)

    def _end(self, *, cancel: bool) -> None:
        told = False
        try:
            if cancel:
                self.cancel_own()
            self._connection.shown()
            if self._local is not None:
                self._local.begin_end()
                self._connection.ask("stop", {"within_s": CLEANED_UP_S}, STOPPED_S)
                told = True
        except MeshError:
            pass  # the router is gone, and with it what there was to wait for or to stop
        finally:
            self.let_go(told=told)


def has_died() -> bool:
    """Whether this script ends by an exception that nobody has caught."""
    return not is_at_prompt() and getattr(sys, "last_value", None) is not None
