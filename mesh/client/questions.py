"""Questions: what the router is asked or ordered, and its answers.

A script's threads ask and wait; the I/O thread sends what was asked, and hands out what was
answered. Who waits no more is not answered later, and what was not sent by then is not done.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from concurrent.futures import Future as PlainFuture
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any

from .. import errors
from ..errors import MeshError
from ..protocol.message import Message


class Questions:
    """Those of one client. `wake` is called when there is something for the I/O thread."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._lock = threading.Lock()
        self._token = 0
        self._answers: dict[int, PlainFuture[Any]] = {}  # by token
        self._unsent: dict[int, Message] = {}
        self._given_up: list[int] = []
        self._ended: BaseException | None = None

    def ask(
        self,
        make: Callable[[int], Message],
        timeout: float | None,
        unanswered: Callable[[], Exception],
    ) -> Any:
        """The answer to what `make` makes of a token.

        Raises:
            MeshError: the router says that something is wrong, or nobody answers any more.
            Exception: what `unanswered` makes, if no answer came within `timeout` seconds.
        """
        answer: PlainFuture[Any] = PlainFuture()
        with self._lock:
            if self._ended is not None:
                raise copy.copy(self._ended)  # with a traceback of its own
            self._token += 1
            token = self._token
            self._answers[token] = answer
            self._unsent[token] = make(token)
        self._wake()
        try:
            return answer.result(timeout)
        except FutureTimeout:
            if answer.done():  # just now, or it is a TimeoutError itself
                return answer.result()
            raise unanswered() from None
        finally:
            if not answer.done():
                self._give_up(token)

    def _give_up(self, token: int) -> None:
        """Nobody waits for this answer: what has not been sent yet must not be done later."""
        with self._lock:
            self._answers.pop(token, None)
            if self._unsent.pop(token, None) is None:
                self._given_up.append(token)
        self._wake()

    # -- for the I/O thread ------------------------------------------------------------------

    def unsent(self) -> list[Message]:
        """What is to be sent now."""
        if not self._unsent:
            return []
        with self._lock:
            unsent, self._unsent = self._unsent, {}
        return list(unsent.values())

    def given_up(self) -> list[int]:
        """The tokens of what was sent and nobody waits for any more."""
        return [self._given_up.pop() for _ in range(len(self._given_up))]

    def answered(self, token: int, error: str | None, value: Any) -> None:
        """The router has answered: with `value`, or an error of that name."""
        answer = self._answers.pop(token, None)
        if answer is None or answer.done():
            return
        if error is None:
            answer.set_result(value)
        else:
            answer.set_exception(errors.BY_NAME.get(error, MeshError)(str(value)))

    def end(self, error: BaseException) -> None:
        """Nobody answers any more."""
        with self._lock:
            self._ended = error
            answers = list(self._answers.values())
        for answer in answers:
            if not answer.done():
                answer.set_exception(error)
