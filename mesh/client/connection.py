"""The connection: one I/O thread between a script's threads and the router.

Threads that submit append to the outbox; the I/O thread sends what has gathered, hears what has
ended, and settles futures and groups. User code never runs on it: values are decoded by those who
ask for them, callbacks run in a thread of their own.
"""

from __future__ import annotations

import math
import os
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future as PlainFuture
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import AbstractContextManager, suppress
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
from ..processes.alive import is_alive
from ..protocol import messages as m
from ..protocol import outcome, upload, version
from ..protocol.codec import DecodeError, decode, encode
from ..task import session_of
from ..transport import descriptors, sockets
from ..transport.access import Access
from ..transport.poller import Poller
from ..transport.route import Route
from ..transport.wake import Wake
from . import notices
from .callbacks import Callbacks
from .echo import Echo, Show
from .fetch import Fetcher, Into, Place, evicted
from .future import Future
from .group import Group
from .kept import Kept
from .listening import Listening, Pieces
from .outbox import Outbox
from .puts import Puts
from .questions import Questions
from .source import ANSWER_S, Source
from .unseen import Unseen
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
        descriptors.reserve(descriptors.CLIENT, "a client", descriptors.CLIENT_FETCHES)
        self.access = access
        self._pid = os.getpid()
        self.session = session_of(os.urandom(8))
        self.warn = warn
        self._context = sockets.context()
        try:
            self._poller = Poller()
            self._route = Route(self._context, self._poller, access, time.monotonic())
        except MeshError:
            self._context.term()
            raise
        self._core = ClientCore(self.session, os.urandom(8), router_timeout_s, time.monotonic())
        self._core.about = {"versions": version.own()}
        self._wake = Wake()
        self._poller.add(self._wake)
        self.outbox = Outbox(self._wake.set, router_timeout_s)
        self.waiting = Waiting(self, self.session)
        core = self._core
        self._relays: deque[m.Relay] = deque()
        self._fetcher = Fetcher(
            self._locate, self.relay, lambda: core.settings.fetch_timeout_s, access.own
        )
        self.kept: Kept | None = None  # where results stay that were asked for
        self.puts = Puts(self, warn, router_timeout_s)
        self._questions = Questions(self._wake.set)
        self.listening = Listening(self.session, self._wake.set)
        self.unseen = Unseen(self.session)
        self._watches: deque[list[tuple[str, int, int]]] = deque()  # spans to hear of
        self._take_at = 0.0
        self._callbacks = Callbacks()
        self._closing = False
        self._broken: MeshError | None = None
        self._orphaned = False  # the mesh ends because its owner is gone
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
        self._watches.append(spans)
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
        def unanswered() -> Exception:
            if (why := self.outbox.no_room) is not None:
                return QueueFull(f"the mesh cannot record more, and answers when it can: {why}")
            return RouterUnreachable(
                f"the router at {self._route.address} did not answer within {timeout:g} s"
            )

        return self._questions.ask(make, timeout, unanswered)

    def check_process(self) -> None:
        """Raise in a fork: no news ever comes here.

        Raises:
            RuntimeError: this process is a fork of the one that opened the mesh.
        """
        if os.getpid() != self._pid:
            raise RuntimeError(
                "this process is a fork of the one that opened the mesh: open a Mesh of its own"
            )

    def relay(self, message: m.Relay) -> None:
        """Have `message` go by way of the router. It may be lost."""
        self._relays.append(message)
        self._wake.set()

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

    def follow(self, session: str, counter: int) -> AbstractContextManager[Pieces]:
        """See `Source.follow`."""
        return self.listening.follow(session, counter)

    def echo(self, show: Show) -> None:
        """Have what the tasks of this client print given to `show`."""
        self.listening.show(Echo(self.session, show, self.fetch, self.warn))

    def look(self, session: str, first: int, count: int = 1) -> None:
        """See `Source.look`."""
        self.unseen.look(session, first, count)

    def shown(self) -> None:
        """See `Source.shown`."""
        self.listening.shown()

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
        self.listening.close()
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
                if self._core.welcome is not None:
                    due = min(due, self._fetcher.deadline(now))
                if self._wake.is_set:
                    due = min(due, self._take_at)
                self._turn(self._poller.wait(due - now), due)
        except BaseException as reason:
            error = reason
        finally:
            self._end(error)
            self._tell(math.inf)
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
        self._tell(now)

    def _tell(self, now: float) -> None:
        if self._core.welcome is None:
            return
        relays = [self._relays.popleft() for _ in range(len(self._relays))]
        for message in [*relays, *self._fetcher.unsent(now)]:
            self._route.send(encode(self._core.link.stamp(message)))

    def _hear(self, ready: set[Any], now: float) -> None:
        core = self._core
        for token in self._questions.given_up():  # before a new router is greeted
            core.forget(token)
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
                self.warn(f"the router sent what is no message: {error}")
        if self._wake.is_set and now < self._take_at:
            self._wake.hush()
            return
        self._wake.clear()
        messages = self.outbox.take()
        for message, size in messages:
            core.send(message, size, now)
        if messages:
            self._take_at = now + GATHER_S if self.outbox.gathered > BUSY_TASKS else 0.0
        while self._watches:
            core.watch(self._watches.popleft(), now)
        for question in self._questions.unsent():
            core.send(question, 0, now)
        if (spans := self.listening.take_changed()) is not None:
            core.listen(spans, now)

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
            whose = self.puts if upload.is_answer(relayed.head) else self._fetcher
            whose.hear_relayed(relayed)
        for known in turn.known:
            self.waiting.is_older(*known)
        for printed in turn.printed:
            self.listening.heard(printed)
        for session, counters, kinds, bodies in turn.news:
            self.listening.ended(session, counters, bodies)
            if session == self.session:
                self.unseen.ended(counters, kinds, bodies)
            self.waiting.news(session, counters, kinds, bodies)
        for token, error, value in turn.answers:
            self._questions.answered(token, error, value)
        if turn.recorded_bytes:
            self.outbox.released(turn.recorded_bytes)
        if turn.welcomed:
            self._on_welcomed(turn, now)
        if turn.suspected_s is not None:
            self.warn(
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
        self.warn(f"the router says: {text}")

    def _on_event(self, kind: str, about: dict[str, Any]) -> None:
        if kind == NO_ROOM:
            self.outbox.stalled(str(about.get("reason", "its disk is full")))
        elif kind == ROOM:
            self.outbox.stalled(None)
        elif kind == OWNER_GONE:
            self._orphaned = True
        said = notices.words(kind, about, self.access.folder or "FILE")
        if said is not None:
            stays = self.is_in_with and kind in notices.OF_TASKS and not self.waiting.wait_idle(0)
            self.warn(f"{said}; Ctrl-C cancels those of this script" if stays else said)

    def _end(self, error: BaseException) -> None:
        """No more news will come: everything that waits is told why."""
        self.outbox.close(error)
        if not self.welcomed.done():
            self.welcomed.set_exception(error)
        self.waiting.fail(error)
        self._questions.end(error)
