"""Extension: whether this process has been given more time since it began.

Who gave it its time is asked in a thread, for an answer may take seconds. Nothing is asked unless a
worker's core says so.
"""

from __future__ import annotations

import math
import os
import threading
from collections import deque
from collections.abc import Callable

from ..core.events import TimeLeft
from ..options import show_seconds
from ..transport.wake import Wake
from .walltime import Walltime, again


class Extension:
    """Asks, and wakes its owner by `wake` when it is `told`; `say` takes what came of it."""

    def __init__(self, wake: Wake, say: Callable[[str], None]) -> None:
        self._wake, self._say = wake, say
        self._answers: deque[Walltime | str | None] = deque()

    def ask(self) -> None:
        """Ask, once."""
        threading.Thread(target=self._ask, name="mesh-worker-time", daemon=True).start()

    def _ask(self) -> None:
        try:
            self._answers.append(again(os.environ))
        except (OSError, ValueError) as error:
            self._answers.append(str(error))
        self._wake.set()

    def told(self) -> list[TimeLeft]:
        """What has been answered since."""
        found = []
        while self._answers:
            answer = self._answers.popleft()
            if isinstance(answer, str):
                self._say(f"it is not known whether it has more time by now: {answer}")
            elif answer is None:
                self._say("its time has no end any more")
                found.append(TimeLeft(math.inf))
            else:
                self._say(f"its time ends in {show_seconds(answer.left_s)}, says {answer.by}")
                found.append(TimeLeft(answer.left_s))
        return found
