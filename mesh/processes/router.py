"""The router process: sockets, store and clock around the router's core.

One turn of its loop: receive what has come, feed the core, carry out what it decided, in this
order: send (dispatch and news wait for no disk), then hand the writes to the writer. It decodes no
payload. After a busy turn it looks at its socket for a moment more before it sleeps: while work
is in flight the next message is microseconds away, and waking up costs tens of them.
"""

from __future__ import annotations

import json
import math
import os
import resource
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from ..core.events import Garbled, Gone, Heard, Settings, Tick
from ..core.router import RouterCore
from ..errors import MeshError, public_name
from ..protocol import messages as m
from ..protocol import version
from ..protocol.codec import DecodeError, decode, encode
from ..store import folder as store_folder
from ..store.durability import Durability
from ..store.records import open_records
from ..task import session_of
from ..transport import descriptors, sockets
from ..transport.poller import Poller
from ..transport.wake import Wake
from . import entrance, facts
from .entrance import Entrance, remove_own
from .garbage import collect_seldom
from .life import Life, tell_owner
from .log import Log
from .payloads import Payloads
from .writer import Writer

#: How long the router looks for more before it sleeps.
SPIN_S = 0.000_5

#: What comes by the clock, and nothing follows: a thousand idle workers must not keep it awake.
QUIET = (m.Beat, m.Report)

#: The quota of the records is at most this part of what they can ever take (where address space is
#: limited that is 1 GiB): full to the last page they could not even forget.
QUOTA_PART = 0.5

#: Writes gather for so long before the writer gets them, unless a lookup waits behind them. The
#: commit's work then falls between round trips instead of into each; only acknowledgements wait,
#: and nobody waits for those but `flush`.
GATHER_S = 0.004

#: More writes than this are handed over at once: the writer should not fall behind.
GATHER_WRITES = 64

#: Who cannot be sent to is looked for at most so often, whoever connects and hangs up all the time.
PROBE_PAUSE_S = 0.25

#: The answer to "stop" is among the last messages: a client that reads gets it within this.
LAST_WORDS_MS = 500

#: With the writer thread beside the loop: a thread that asks for the interpreter gets it this soon.
SWITCH_INTERVAL_S = 0.000_5


