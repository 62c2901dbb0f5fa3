"""The harness: a run from its begin to the judge's door.

It brings the cast up, injects the faults of the plan, starts again who has ended, and then has
quiet: everybody is there again, every client waits for what it submitted, auditors ask for all of
it by id, the mesh is stopped, and what is left behind is looked for. It judges nothing.
"""

from __future__ import annotations

import heapq
import itertools
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from mesh import Mesh
from mesh.core.events import Settings

from .. import procfs
from .cast import Cast, Part, Size, await_end, strike
from .faults import LOST_AFTER_S, Fault, plan
from .history import History
from .logs import alarming
from .record import MAIN
from .spoiling import spoil, wipe

#: The slots are there within this, and whoever was told to leave is gone.
READY_S = 40.0

#: Clients have ended within this after the last fault: their longest wait for one task is 60 s.
CLIENTS_S = 150.0

#: An auditor writes something down this often: no answer takes longer. How long it takes for all
#: goes with the number of tasks.
AUDIT_S = 120.0

#: Who ended without a fault of its own (its mesh was stopped) is started again after this.
BACK_S = 0.3

#: What was told to go may take this long to be gone.
GOING_S = 5.0

#: What a fault does to processes; all others stop them.
SIGNALS = {"kill": signal.SIGKILL, "wipe": signal.SIGKILL, "leave": signal.SIGTERM}


