"""The connection: one I/O thread between a script's threads and the router.

Threads that submit append to the outbox; the I/O thread sends what has gathered, hears what has
ended, and settles futures and groups. User code never runs on it: values are decoded by those who
ask for them, callbacks run in a thread of their own.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from bisect import bisect_right, insort
from collections.abc import Callable
from concurrent.futures import Future as PlainFuture
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any

from .. import errors
from ..core.client import ClientCore, ClientTurn
from ..core.events import Connected, Cut, RouterHeard, Tick
from ..errors import AccessDenied, MeshError, RouterUnreachable, StoreError, VersionMismatch
from ..protocol import messages as m
from ..protocol import outcome
from ..protocol.codec import DecodeError, decode, encode
from ..protocol.outcome import parse, parse_ref
from ..task import session_of
from ..transport import sockets
from ..transport.access import Access
from ..transport.poller import Poller
from ..transport.wake import Wake
from .fetch import Fetcher
from .future import Future
from .group import Group
from .outbox import Outbox

#: When more tasks than BUSY_TASKS have gathered, a loop is submitting: the next message waits
#: this long, so that it is a large one, and the loop is not interrupted for each few.
GATHER_S = 0.002
BUSY_TASKS = 8

LOGGER = logging.getLogger("mesh")

#: How long a question to the router may take.
ANSWER_S = 30.0


class Connection:
    """A client's connection to the mesh of `access`.

    Args:
        access: where the router is.
        router_timeout_s: after this long without a router, what waits for it fails.
        warn: takes a line that the user should see.
    """

    def __init__(
        self, access: Access, router_timeout_s: float, warn: Callable[[str], None]
    ) -> None:
        self.access = access
        self._pid = os.getpid()
        self.session = session_of(os.urandom(8))
        self._warn = warn
        self._context = sockets.context()
        self._dialer = sockets.Dialer(self._context, access.addresses[0])
        self._core = ClientCore(self.session, os.urandom(8), router_timeout_s, time.monotonic())
        self._wake = Wake()
        self._poller = Poller()
        self._poller.add(self._dialer.socket)
        self._poller.add(self._dialer.monitor, quiet=True)
        self._poller.add(self._wake)
        self.outbox = Outbox(self._wake.set)
        self._fetcher = Fetcher(self._locate)
        self._lock = threading.Lock()
        self._futures: dict[int, Future] = {}
        self._groups: dict[int, Group] = {}
        self._firsts: list[int] = []
        self._others: dict[tuple[str, int], list[Future | tuple[Group, int]]] = {}
        self._joined: set[Future] = set()  # submitted here, and found to be an older task
        self._questions: dict[int, PlainFuture[Any]] = {}
        self._orders: list[m.Message] = []
        self._watches: list[tuple[str, int, int]] = []
        self._token = 0
        self._take_at = 0.0
        self._callbacks: queue.SimpleQueue[Callable[[], None] | None] | None = None
        self._caller: threading.Thread | None = None
        self._closing = False
        self._ended: BaseException | None = None
        self._idle = threading.Condition(self._lock)
        self.welcomed: PlainFuture[None] = PlainFuture()
        self._thread = threading.Thread(target=self._run, name="mesh-client", daemon=True)
        self._thread.start()

    # -- for the threads of the script -------------------------------------------------------

    def register(self, counter: int) -> Future:
        """A future for a task that is about to be submitted."""
        future = Future(self, self.session, counter)
        self._futures[counter] = future
        return future

    def add_group(self, group: Group) -> None:
        """A group whose blocks are about to be submitted."""
        with self._lock:
            self._groups[group.first] = group
            insort(self._firsts, group.first)

    def watch_task(self, session: str, counter: int) -> Future:
        """A future for a task that somebody submitted, perhaps this client."""
        future = self._futures.get(counter) if session == self.session else None
        if future is None:
            future = Future(self, session, counter)
            with self._lock:
                self._others.setdefault((session, counter), []).append(future)
                self._watches.append((session, counter, 1))
            self._wake.set()
        return future

    def watch_group(self, group: Group) -> None:
        """Hear of a group that somebody submitted."""
        with self._lock:
            for i in range(len(group)):
                self._others.setdefault(group.task_of(i), []).append((group, i))
            self._watches += group.open_spans()
        self._wake.set()

    def future_of_member(self, group: Group, index: int) -> Future:
        """A future for a member of a group."""
        session, counter = group.task_of(index)
        future = Future(self, session, counter)
        with self._lock:
            self._others.setdefault((session, counter), []).append(future)
        raw = group.raw(index)
        if raw is not None:  # its news has come already, or comes now: who takes it out settles it
            with self._lock:
                waiting = self._others.get((session, counter), [])
                mine = any(each is future for each in waiting)
                if mine:
                    waiting[:] = [each for each in waiting if each is not future]
                    if not waiting:
                        del self._others[session, counter]
            if mine:
                future.settle(*raw)
        return future

    def take(self, group: Group, counters: list[int], kinds: Any, bodies: list[Any]) -> None:
        """Members of an own group have ended before they were sent."""
        group.take(counters, kinds, bodies)
        self._drop_if_ended(group)

    def ask(self, what: str, about: dict[str, Any], timeout: float | None = ANSWER_S) -> Any:
        """Ask the router and wait for its answer.

        Raises:
            RouterUnreachable: no answer in time.
            MeshError: the router says that something is wrong.
        """
        return self._order(lambda token: m.Ask(token, what, about), timeout)

    def cancel(self, spans: list[tuple[str, int, int]], *, running: bool) -> dict[str, int]:
        """Cancel tasks; the router's tally."""
        rows = [list(span) for span in spans]
        tally: dict[str, int] = self._order(lambda token: m.Cancel(token, rows, running), ANSWER_S)
        return tally

    def _order(self, make: Callable[[int], m.Message], timeout: float | None) -> Any:
        answer: PlainFuture[Any] = PlainFuture()
        with self._lock:
            if self._ended is not None:
                raise self._ended
            self._token += 1
            token = self._token
            self._questions[token] = answer
            self._orders.append(make(token))
        self._wake.set()
        try:
            return answer.result(timeout)
        except FutureTimeout:
            self._questions.pop(token, None)
            if answer.done():
                raise
            raise RouterUnreachable(
                f"the router at {self.access.addresses[0]} did not answer within {timeout:g} s"
            ) from None

    def check_process(self) -> None:
        """Raise in a fork: no news ever comes here.

        Raises:
            RuntimeError: this process is a fork of the one that opened the mesh.
        """
        if os.getpid() != self._pid:
            raise RuntimeError(
                "this process is a fork of the one that opened the mesh: open a Mesh of its own"
            )

    def fetch(self, ref: outcome.Ref, timeout: float | None = None) -> Any:
        """The bytes of a stored result."""
        return self._fetcher.fetch(ref, timeout)

    def _locate(self, store: str) -> str | None:
        found: str | None = self.ask("locate", {"stores": [store]})[store]
        return found

    def log_of(self, body: Any) -> str:
        """What a task printed, of its outcome's body."""
        found = parse(body)
        log = found.log
        if found.flags & outcome.LOG_STORED:
            log = bytes(self.fetch(parse_ref(log)))
        return log.decode("utf-8", "replace")

    def call(self, callback: Callable[[], None]) -> None:
        """Run a user's callback in the thread for callbacks."""
        if self._callbacks is None:
            self._callbacks = queue.SimpleQueue()
            self._caller = threading.Thread(
                target=self._call_back, args=[self._callbacks], name="mesh-callbacks", daemon=True
            )
            self._caller.start()
        self._callbacks.put(callback)

    @staticmethod
    def _call_back(callbacks: queue.SimpleQueue[Callable[[], None] | None]) -> None:
        while (callback := callbacks.get()) is not None:
            try:
                callback()
            except BaseException:  # sys.exit() in a callback ends that callback, and no other
                LOGGER.exception("a callback failed")

    def flush(self, timeout: float | None) -> bool:
        """Wait until all that was submitted is recorded; False if that took too long."""
        return self.outbox.flush(timeout)

    def wait_idle(self, timeout: float | None = None) -> bool:
        """Wait until nothing this client submitted is open."""
        with self._idle:
            return self._idle.wait_for(
                lambda: self._nothing_open or self._ended is not None, timeout
            )

    @property
    def _nothing_open(self) -> bool:
        return not (self._futures or self._groups or self._joined)

    def open_spans(self) -> list[tuple[str, int, int]]:
        """The client's own tasks that have not ended."""
        with self._lock:
            spans = [(self.session, counter, 1) for counter in sorted(self._futures)]
            for group in self._groups.values():
                spans += [span for span in group.open_spans() if span[0] == self.session]
        return spans

    def close(self) -> None:
        """End the I/O thread and let go of all resources."""
        self._closing = True
        self._wake.set()
        if threading.current_thread() is not self._thread:
            self._thread.join()
        if self._callbacks is not None:
            self._callbacks.put(None)
            assert self._caller is not None
            if threading.current_thread() is not self._caller:
                self._caller.join()  # what has ended has called back
        self._fetcher.close()

    # -- the I/O thread ----------------------------------------------------------------------

    def _run(self) -> None:
        error: BaseException = MeshError("the mesh was closed")
        try:
            while not self._closing:
                now = time.monotonic()
                due = self._core.deadline(now)
                if self._wake.is_set:
                    due = min(due, self._take_at)
                self._turn(self._poller.wait(due - now), due)
        except BaseException as reason:
            error = reason
        finally:
            self._end(error)
            self._dialer.close()
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

    def _hear(self, ready: set[Any], now: float) -> None:
        core = self._core
        if self._dialer.monitor in ready:
            for change in self._dialer.changes():
                core.handle(Connected() if change == "connected" else Cut(), now)
        if self._dialer.socket in ready:
            for frames in self._dialer.receive():
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
                orders, self._orders = self._orders, []
                watches, self._watches = self._watches, []
            if watches:
                core.watch(watches, now)
            for order in orders:
                core.send(order, 0, now)

    def _settle(self, now: float) -> None:
        turn = self._core.settle(now)
        for envelope in turn.sends:
            self._dialer.send(encode(envelope))
        for kind, text in turn.errors:
            self._on_error(kind, text)
        for known in turn.known:
            self._on_known(*known)
        for session, counters, kinds, bodies in turn.news:
            self._on_news(session, counters, kinds, bodies)
        for token, error, value in turn.answers:
            self._on_answer(token, error, value)
        if turn.recorded_bytes:
            self.outbox.released(turn.recorded_bytes)
        if turn.welcomed:
            self._on_welcomed(turn, now)
        if turn.suspected_s is not None:
            self._warn(
                f"the router at {self.access.addresses[0]} has been silent for "
                f"{turn.suspected_s:.0f} s; waiting for it"
            )
        if turn.stopped:
            raise RouterUnreachable(
                f"the mesh at {self.access.addresses[0]} was stopped; what was recorded stays in "
                f"its folder"
            )
        if turn.gone_s is not None:
            raise RouterUnreachable(
                f"the router at {self.access.addresses[0]} has not answered for "
                f"{turn.gone_s:.0f} s: start it again on its folder, then ask by id"
            )

    def _on_welcomed(self, turn: ClientTurn, now: float) -> None:
        if not self.welcomed.done():
            self.welcomed.set_result(None)
            return
        if turn.reborn:
            raise StoreError(
                f"another store answers at {self.access.addresses[0]}: what was recorded in the "
                f"old one is not known to it"
            )
        with self._lock:
            others = [(s, c, 1) for (s, c) in self._others if s != self.session]
        self._core.watch(self.open_spans() + others, now)

    def _on_error(self, kind: str, text: str) -> None:
        if kind in (VersionMismatch.__name__, AccessDenied.__name__, "SessionTaken"):
            raise getattr(errors, kind, MeshError)(text)
        self._warn(f"the router says: {text}")

    def _on_known(self, counter: int, session: str, older: int, ended: bool) -> None:
        with self._lock:
            future = self._futures.pop(counter, None)
            group = self._group_at(counter)
            targets = self._others.setdefault((session, older), [])
            if future is not None:
                future.is_older(session, older)
                targets.append(future)
                self._joined.add(future)
            if group is not None:
                group.is_older(counter - group.first, session, older, ended=ended)
                targets.append((group, counter - group.first))

    def _group_at(self, counter: int) -> Group | None:
        """The group of an own task; call with the lock held."""
        at = bisect_right(self._firsts, counter) - 1
        if at < 0:
            return None
        group = self._groups[self._firsts[at]]
        return group if counter < group.end else None

    def _on_news(self, session: str, counters: list[int], kinds: bytes, bodies: list[Any]) -> None:
        if session == self.session and counters:
            with self._lock:
                group = self._group_at(counters[0])
            if group is not None and min(counters) >= group.first and max(counters) < group.end:
                group.take(counters, kinds, bodies)
                self._tell_others(session, counters, kinds, bodies)
                self._drop_if_ended(group)
                return
        for nth, counter in enumerate(counters):
            kind, body = kinds[nth], bodies[nth]
            if session == self.session:
                future = self._futures.pop(counter, None)
                if future is not None:
                    if not future.done():
                        future.settle(kind, body)
                    continue
                with self._lock:
                    group = self._group_at(counter)
                if group is not None:
                    group.take([counter], [kind], [body])
                    self._drop_if_ended(group)
        self._tell_others(session, counters, kinds, bodies)
        if self._nothing_open:
            with self._idle:
                self._idle.notify_all()

    def _tell_others(
        self, session: str, counters: list[int], kinds: bytes, bodies: list[Any]
    ) -> None:
        with self._lock:  # a member's future may be joining them
            if not self._others:
                return
        for nth, counter in enumerate(counters):
            with self._lock:
                targets = self._others.pop((session, counter), [])
            for target in targets:
                if isinstance(target, Future):
                    self._joined.discard(target)
                    if not target.done():
                        target.settle(kinds[nth], bodies[nth])
                else:
                    group, i = target
                    group.take([group.first + i], [kinds[nth]], [bodies[nth]])
                    self._drop_if_ended(group)

    def _drop_if_ended(self, group: Group) -> None:
        if not group.ended:
            return
        with self._idle:
            if self._groups.pop(group.first, None) is not None:
                self._firsts.pop(bisect_right(self._firsts, group.first) - 1)
                self._idle.notify_all()

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
        with self._idle:
            self._ended = error
            futures = list(self._futures.values())
            groups = list(self._groups.values())
            for targets in self._others.values():
                for target in targets:
                    if isinstance(target, Future):
                        futures.append(target)
                    else:
                        groups.append(target[0])
            questions = list(self._questions.values())
            self._idle.notify_all()
        for future in futures:
            future.fail(error)
        for group in groups:
            group.fail(error)
        for question in questions:
            if not question.done():
                question.set_exception(error)
