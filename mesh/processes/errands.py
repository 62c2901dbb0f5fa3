"""Errands: what a worker asks of others that may take seconds, each in a thread of its own: whether
it has been given more time since it began, and whether others can be reached from here.

Nothing is asked unless its core says so.
"""

from __future__ import annotations

import math
import os
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from ..core.events import Dialled, TimeLeft, WorkerTurn
from ..options import show_seconds
from ..protocol.dialling import Dial
from ..transport.keys import Pair
from ..transport.probe import probe
from ..transport.wake import Wake
from .walltime import again

#: What is said of what went wrong has so many characters.
WHY_CHARS = 300


class Errands:
    """Wakes its owner by `wake` when it is `told`; `say` takes what came of it."""

    def __init__(self, wake: Wake, say: Callable[[str], None]) -> None:
        self._wake, self._say = wake, say
        self._done: deque[tuple[str, Any]] = deque()  # what there is to say, and an event or None

    def send(self, turn: WorkerTurn) -> None:
        """Ask what `turn` wants asked."""
        if turn.ask_time:
            self._send(_time)
        for order in turn.dial:
            self._send(partial(_dial, order))

    def _send(self, errand: Callable[[], tuple[str, Any]]) -> None:
        def run() -> None:
            self._done.append(errand())
            self._wake.set()

        try:
            threading.Thread(target=run, name="mesh-worker-errand", daemon=True).start()
        except RuntimeError as error:  # this user may have no more threads
            self._say(f"nothing can be asked now: {error}")

    def told(self) -> list[Any]:
        """What has been answered since, as events."""
        events = []
        while self._done:
            said, event = self._done.popleft()
            if said:
                self._say(said)
            if event is not None:
                events.append(event)
        return events


def _time() -> tuple[str, TimeLeft | None]:
    try:
        answer = again(os.environ)
    except (OSError, ValueError) as error:
        return f"it is not known whether it has more time by now: {error}", None
    if answer is None:
        return "its time has no end any more", TimeLeft(math.inf)
    said = f"its time ends in {show_seconds(answer.left_s)}, says {answer.by}"
    return said, TimeLeft(answer.left_s)


def _dial(order: Dial) -> tuple[str, Dialled]:
    try:
        came = probe(order.addresses, Pair(order.public, order.secret))
    except Exception as error:  # of whatever kind: who asks waits for an answer
        came = dict.fromkeys(order.addresses, f"{type(error).__name__}: {error}"[:WHY_CHARS])
    return "", Dialled(order.token, came)
