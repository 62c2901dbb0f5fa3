"""The worker process: sockets, slots, store and clock around the worker's core.

It supervises slots and serves results; it never runs user code, so its heartbeats do not depend
on what a task does. A slot's death comes from the kernel (SIGCHLD), never from a timeout.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any

from ..core import events
from ..core.parting import OFFER_ROWS
from ..core.term import Term
from ..core.worker import WorkerCore
from ..errors import MeshError, public_name
from ..protocol import messages as m
from ..protocol import outcome
from ..protocol.codec import DecodeError, decode, encode
from ..store.durability import Durability
from ..store.opening import open_results
from ..store.writes import Gone, Told, Untold, Write
from ..task import session_of, unkey
from ..transport import descriptors, sockets
from ..transport.access import Access
from ..transport.poller import Poller
from ..transport.route import Route
from ..transport.wake import Wake
from . import LEAVING_FILE, facts
from .allocator import Allocator
from .children import Children
from .deposits import Deposits
from .errands import Errands
from .fetching import Fetching
from .garbage import collect_seldom
from .life import Life, tell_owner
from .log import Log
from .patience import Patience
from .resources import resources_of
from .serve import DataPort, Server, data_address
from .writer import Writer

#: BYE is the last message. Without it the router would wait for this worker to return.
LAST_WORDS_MS = 500

#: The exit code of a worker whose router did not answer, or no more.
ROUTER_LOST = 3

#: So many results are looked at when room is to be made.
OLDEST_ROWS = 1024

#: Of so many outcomes the store need not know any more that they are to be told.
TOLD_MAX = 256

#: Options of a worker that `Worker` takes as they are, if they are given.
PASSED = (
    "temporary", "router_timeout_s", "join_timeout_s", "tasks_max", "memory_max", "home",
    "fleeting", "quota_bytes", "term", "slots_by", "resources", "threads",
)  # fmt: skip


class Worker:
    """One life of a worker. Its slots start at once; `join` leads it to its router.

    Args:
        folder: where its store is.
        slots: how many child processes run tasks.
        threads: how many each of them runs at once: so many slots it is.
        durability, temporary: of that store; see `open_results`.
        life: what ends this process besides `stop`.
        log: where lines about tasks' output and slots go.
        tasks_max: after so many tasks a slot's process is replaced; None: never for that.
        data: where it serves on TCP.
        memory_max: bytes of resident memory beyond which it is, between two tasks; None: never.
        router_timeout_s: without a router for so long it leaves; None leaves that to its owner.
        join_timeout_s: the same as long as none has welcomed it; None: no less patience.
        home: it is that on the router's host, and takes what clients put.
        resources: what was declared of what it has for tasks to ask for, besides slots.
        quota_bytes: what its store should take at most; None: whatever there is room for.
        fleeting: when it leaves the mesh, and others have what is needed, its store goes, too.
        term: how long it stays; default: until it is told to leave.
        slots_by: what says how many slots there are to be, if that is no user and not affinity.
    """

    def __init__(
        self,
        folder: Path,
        slots: int,
        *,
        durability: Durability,
        temporary: bool = False,
        life: Life,
        log: Log,
        data: DataPort,
        router_timeout_s: float | None = None,
        join_timeout_s: float | None = None,
        tasks_max: int | None = None,
        memory_max: int | None = None,
        home: bool = False,
        fleeting: bool = False,
        quota_bytes: int | None = None,
        term: Term | None = None,
        slots_by: str | None = None,
        resources: dict[str, int] | None = None,
        threads: int = 1,
    ) -> None:
        who = f"a worker with slots={slots}" + (f", threads={threads}" if threads > 1 else "")
        descriptors.reserve(descriptors.of_worker(slots * threads), who, sockets.SOCKETS_MAX)
        self.log, self.life = log, life
        self._allocator = Allocator()
        silent = partial(log, event="silent")
        self._patience = Patience(router_timeout_s, join_timeout_s, silent)
        self.router_lost = False
        self._data = data
        self._home = home
        self.host = socket.gethostname()
        self.results, self._lock = open_results(
            folder, session_of(os.urandom(8)), durability, log, temporary=temporary
        )
        self.incoming = self.results.incoming
        log.about = {"worker": self.results.id}
        self.core = WorkerCore(self.results.id, os.urandom(8), slots, self.host, tasks_max, threads)
        self._amounts, self.core.slots.feeding.devices = resources_of(slots, resources or {})
        self.core.journal.on = log.as_json
        self.core.parting.is_fleeting = fleeting
        self.core.clearing.quota_bytes = quota_bytes
        self.core.term = term or self.core.term
        self._slots_by = slots_by
        self.wake = Wake()
        self.writer = Writer(
            self.results.apply, self.results.look_up, self.wake, look_up_amid=self._look_up_amid
        )
        self._errands = Errands(self.wake, partial(log, event="time"))
        self._joined = ExitStack()
        self.mesh = ""
        self._told: list[Told] = []  # no commit of their own for a few
        self.core.keeping.stored(*self.results.held)
        self._stalled: str | None = None  # why there is no room on the disk, once that was said
        signal.signal(signal.SIGCHLD, lambda number, frame: None)  # it wakes the poll
        self._poller = Poller(self.wake, *life.sources)
        self.children = Children(
            self.core, self.results, self._poller, log, memory_max or 0, self._say_stalled
        )
        self.children.start()
        self.deposits = Deposits(self.results)

    def join(self, access: Access) -> None:
        """Dial the router, and serve results to the mesh."""
        self.mesh = access.mesh
        untold = self.results.untold(access.mesh)
        self.core.supply.recall_missed(self.results.missed)
        self.core.recall_untold([(each.task, each.lease, each.kind, each.body) for each in untold])
        folder = sockets.SocketFolder(access.mesh)
        self._joined.callback(folder.leave)
        context = sockets.context()
        self._joined.callback(context.term)
        path = folder.path / f"{self.results.id}.sock"
        listen = data_address(access, self._data)
        self.server = Server(
            context, path, listen, self.results, self.core.keeping, self._data.advertise
        )
        self._joined.callback(self.server.close)
        self.fetching = Fetching(
            self.core,
            self.results,
            self.writer,
            self._poller,
            context,
            self.host,
            self.log,
            access.own,
        )
        self._joined.callback(self.fetching.close)
        self.route = Route(context, self._poller, access, time.monotonic())
        self._joined.callback(self.route.close, LAST_WORDS_MS)
        for each in self.server.sockets:
            self._poller.add(each, quiet=True)
        self.core.about = {
            "host": self.host,
            "pid": os.getpid(),
            "data": self.server.address,
            "content": str(self.results.content),
            "home": self._home,
            "slots_by": self._slots_by,
            **facts.lasting(),
            "resources": self._amounts,
        }

    def run(self, joined: Callable[[], None] | None = None) -> str:
        """Serve until it is time to leave; the reason. `joined` is called once, when welcomed."""
        core = self.core
        self._patience.heard(time.monotonic())
        serving = False
        while True:
            now = time.monotonic()
            due = min(core.deadline(now), self.fetching.deadline(now), self.route.deadline())
            ready = self._poller.wait(0.0 if serving else due - now)
            now = time.monotonic()
            if now - due > core.settings.heartbeat_s:
                self._patience.rest(now - due)  # this process was stopped
                core.rest(now - due)
                self.fetching.rest(now - due)
            if "connected" in list(self.route.look(ready, now)):
                core.handle(events.Connected(), now)
            if self.route.is_refused and joined is not None:
                core.failed = True
                core.give_up(f"the mesh does not let it in: {self.route.why()}")
            if not ready.isdisjoint(self.life.sources):
                self._look_after(now)
            self.children.hear(ready, now)
            self._hear_router(ready, now)
            if not ready.isdisjoint(self.server.sockets):
                self.server.take()
            serving = self.server.serve()
            self.fetching.hear(ready, now)
            if serving or self.fetching:
                self._allocator.moved(now)
            if self.wake.is_set:
                self.wake.clear()
                for event in self.writer.done():
                    self._handle_written(event, now)
                for told in self._errands.told():
                    core.handle(told, now)
            if now >= due:
                core.handle(events.Tick(), now)
                self.children.tend(now)
                self.deposits.tend(now)
                self.server.tend()
                self._allocator.tend(now)
                self._look_for_router(now)
            reason = self._settle(time.monotonic())  # it may have been stopped amid this turn
            if core.welcome is not None:
                self._patience.welcomed()
                if joined is not None:
                    joined()
                    joined = None
            if reason is not None:
                return reason

    # -- in ----------------------------------------------------------------------------------

    def _hear_router(self, ready: set[Any], now: float) -> None:
        for frames in self.route.receive(ready):
            self._patience.heard(now)
            try:
                envelope = decode(frames)
            except DecodeError as error:
                self.log(f"the router sent what is no message: {error}")
            else:
                self.core.handle(events.RouterHeard(envelope), now)

    def _look_for_router(self, now: float) -> None:
        reason = self._patience.ended(now, self.route.why)
        if reason is not None:
            self.router_lost = True
            self.core.give_up(reason)

    def _look_after(self, now: float) -> None:
        """A signal came: a child has died, or it is time to leave."""
        within_s = self.life.ended()
        if within_s:
            with suppress(OSError):  # a full disk
                (self.incoming / LEAVING_FILE).touch()
        self.children.bury(now)
        if within_s is not None:
            why = "its owner is gone" if self.life.owner_gone else "told to by a signal"
            self.core.leave(why, within_s, now)

    # -- out ---------------------------------------------------------------------------------

    def _settle(self, now: float) -> str | None:
        """Carry out a turn; the reason to leave, if it was the last."""
        turn = self.core.settle(now)
        self.log.keep(self.core.journal.take())
        for envelope in turn.sends:
            facts.complete(envelope.message)
            self.route.send(encode(envelope))
        changed = self.children.carry_out(turn, now)
        self._told += [Told(*each) for each in turn.told]
        self._hand_over(turn)
        if turn.let_in is not None:
            self.server.let_in(turn.let_in)
        if turn.list_behind is not None:
            self._list(turn.list_behind, now)
        if turn.oldest_behind is not None:
            self.writer.submit(0, [], [(0, "oldest", (turn.oldest_behind, OLDEST_ROWS))])
        self._errands.send(turn)
        if turn.warning is not None:
            self.log(turn.warning, "no room")
        for order in turn.fetch:
            self.fetching.fetch(order, now)
        for order in turn.moved:
            self.fetching.moved(order)
        for relayed in turn.relayed:
            self._take_relayed(relayed, now)
        changed |= self.fetching.settle(now) or bool(turn.fetch or turn.relayed)
        if changed:
            return self._settle(now)
        self.fetching.hand_over()
        return turn.stop

    def _hand_over(self, turn: events.WorkerTurn) -> None:
        """What is to be written, in the order of its tickets."""
        writes: dict[int, list[Write]] = {}
        for ticket, kind, body in turn.store:
            refs = outcome.refs_in(kind, body)
            untold = Untold(refs[0].task, refs[0].lease, self.mesh, kind, body)
            told, self._told = self._told, []
            writes[ticket] = [*refs, untold, *told]
        for ticket, rows in turn.take:
            writes[ticket] = self.deposits.take(ticket, rows)
        for ticket, refs in turn.own:
            writes[ticket] = self.fetching.own(ticket, refs)
        if turn.drop:
            writes[turn.drop_ticket] = [Gone(*each) for each in turn.drop]
        if len(self._told) > TOLD_MAX:  # else they wait for company
            told, self._told = self._told, []
            writes[self.core.slots.next_ticket()] = [*told]
        for ticket in sorted(writes):
            self.writer.submit(ticket, writes[ticket], [])

    def _look_up_amid(self, writes: list[Any], lookups: list[tuple[str, Any]]) -> list[Any]:
        """Where the disk has no room for writes: what is there is there."""
        return [self.results.look_up(*each) for each in lookups]

    def _list(self, behind: bytes, now: float) -> None:
        """Tell the core what the store holds."""
        found, last = self.results.listed(behind, OFFER_ROWS)
        rows: list[list[Any]] = [[*unkey(task), lease] for task, lease in found]
        self.core.handle(events.Listed(rows, last), now)

    def _take_relayed(self, message: m.Relay, now: float) -> None:
        """Something came by way of the router: an answer, or a request that is answered so."""
        if message.store:
            self.fetching.hear_relayed(message, now)
            return
        try:
            head, *content = self.server.relayed(message.head, message.content)
        except DecodeError:
            return  # the router has passed on what is neither
        answer = m.Relay("", message.number, head, b"".join(content))  # it leaves later
        self.core.supply.relay(answer)

    def _handle_written(self, event: Any, now: float) -> None:
        if type(event) is events.Found:
            rows = [[[*unkey(task), *rest] for task, *rest in each] for each in event.answer]
            event = events.Oldest(*rows)
        elif type(event) is events.Stalled:
            self._say_stalled(event.reason)
        else:
            self._stalled = None
            self.core.keeping.stored(*self.results.held)
            self.fetching.committed(event.ticket, now)
            taken = self.deposits.taken(event.ticket)
            if taken:
                self.core.handle(events.TakenIn(taken), now)
        self.core.handle(event, now)

    def _say_stalled(self, reason: str) -> None:
        if self._stalled is None:
            self.log(f"waits for room: {reason}", "no room")
        self._stalled = reason

    def close(self) -> None:
        """End the slots and leave nothing behind but the store."""
        self.children.close()
        self.writer.submit(self.core.slots.next_ticket(), self._told, [])
        self.writer.close()  # before the files go that it moves
        self.deposits.close()
        self._joined.close()
        self.results.close()
        self._lock.release()


def main() -> None:
    """``python -c … OPTIONS``: a worker whose owner holds the life pipe, hears when it is ready,
    and then sends the access."""
    options = json.loads(sys.argv[1])
    log = Log(options["log"], as_json=options.get("log_json", False))
    log.catch_crashes()
    life = Life(options["pipe"])
    told = False

    def access() -> str:
        nonlocal told
        tell_owner(options["ready"], {})
        told = True
        return life.first_line()

    try:
        code = serve(options, life, log, access)
    except MeshError as error:
        log(f"error: {error}", "error", type=public_name(error))
        if not told:
            failure = {"type": public_name(error), "message": str(error)}
            tell_owner(options["ready"], {"error": failure})
        code = 1
    raise SystemExit(code)


def serve(
    options: dict[str, Any],
    life: Life,
    log: Log,
    access: Callable[[], str],
    joined: Callable[[], None] | None = None,
) -> int:
    """Run a worker to its end; the exit code: 0 if it was told to leave, ROUTER_LOST, or 1.

    `access` gives the line that says where the router is, or "" if there will be none.

    Raises:
        MeshError: its folder cannot be used.
    """
    collect_seldom()
    folder = Path(options["folder"])
    worker = Worker(
        folder,
        options["slots"],
        durability=options["durability"],
        life=life,
        log=log,
        data=DataPort(options.get("data_port"), options.get("advertise", ())),
        **{name: options[name] for name in PASSED if name in options},
    )
    try:
        line = access()
        if line:
            worker.join(Access.from_json(json.loads(line)))
            log(f"leaves: {worker.run(joined)}", "stopped")
    finally:
        worker.close()
    if options.get("temporary"):  # not after an error: the next worker goes on here
        # Of the rest takes care who is still there: owner, router, or nobody.
        shutil.rmtree(folder.parent if life.owner_gone else folder, ignore_errors=True)
    elif worker.core.parting.is_closed:
        shutil.rmtree(folder, ignore_errors=True)
    return ROUTER_LOST if worker.router_lost else int(worker.core.failed)