class Router:
    """One life of a router.

    Args:
        folder: the mesh's folder; records are in ``folder/router``.
        listen: an address of TCP, or ``any``, to listen there too.
        advertise: addresses of TCP by which others reach it as well.
        access: where to write the access file, beside the one in `folder`.
        durability: what acknowledged means; see `store.durability`.
        temporary: whether the folder goes with the mesh.
        life: what ends this process besides `stop`.
        log: where a line about each event goes, if it is for programs.
    """

    def __init__(
        self,
        folder: Path,
        listen: str | None,
        access: Path,
        *,
        durability: Durability,
        temporary: bool,
        life: Life,
        log: Log,
        settings: Settings,
        advertise: Sequence[str] = (),
    ) -> None:
        descriptors.reserve(descriptors.ROUTER, "a router", sockets.SOCKETS_MAX)
        self._start = time.monotonic()
        self._life = life
        self._log = log
        home = folder / "router"
        store_folder.prepare(home)
        self._lock = store_folder.Lock(home)
        ring = entrance.ring_of(folder, access)
        mesh = session_of(os.urandom(8)) if ring is None else ring.mesh
        self.records = open_records(home, os.urandom(16), mesh, durability, temporary=temporary)
        restored = self.records.restore()
        self.mesh = restored.mesh
        self.entrance = Entrance(self.mesh, folder, ring, listen, advertise)
        most = int(self.records.tables.room_bytes * QUOTA_PART)
        settings = replace(settings, quota_bytes=min(settings.quota_bytes, most))
        self.core = RouterCore(restored, settings, time.monotonic())
        self.core.ledger.ahead_s = time.time() - time.monotonic()
        self.core.ledger.journal.on = log.as_json
        self.payloads = Payloads(self.records)
        self.wake = Wake()
        rest = self.records.tables.rest if durability == "process" and not temporary else None
        records = self.records
        self.writer = Writer(records.apply, records.look_up, self.wake, rest, records.look_up_amid)
        self.access_files = {folder / "access.json", access}
        self._busy_until = 0.0
        self._probe_at, self._probed_at = math.inf, -math.inf
        self._gathered: list[tuple[Any, ...]] = []
        self._ticket = 0
        self._hand_over_at = math.inf
        self._poller = Poller(self.wake, *life.sources)
        self.entrance.attend(self._poller)
        self.core.peers.keys, self.core.peers.runs = self.entrance.roles, version.own()
        try:
            self.access = self.entrance.write(self.access_files)
        except MeshError:
            self.close()
            raise

    def run(self) -> None:
        """Serve until told to stop."""
        core = self.core
        stopped = False
        while not stopped:
            before = time.monotonic()
            due = min(core.deadline(before), self._hand_over_at, self._probe_at)
            self._wait(before, due)
            now = time.monotonic()
            if now - due > core.settings.heartbeat_s:
                core.peers.rest(now - due)  # this process was stopped: nobody else was silent
            if self._receive(now):
                self._busy_until = now + SPIN_S
            if self.wake.is_set:
                self.wake.clear()
                for event in self.writer.done():
                    core.handle(event, now)
            if now >= core.deadline(before):
                core.ledger.ahead_s = time.time() - now
                core.handle(Tick(), now)
            stopped = self._settle(now)

    def _wait(self, now: float, due: float) -> None:
        """Until something came in or time is due."""
        ready = self._poller.wait(due - now, max(0.0, self._busy_until - now))
        was_shut = self.entrance.is_shut
        if self.entrance.look(ready):
            self._probe_at = min(self._probe_at, max(now, self._probed_at + PROBE_PAUSE_S))
        if self.entrance.is_shut != was_shut:
            how = "lets newcomers in again" if was_shut else "lets nobody else in by TCP for now"
            count, limit = descriptors.usage()
            self._log(f"{how}: {count} of {limit} open files are in use", "gate", shut=not was_shut)
        if now >= self._probe_at:
            self._probe(now)
        if not ready.isdisjoint(self._life.sources):
            within_s = self._life.ended()
            if within_s is not None:
                self.core.stop(within_s, now, orphaned=self._life.owner_gone)

    def _receive(self, now: float) -> bool:
        """Feed what has come in to the core; whether more is to be expected."""
        is_busy = False
        for peer, frames, role, far in self.entrance.receive():
            try:
                envelope = decode(frames)
            except DecodeError as error:
                self.core.handle(Garbled(peer, str(error)), now)
            else:
                is_busy = is_busy or type(envelope.message) not in QUIET
                self.core.handle(Heard(peer, envelope, role, far), now)
        return is_busy

    def _settle(self, now: float) -> bool:
        """Carry out a turn; whether it was the last."""
        turn = self.core.settle(now)
        if turn.writes:
            self.payloads.add(turn.writes, turn.ticket)
        self.payloads.ended(turn.kept, turn.ticket)
        for peer, envelope in turn.sends:
            self._complete(envelope.message)
            if not self.entrance.send(peer, encode(envelope)):
                self.core.handle(Gone(peer), now)
        if turn.writes:
            if not self._gathered:
                self._hand_over_at = now + GATHER_S
            self._gathered += turn.writes
            self._ticket = turn.ticket
        enough = len(self._gathered) >= GATHER_WRITES or now >= self._hand_over_at
        if turn.lookups or self._gathered and (enough or self.core.stopping):
            self.writer.submit(self._ticket, self._gathered, turn.lookups)
            self._gathered = []
            self._hand_over_at = math.inf
        self.payloads.trim(self.core.committed)
        if turn.renew:
            self.core.peers.renew(self.entrance.renew(self.access_files), now)
        if self._log.as_json:
            self._log.keep(self.core.ledger.journal.take())
        return turn.stop

    def _complete(self, message: m.Message) -> None:
        """Put in what the core does not have: payloads, code, facts of this process."""
        if type(message) is m.Tasks:
            for row in message.pieces:
                row[5] = self.payloads.of_tasks(row[5])
        elif type(message) is m.Inputs:
            self.payloads.fill_in(message.rows)
        elif type(message) is m.Function:
            message.payload = self.payloads.of_function(message.digest)
        elif type(message) is m.Tell and type(message.value) is dict and "router" in message.value:
            message.value["router"] |= {
                "pid": os.getpid(),
                "address": self.access.address,
                "uptime_s": round(time.monotonic() - self._start, 3),
                "memory_bytes": resident_bytes(),
                **facts.lasting(),
                **facts.passing(),
            }

    def _probe(self, now: float) -> None:
        """A connection broke; the socket does not say whose. Who cannot be sent to is gone."""
        self._probe_at, self._probed_at = math.inf, now
        for peer in list(self.core.peers.by_id.values()):
            self.core.peers.send(peer, m.Beat(), now)

    def close(self) -> None:
        """Leave nothing behind but the records."""
        self.writer.close()
        self.entrance.close(LAST_WORDS_MS)
        self.records.close()
        for file in self.access_files:
            remove_own(file)
        self._lock.release()  # last: another router may serve here from now on


def resident_bytes() -> int:
    """The memory of this process, as the system counts it."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    """``python -c … OPTIONS``: a router whose owner holds the life pipe and awaits the access."""
    options = json.loads(sys.argv[1])
    log = Log(options["log"], as_json=options.get("log_json", False))
    log.catch_crashes()
    life = Life(options["pipe"])
    raise SystemExit(serve(options, life, log, partial(tell_owner, options["ready"])))


def serve(
    options: dict[str, Any], life: Life, log: Log, tell: Callable[[dict[str, Any]], None]
) -> int:
    """Run a router to its end; the exit code. `tell` gets its access, or its error."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    collect_seldom()
    folder = Path(options["folder"])
    try:
        router = Router(
            folder,
            options.get("listen"),
            Path(options["access"]),
            durability=options["durability"],
            temporary=options.get("temporary", False),
            life=life,
            log=log,
            settings=Settings(**options.get("settings", {})),
            advertise=options.get("advertise", ()),
        )
    except MeshError as error:
        tell({"error": {"type": public_name(error), "message": str(error)}})
        log(f"error: {error}", "error", type=public_name(error))
        return 1
    try:
        tell(router.access.as_json())
        epoch, address = router.core.epoch, router.access.address
        log(
            f"router of mesh {router.mesh}, epoch {epoch}, at {address}",
            "started",
            mesh=router.mesh,
            epoch=epoch,
            address=address,
        )
        router.run()
        log("leaves", "stopped")
    finally:
        router.close()
    if options.get("temporary"):  # not after an error: the next router goes on here
        shutil.rmtree(folder, ignore_errors=True)
    return 0