class Harness:
    """One run of `seconds` in the folder `home`, whose history is `home/history.jsonl`."""

    def __init__(self, home: Path, seed: int, seconds: float, size: Size) -> None:
        self.seconds = seconds
        self.history = History(home / "history.jsonl")
        self.sockets = Path(tempfile.mkdtemp(prefix="mesh-chaos-", dir="/tmp"))  # short, for ipc
        self.cast = Cast(home, self.sockets, self.history, seed, size)
        self.faults = plan(seed, seconds)
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._restarting = True
        self.history(
            "settings",
            seed=seed,
            seconds=seconds,
            lost_after_s=LOST_AFTER_S,
            slot_losses_max=Settings().slot_losses_max,
            worker_losses_max=Settings().worker_losses_max,
        )

    def run(self) -> None:
        """From begin to end. What went wrong is in the history."""
        try:
            self._up()
            begin = time.monotonic()
            for fault in self.faults:
                self._at(begin + fault.at_s, partial(self._inject, fault))
            self._live(begin + self.seconds)
            if self._quiet():
                self._finish()
                self._audit()
                self._stop()
            self._look_for_leftovers()
        finally:
            self.cast.end()
            shutil.rmtree(self.sockets, ignore_errors=True)
            self.history.close()

    # -- begin -------------------------------------------------------------------------------

    def _up(self) -> None:
        cast = self.cast
        cast.start(cast.router)
        for part in cast.parts:
            if part.role == "worker":
                cast.start(part)
        self._await_slots()
        self._count_descriptors("first")
        for part in cast.parts:
            if part.role in ("client", "owner"):
                cast.start(part)

    def _await_slots(self) -> bool:
        """Until all workers have joined with all their slots."""
        wanted = self.cast.size.workers * self.cast.size.slots
        try:
            with Mesh(access=self.cast.access) as mesh:
                mesh.wait_for_slots(wanted, READY_S)
        except Exception as error:
            self.history("hung", who=f"the workers, after {READY_S:g} s: {error}")
            return False
        return True

    def _count_descriptors(self, when: str) -> None:
        pid = self.cast.router.pid
        self.history("descriptors", pid=pid, count=procfs.descriptors(pid), when=when)

    # -- faults ------------------------------------------------------------------------------

    def _at(self, when: float, do: Callable[[], None]) -> None:
        heapq.heappush(self._due, (when, next(self._order), do))

    def _live(self, until: float, *, done: Callable[[], bool] = lambda: False) -> bool:
        """Do what is due, and start again who has ended, until then or until it is done."""
        while True:
            now = time.monotonic()
            while self._due and self._due[0][0] <= now:
                heapq.heappop(self._due)[2]()
            if done():
                return True
            if now >= until:
                return False
            alive = [part for part in self.cast.parts if part.alive]
            wake = min([until, *(entry[0] for entry in self._due[:1])])
            pause = max(0.0, wake - time.monotonic())
            ready = select.select([part.pidfd for part in alive], [], [], pause)[0]
            for part in alive:
                if part.pidfd in ready:
                    self._has_ended(part)

    def _has_ended(self, part: Part) -> None:
        back_s = part.back_s if part.expected else BACK_S
        self.cast.bury(part)
        if self._restarting:
            self._at(time.monotonic() + back_s, lambda: self.cast.start(part))

    def _inject(self, fault: Fault) -> None:
        """Carry out a fault on whoever plays the part now; nothing if nobody does."""
        if fault.kind == "cut":
            if self.cast.wire.cut(fault.number):
                self.history("fault", kind="cut", role="wire", name="wire", mesh=MAIN, pids=[])
            return
        victims, pids, name, mesh = self._victims(fault)
        if not pids:
            return
        begun = time.monotonic()
        about: dict[str, Any] = {"kind": fault.kind, "role": fault.role, "name": name, "mesh": mesh}
        store = self.cast.home / name
        if fault.kind == "spoil":
            ids = spoil(store / "content", fault.slot)
            self.history("fault", t=begun, **about, pids=[], ids=ids, until=time.monotonic())
            return
        number = SIGNALS.get(fault.kind, signal.SIGSTOP)
        below = set(pids).union(*map(procfs.descendants, pids))
        for part in victims:
            if number != signal.SIGSTOP:
                part.expected, part.back_s = True, fault.for_s
        hit = strike(pids, number)
        about["pids"] = sorted(below) if number == signal.SIGKILL else hit
        if fault.kind == "wipe":
            for pid in below:  # slots write there
                await_end(pid, GOING_S)
            about["ids"] = wipe(store)
        self.history("fault", t=begun, **about, until=time.monotonic())
        if number == signal.SIGSTOP:
            self._at(time.monotonic() + fault.for_s, lambda: self._continue(hit))

    def _continue(self, pids: list[int]) -> None:
        strike(pids, signal.SIGCONT)
        self.history("continued", pids=pids)

    def _victims(self, fault: Fault) -> tuple[list[Part], list[int], str, str]:
        """The parts that a fault ends, the processes it hits, their name and their mesh."""
        cast = self.cast
        role, _, below = fault.role.partition("'s ")
        if fault.role == "everything":
            parts = [part for part in cast.parts if part.alive and part.role != "owner"]
            return parts, [part.pid for part in parts], "everything", MAIN
        above = cast.of("worker" if role == "slot" else role)
        if fault.kind == "wipe":
            above = above[1:]  # the first is the home worker: what it keeps nobody can make again
        part = above[fault.number % len(above)] if above else None
        if part is None or not part.alive:
            return [], [], "", ""
        mesh = part.name if part.role == "owner" else MAIN
        if role == "slot" or below:
            pids = cast.below(part, below or role)
            some = [pids[fault.slot % len(pids)]] if pids else []
            return [], some, f"{below or role} of {part.name}", mesh
        return [part], [part.pid], part.name, mesh

    # -- quiet -------------------------------------------------------------------------------

    def _quiet(self) -> bool:
        """No more faults: everybody is there again, and whoever was told to leave has left."""
        there = self._live(
            time.monotonic() + READY_S,
            done=lambda: (
                not self._due and all(part.alive and not part.expected for part in self.cast.parts)
            ),
        )
        self.history("quiet")
        if not there:
            away = ", ".join(p.name for p in self.cast.parts if not p.alive or p.expected)
            self.history("hung", who=f"not started again: {away}")
        return there and self._await_slots()

    def _finish(self) -> None:
        """Clients submit nothing more, wait for what they have, and leave."""
        clients = [part for part in self.cast.parts if part.role in ("client", "owner")]
        for part in clients:
            assert part.process is not None and part.process.stdin is not None
            part.process.stdin.close()
        self._restarting = False
        self._live(
            time.monotonic() + CLIENTS_S,
            done=lambda: not any(part.alive for part in clients),
        )
        for part in clients:
            if part.alive:
                self.history("hung", who=f"{part.name} has not ended {CLIENTS_S:g} s after")
                self._abort(part.process)

    def _abort(self, process: subprocess.Popen[bytes] | None) -> None:
        """Have somebody who hangs say where."""
        assert process is not None
        process.send_signal(signal.SIGABRT)
        await_end(process.pid, GOING_S)

    def _audit(self) -> None:
        """Somebody else asks for everything."""
        auditors: list[subprocess.Popen[bytes]] = []
        cast = self.cast
        for role, name in [("client", "main"), *(("owner", p.name) for p in cast.of("owner"))]:
            more = cast.of_client(name, f"auditor of {name}", role, "--audit")
            with open(cast.home / "logs" / f"auditor-{name}.log", "ab") as log:
                auditors.append(
                    subprocess.Popen(
                        [sys.executable, "-m", "bench.chaos.client", *more],
                        cwd=cast.home,
                        env=cast.environment,
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=log,
                        start_new_session=True,
                    )
                )
        for auditor in auditors:
            hangs = not await_audit(auditor.pid, self.history.path, AUDIT_S)
            if hangs:
                self.history("hung", who="an auditor")
                self._abort(auditor)
            if auditor.wait() and not hangs:
                self.history("said", who="auditor", line=f"ended with code {auditor.returncode}")
        self._count_descriptors("last")

    def _stop(self) -> None:
        """`mesh stop`, and the mesh goes."""
        for part in self.cast.parts:
            part.expected = True
        subprocess.run(
            [sys.executable, "-m", "mesh", "stop", "--access", str(self.cast.access)],
            env=self.cast.environment,
            cwd=self.cast.home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            timeout=READY_S,
        )
        gone = self._live(
            time.monotonic() + READY_S,
            done=lambda: not any(part.alive for part in self.cast.parts),
        )
        if not gone:
            left = ", ".join(part.name for part in self.cast.parts if part.alive)
            self.history("hung", who=f"after `mesh stop`: {left}")

    # -- what is left ------------------------------------------------------------------------

    def _look_for_leftovers(self) -> None:
        cast = self.cast
        for pid, line in cast.marked().items():
            if not await_end(pid, GOING_S):
                self.history("leftover", what=f"process {pid}: {line[:300]}")
        folders = [cast.home / "tmp", self.sockets / "mesh"]
        folders += cast.home.glob("**/incoming")
        for folder in folders:
            for path in sorted(folder.rglob("*")):
                self.history("leftover", what=f"file {path}")
        for log in sorted(cast.home.glob("**/*.log")):
            for line in alarming(log.read_text(errors="replace")):
                self.history("said", who=str(log.relative_to(cast.home)), line=line)


def await_audit(pid: int, history: Path, patience_s: float) -> bool:
    """Wait until an auditor has ended; False if nothing is added to the history any more."""
    size = -1
    while not await_end(pid, patience_s):
        before, size = size, history.stat().st_size
        if size == before:
            return False
    return True
