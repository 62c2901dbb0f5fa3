"""The cast of a run: every process that plays a part, started, found, and started again.

Each part has a folder's name, a log of its own, and lives: who was ended plays again. Slots, and
the router and worker of a client that owns a mesh, are found below the part that has started them.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .. import procfs
from .faults import HEARTBEAT_S, LOST_AFTER_S, STORE_LOST_AFTER_S
from .history import History
from .record import MAIN
from .wire import Wire

#: Every process of a run has this mark in its environment, and hands it on.
MARK = "MESH_CHAOS"

ROOT = Path(__file__).resolve().parents[2]

#: A router says that it serves within this.
UP_S = 30.0


@dataclass
class Part:
    """One process to be, and its lives.

    Attributes:
        role: router, worker, client or owner.
        name: its own.
        process: who plays it now, or played it last.
        life: how many have played it before.
        back_s: for how long it stays away after its present end.
        expected: whether its end was brought about by a fault.
        alive: whether somebody plays it.
    """

    role: str
    name: str
    command: list[str]
    process: subprocess.Popen[bytes] | None = None
    pidfd: int = -1
    life: int = 0
    back_s: float = 0.0
    expected: bool = False
    alive: bool = False

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid


@dataclass
class Size:
    """How many play."""

    workers: int = 3
    slots: int = 2
    clients: int = 3
    owners: int = 1


@dataclass
class Cast:
    """All parts of a run in the folder `home`; `sockets` is a short path."""

    home: Path
    sockets: Path
    history: History
    seed: int
    size: Size
    parts: list[Part] = field(default_factory=list)
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)

    def __post_init__(self) -> None:
        for name in ("logs", "traces", "tmp", "home"):
            (self.home / name).mkdir()
        self.wire = Wire(self.sockets / "wire.sock", self.home / "wire.json")
        for number in range(1, self.size.workers + 1):
            name, slots = f"worker-{number}", str(self.size.slots)
            access, store = str(self.access_of(name)), str(self.home / name)
            arguments = ["--access", access, "--dir", store, "--slots", slots]
            if number == 1:
                arguments += ["--home", "--max-tasks-per-child", "200"]
            self._add("worker", name, ["-m", "mesh", "worker", *arguments])
        for number in range(1, self.size.clients + 1):
            self._add("client", f"client-{number}", ["-m", "bench.chaos.client"])
        for number in range(1, self.size.owners + 1):
            self._add("owner", f"owner-{number}", ["-m", "bench.chaos.client"])
        router: dict[str, Any] = {
            "folder": str(self.home / "mesh"),
            "access": str(self.access),
            "durability": "disk",
            "settings": {
                "heartbeat_s": HEARTBEAT_S,
                "lost_after_s": LOST_AFTER_S,
                "store_lost_after_s": STORE_LOST_AFTER_S,
            },
        }
        self._add("router", "router", ["-m", "bench.chaos.router", json.dumps(router)])

    def _add(self, role: str, name: str, command: list[str]) -> None:
        self.parts.append(Part(role, name, [sys.executable, *command]))

    @property
    def access(self) -> Path:
        return self.home / "mesh" / "access.json"

    def access_of(self, name: str) -> Path:
        """What a worker or client joins by: those with even numbers through the wire."""
        return self.wire.access if name[-1:] in tuple("02468") else self.access

    @property
    def environment(self) -> dict[str, str]:
        """Of everybody: places of their own, and the mark."""
        return os.environ | {
            MARK: self.mark,
            "TMPDIR": str(self.home / "tmp"),
            "HOME": str(self.home / "home"),
            "XDG_RUNTIME_DIR": str(self.sockets),
            "PYTHONPATH": str(ROOT),
            "PYTHONFAULTHANDLER": "1",
        }

    def of(self, role: str) -> list[Part]:
        """The parts of that role."""
        return [part for part in self.parts if part.role == role]

    @property
    def router(self) -> Part:
        return self.of("router")[0]

    # -- starting and ending -----------------------------------------------------------------

    def start(self, part: Part) -> None:
        """Have somebody play `part`. Waits for a router to serve."""
        command = part.command
        if part.role in ("client", "owner"):
            command = command + self.of_client(part.name, f"{part.name}.{part.life}", part.role)
        log = open(self.home / "logs" / f"{part.name}.log", "ab")  # noqa: SIM115
        with log:
            part.process = subprocess.Popen(
                command,
                cwd=self.home,
                env=self.environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE if part.role == "router" else log,
                stderr=log,
                start_new_session=True,
            )
        part.pidfd = os.pidfd_open(part.pid)
        part.alive, part.expected, part.back_s = True, False, 0.0
        self.history("started", role=part.role, name=part.name, pid=part.pid)
        if part.role == "router":
            self._await_router(part)

    def of_client(self, name: str, life: str, role: str, *more: str) -> list[str]:
        """What a client is told."""
        joined = role == "client"
        place = (
            ["--access", str(self.access_of(name))] if joined else ["--dir", str(self.home / name)]
        )
        return [
            *("--name", life, "--mesh", MAIN if joined else name, "--seed", str(self.seed)),
            *("--history", str(self.history.path), "--traces", str(self.home / "traces")),
            *place,
            *more,
        ]

    def _await_router(self, part: Part) -> None:
        assert part.process is not None and part.process.stdout is not None
        with part.process.stdout as said:
            line = said.readline() if select.select([said], [], [], UP_S)[0] else b""
            if line:
                self.wire.leads_to(json.loads(line))
                self.history("up", role="router", name=part.name, pid=part.pid)

    def bury(self, part: Part) -> int:
        """Somebody has ended; the exit code."""
        assert part.process is not None and part.process.stdin is not None
        code = part.process.wait()
        part.process.stdin.close()
        os.close(part.pidfd)
        part.alive = False
        part.life += 1
        self.history(
            "gone",
            role=part.role,
            name=part.name,
            pid=part.pid,
            code=code,
            expected=part.expected,
        )
        return code

    def end(self) -> None:
        """End everybody at once, whoever they are."""
        for part in self.parts:
            if part.alive:
                part.expected = True
                part.process.kill()  # type: ignore[union-attr]
                self.bury(part)
        for pid in self.marked():
            _signal(pid, signal.SIGKILL)
        self.wire.close()

    # -- finding -----------------------------------------------------------------------------

    def below(self, part: Part, name: str) -> list[int]:
        """The slots of a worker; the router, worker or slots of an owner's mesh."""
        if not part.alive:
            return []
        wanted = f"from mesh.processes.{name} import main".encode()
        return sorted(pid for pid in procfs.descendants(part.pid) if wanted in _line(pid))

    def marked(self) -> dict[int, str]:
        """All living processes of the run, with their command lines."""
        wanted = f"{MARK}={self.mark}".encode()
        found = {}
        for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
            try:
                if wanted in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                    found[pid] = _line(pid).replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue  # it ended meanwhile, or is another user's
        return found


def _line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _signal(pid: int, number: int) -> bool:
    """Whether there was somebody to take the signal."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def strike(pids: list[int], number: int) -> list[int]:
    """Send a signal to all; who was there. A process that SIGKILL took is gone on return, but for
    its zombie."""
    hit = [pid for pid in pids if _signal(pid, number)]
    if number == signal.SIGKILL:
        for pid in hit:
            await_end(pid, 5.0)
    return hit


def await_end(pid: int, timeout_s: float) -> bool:
    """Wait until a process has ended (a zombie has); False if it takes longer."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], max(0.0, timeout_s))[0])
    finally:
        os.close(descriptor)
