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


class Errands:
    """Wakes its owner by `wake` when it is `told`; `say` takes what came of it."""

    def __init__(self, wake: Wake, say: Callable[[str], None]) -> None:
        self._wake, self._say = wake, say
        self._told: deque[Any] = deque()

    def send(self, turn: WorkerTurn) -> None:
        """Ask what `turn` wants asked."""
        if turn.ask_time:
            self._send(self._time)
        for order in turn.dial:
            self._send(partial(self._dial, order))

    def _send(self, errand: Callable[[], Any]) -> None:
        def run() -> None:
            found = errand()
            if found is not None:
                self._told.append(found)
                self._wake.set()

        threading.Thread(target=run, name="mesh-worker-errand", daemon=True).start()

    def _time(self) -> TimeLeft | None:
        try:
            answer = again(os.environ)
        except (OSError, ValueError) as error:
            self._say(f"it is not known whether it has more time by now: {error}")
            return None
        if answer is None:
            self._say("its time has no end any more")
            return TimeLeft(math.inf)
        self._say(f"its time ends in {show_seconds(answer.left_s)}, says {answer.by}")
        return TimeLeft(answer.left_s)

    def _dial(self, order: Dial) -> Dialled:
        return Dialled(order.token, probe(order.addresses, Pair(order.public, order.secret)))

    def told(self) -> list[Any]:
        """What has been answered since, as events."""
        return [self._told.popleft() for _ in range(len(self._told))]
