"""The connection: one I/O thread between a script's threads and the router.

Threads that submit append to the outbox; the I/O thread sends what has gathered, hears what has
ended, and settles futures and groups. User code never runs on it: values are decoded by those who
ask for them, callbacks run in a thread of their own.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future as PlainFuture
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import suppress
from functools import partial
from typing import Any

from .. import errors
from ..core.client import ClientCore, ClientTurn, pages
from ..core.events import Connected, Cut, RouterHeard, Tick
from ..core.notices import NO_ROOM, OWNER_GONE, ROOM
from ..errors import (
    AccessDenied,
    MeshError,
    QueueFull,
    ResultLost,
    RouterUnreachable,
    StoreError,
    VersionMismatch,
)
from ..protocol import messages as m
from ..protocol import outcome
from ..protocol.codec import DecodeError, decode, encode
from ..task import session_of
from ..transport import descriptors, sockets
from ..transport.access import Access, is_alive
from ..transport.poller import Poller
from ..transport.route import Route
from ..transport.wake import Wake
from . import notices
from .callbacks import Callbacks
from .fetch import Fetcher, Into, Place, evicted
from .future import Future
from .group import Group
from .kept import Kept
from .outbox import Outbox
from .puts import Puts
from .source import ANSWER_S, Source
from .waiting import Waiting

#: When more tasks than BUSY_TASKS have gathered, a loop is submitting: the next message waits
#: this long, so that it is a large one, and the loop is not interrupted for each few.
GATHER_S = 0.002
BUSY_TASKS = 8

#: A router that is there answers HELLO within this.
WELCOME_S = 10.0

#: One of this host that does not even listen by then is gone; before, it may be restarting.
LISTENING_S = 2.0

#: The last acknowledgement has so long to leave: without it the router keeps what it has told.
LAST_WORD_MS = 100


class Connection(Source):
    """A client's connection to the mesh of `access`.

    Args:
        access: where the router is.
        router_timeout_s: after this long without a router, what waits for it fails.
        warn: takes a line that the user should see.
    """

    def __init__(
        self, access: Access, router_timeout_s: float, warn: Callable[[str], None]
    ) -> None:
        descriptors.reserve(descriptors.CLIENT, "a client")
        self.access = access
        self._pid = os.getpid()
        self.session = session_of(os.urandom(8))
        self._warn = warn
        self._context = sockets.context()
        try:
            self._poller = Poller()
            self._route = Route(self._context, self._poller, access, time.monotonic())
        except MeshError:
            self._context.term()
            raise
        self._core = ClientCore(self.session, os.urandom(8), router_timeout_s, time.monotonic())
        self._wake = Wake()
        self._poller.add(self._wake)
        self.outbox = Outbox(self._wake.set, router_timeout_s)
        self.waiting = Waiting(self, self.session)
        own = access.keys.own if access.keys is not None else None
        core = self._core
        self._fetcher = Fetcher(
            self._locate, self._wake.set, lambda: core.settings.fetch_timeout_s, own
        )
        self.kept: Kept | None = None  # where results stay that were asked for
        self.puts = Puts(self, warn, router_timeout_s)
        self._lock = threading.Lock()
        self._questions: dict[int, PlainFuture[Any]] = {}
        self._orders: dict[int, m.Message] = {}
        self._given_up: list[int] = []  # tokens of questions whose askers wait no more
        self._watches: list[tuple[str, int, int]] = []
        self._token = 0
        self._take_at = 0.0
        self._callbacks = Callbacks()
        self._closing = False
        self._broken: MeshError | None = None
        self._orphaned = False  # the mesh ends because its owner is gone
        self._ended: BaseException | None = None
        self.welcomed: PlainFuture[None] = PlainFuture()
        self._thread = threading.Thread(target=self._run, name="mesh-client", daemon=True)
        self._thread.start()

    # -- for the threads of the script -------------------------------------------------------

    def await_welcome(self, why: str) -> None:
        """Wait until the router has answered. `why` says how it was chosen.

        Raises:
            RouterUnreachable: it has not.
        """
        for wait_s in (LISTENING_S, WELCOME_S - LISTENING_S):
            try:
                return self.welcomed.result(wait_s)
            except FutureTimeout:
                if self.access.host == socket.gethostname() and not is_alive(self.access):
                    break
        raise RouterUnreachable(
            f"no router answers ({why}): {self._route.why()}. Is it running? Start one with "
            f"`mesh up`"
        )

    def watch_task(self, session: str, counter: int) -> Future:
        """A future for a task that somebody submitted, perhaps this client."""
        future = self.waiting.own(session, counter)
        if future is None:
            future = self.waiting.join(session, counter)
            self._watch([(session, counter, 1)])
        return future

    def watch_group(self, group: Group) -> None:
        """Hear of a group that somebody submitted."""
        self.waiting.join_group(group)
        self._watch(group.open_spans())

    def _watch(self, spans: list[tuple[str, int, int]]) -> None:
        with self._lock:
            self._watches += spans
        self._wake.set()

    def ask(self, what: str, about: dict[str, Any], timeout: float | None = ANSWER_S) -> Any:
        """Ask the router and wait for its answer.

        Raises:
            RouterUnreachable: no answer in time.
            MeshError: the router says that something is wrong.
        """
        return self._order(lambda token: m.Ask(token, what, about), timeout)

    def cancel(
        self, spans: list[tuple[str, int, int]], *, running: bool, timeout: float = ANSWER_S
    ) -> dict[str, int]:
        """Cancel tasks; the router's tally, which comes when it is on disk.

        Raises:
            RouterUnreachable: that of some thousands took longer than `timeout` seconds.
        """
        tally = {"cancelled": 0, "running": 0, "ended": 0}
        for page in pages(spans):  # the router has others to serve in between
            make = partial(m.Cancel, spans=page, running=running)
            answer = self._order(make, timeout)
            for word, count in answer.items():
                tally[word] += count
        return tally

    def _order(self, make: Callable[[int], m.Message], timeout: float | None) -> Any:
        answer: PlainFuture[Any] = PlainFuture()
        with self._lock:
            if self._ended is not None:
                raise self._ended
            self._token += 1
            token = self._token
            self._questions[token] = answer
            self._orders[token] = make(token)
        self._wake.set()
        try:
            return answer.result(timeout)
        except FutureTimeout:
            if answer.done():  # just now, or it is a TimeoutError itself
                return answer.result()
            if (why := self.outbox.no_room) is not None:
                raise QueueFull(
                    f"the mesh cannot record more, and answers when it can: {why}"
                ) from None
            raise RouterUnreachable(
                f"the router at {self._route.address} did not answer within {timeout:g} s"
            ) from None
        finally:
            if not answer.done():
                self._give_up(token)

    def _give_up(self, token: int) -> None:
        """Nobody waits for this answer: what has not been sent yet must not be done later."""
        with self._lock:
            self._questions.pop(token, None)
            if self._orders.pop(token, None) is None:
                self._given_up.append(token)
        self._wake.set()

    def check_process(self) -> None:
        """Raise in a fork: no news ever comes here.

        Raises:
            RuntimeError: this process is a fork of the one that opened the mesh.
        """
        if os.getpid() != self._pid:
            raise RuntimeError(
                "this process is a fork of the one that opened the mesh: open a Mesh of its own"
            )

    def fetch(self, ref: outcome.Ref, timeout: float | None = None, into: Into = bytearray) -> Any:
        """The bytes of a stored result. That it is lost the router is told, and its alias free."""
        try:
            return self._fetcher.fetch(ref, timeout, into)
        except ResultLost as error:
            told = error
            if ref.number == outcome.RESULT:
                about = {"task": ref.task, "lease": ref.lease, "store": ref.holder}
                with suppress(MeshError):  # without a router: whoever asks next tells it
                    told = evicted(ref) if self.ask("lost", about) == "evicted" else error
            raise told from None

    def _locate(self, store: str, timeout: float | None) -> Place | None:
        try:
            wait_s = ANSWER_S if timeout is None else min(timeout, ANSWER_S)
            found = self.ask("locate", {"stores": [store]}, wait_s)[store]
        except RouterUnreachable:
            if timeout is None or timeout > ANSWER_S:
                raise
            return None  # it was asked for less time than a store has to come back
        return Place.told(store, found)

    def call(self, callback: Callable[[], None]) -> None:
        """Run a user's callback in the thread for callbacks."""
        self._callbacks.call(callback)

    @property
    def no_room(self) -> str | None:
        """Why the router records nothing more just now, if so."""
        return self.outbox.no_room

    def is_recorded(self, counter: int) -> bool:
        """Whether the router has acknowledged a task of this client. For the I/O thread."""
        return counter in self._core.recorded

    def flush(self, timeout: float | None) -> bool:
        """Wait until all that was submitted is recorded; False if that took too long."""
        return self.outbox.flush(timeout)

    def give_up(self, error: MeshError) -> None:
        """Nothing more will come: everything that waits fails with `error`."""
        self._broken = error
        self._wake.set()

    def close(self) -> None:
        """End the I/O thread and let go of all resources."""
        self._closing = True
        self._wake.set()
        if threading.current_thread() is not self._thread:
            self._thread.join()
        self._callbacks.close()  # what has ended has called back
        self._fetcher.close()
        self.puts.close()

    # -- the I/O thread ----------------------------------------------------------------------

    def _run(self) -> None:
        error: BaseException = MeshError("the mesh was closed")
        try:
            while not self._closing:
                if self._broken is not None:
                    raise self._broken
                now = time.monotonic()
                due = min(self._core.deadline(now), self._route.deadline())
                if self._wake.is_set:
                    due = min(due, self._take_at)
                self._turn(self._poller.wait(due - now), due)
        except BaseException as reason:
            error = reason
        finally:
            self._end(error)
            self._tell()
            if (last := self._core.last_word()) is not None:
                self._route.send(encode(last))
            self._route.close(LAST_WORD_MS)
            self._context.term()
            self._wake.close()

    def _turn(self, ready: set[Any], due: float) -> None:
        """Hear, settle, send."""
        now = time.monotonic()
        if now - due > self._core.settings.heartbeat_s:
            self._core.rest(now - due)  # this process was stopped
        self._hear(ready, now)
        if now >= due:
            self._core.handle(Tick(), now)
        self._settle(now)
        self._tell()

    def _tell(self) -> None:
        for message in self._fetcher.unsent() if self._core.welcome is not None else ():
            self._route.send(encode(self._core.link.stamp(message)))

    def _hear(self, ready: set[Any], now: float) -> None:
        core = self._core
        while self._given_up:  # before a new router is greeted
            core.forget(self._given_up.pop())
        for change in self._route.look(ready, now):
            core.handle(Connected() if change == "connected" else Cut(), now)
        if self._route.is_hopeless and not self.welcomed.done():
            refused = self._route.is_refused
            raise (AccessDenied if refused else RouterUnreachable)(
                f"{'this key is not let in' if refused else 'no router answers'}: "
                f"{self._route.why()}"
            )
        for frames in self._route.receive(ready):
            try:
                core.handle(RouterHeard(decode(frames)), now)
            except DecodeError as error:
                self._warn(f"the router sent what is no message: {error}")
        if self._wake.is_set and now < self._take_at:
            self._wake.hush()
            return
        self._wake.clear()
        messages = self.outbox.take()
        for message, size in messages:
            core.send(message, size, now)
        if messages:
            self._take_at = now + GATHER_S if self.outbox.gathered > BUSY_TASKS else 0.0
        if self._orders or self._watches:
            with self._lock:
                orders, self._orders = self._orders, {}
                watches, self._watches = self._watches, []
            if watches:
                core.watch(watches, now)
            for order in orders.values():
                core.send(order, 0, now)

    def _settle(self, now: float) -> None:
        turn = self._core.settle(now)
        for envelope in turn.sends:
            self._route.send(encode(envelope))
        for kind, text in turn.errors:
            self._on_error(kind, text)
        if turn.welcomed:
            self.outbox.stalled(None)  # a router that has no room says so, to each that dials
        for kind, about in turn.events:
            self._on_event(kind, about)
        for relayed in turn.relayed:
            self._fetcher.hear_relayed(relayed)
        for known in turn.known:
            self.waiting.is_older(*known)
        for session, counters, kinds, bodies in turn.news:
            self.waiting.news(session, counters, kinds, bodies)
        for token, error, value in turn.answers:
            self._on_answer(token, error, value)
        if turn.recorded_bytes:
            self.outbox.released(turn.recorded_bytes)
        if turn.welcomed:
            self._on_welcomed(turn, now)
        if turn.suspected_s is not None:
            self._warn(
                f"the router at {self._route.address} has been silent for "
                f"{turn.suspected_s:.0f} s; waiting for it"
            )
        if turn.stopped:
            how = "ended, for its owner is gone" if self._orphaned else "was stopped"
            raise RouterUnreachable(
                f"the mesh at {self._route.address} {how}; what was recorded stays in its folder"
            )
        if turn.gone_s is not None and not self.welcomed.done():
            raise RouterUnreachable(f"no router answers: {self._route.why()}. Is it running?")
        if turn.gone_s is not None:
            raise RouterUnreachable(
                f"the router at {self._route.address} has not answered for {turn.gone_s:.0f} s: "
                f"start it again on its folder, then ask by id"
            )

    def _on_welcomed(self, turn: ClientTurn, now: float) -> None:
        if not self.welcomed.done():
            self.welcomed.set_result(None)
            return
        if turn.reborn:
            raise StoreError(
                f"another store answers at {self._route.address}: what was recorded in the old "
                f"one is not known to it"
            )
        self._core.watch(self.waiting.all_spans(), now)

    def _on_error(self, kind: str, text: str) -> None:
        fatal = kind in (VersionMismatch.__name__, AccessDenied.__name__, "SessionTaken")
        if fatal or not self.welcomed.done():
            raise errors.BY_NAME.get(kind, MeshError)(text)
        self._warn(f"the router says: {text}")

    def _on_event(self, kind: str, about: dict[str, Any]) -> None:
        if kind == NO_ROOM:
            self.outbox.stalled(str(about.get("reason", "its disk is full")))
        elif kind == ROOM:
            self.outbox.stalled(None)
        elif kind == OWNER_GONE:
            self._orphaned = True
        said = notices.words(kind, about, self.access.folder or "FILE")
        if said is not None:
            self._warn(said)

    def _on_answer(self, token: int, error: str | None, value: Any) -> None:
        answer = self._questions.pop(token, None)
        if answer is None or answer.done():
            return
        if error is None:
            answer.set_result(value)
        else:
            answer.set_exception(errors.BY_NAME.get(error, MeshError)(str(value)))

    def _end(self, error: BaseException) -> None:
        """No more news will come: everything that waits is told why."""
        self.outbox.close(error)
        if not self.welcomed.done():
            self.welcomed.set_exception(error)
        with self._lock:
            self._ended = error
            questions = list(self._questions.values())
        self.waiting.fail(error)
        for question in questions:
            if not question.done():
                question.set_exception(error)
