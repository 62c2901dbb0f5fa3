"""A mesh on this machine: its router and worker as children, started, watched, ended.

The owner (a script, or `mesh up`) holds the writing end of a pipe to each child; when the owner
is gone, however it went, the pipe ends and the children leave. A child that dies is started anew
on the same folder: the router comes back with its records, the worker with its store.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from .. import errors
from ..errors import MeshError, RouterUnreachable
from ..store import folder as store_folder
from ..store import inspection
from ..store.durability import Durability
from ..transport.access import Access
from . import litter, spawn
from .interrupts import put_off

#: A router that has not answered by now will not: its folder's disk hangs, or the machine does.
#: Stores that are in doubt get the time that going through them may take.
READY_S = 30.0

#: A child that dies this often within RESTART_WINDOW_S is not started again. More often than
#: `worker_losses_max`: a task that takes its worker along has to come to its own end first. It is
#: long, for a worker takes five seconds to find that no slot starts.
RESTARTS_MAX = 15
RESTART_WINDOW_S = 120.0

#: How long children have to leave in order before they are ended.
LEAVE_S = 10.0


@dataclass
class Plan:
    """What to start: the options of `LocalMesh`.

    Attributes:
        folder: the mesh's folder; router, worker, logs and, unless told otherwise, access file.
        slots: processes of its worker; 0 for a worker that only keeps results.
        threads: how many tasks each of them runs at once.
        listen: an address, or None for ipc.
        advertise: addresses by which others reach its router as well.
        access: the access file, or None for ``folder/access.json``.
        durability: what acknowledged means; see `store.durability`.
        temporary: whether the folder goes when the mesh goes.
        resources: what its worker has for tasks to ask for; see `processes.worker`.
        data_port: where its worker serves results on TCP; see `processes.worker`.
        tasks_max: after so many tasks a slot's process is replaced; None: never for that.
        memory_max: beyond so many bytes of resident memory it is; None: never for that.
        log_json: whether logs are JSON, with a line for each event of each task.
        settings: fields of `core.events.Settings` that differ from their defaults.
    """

    folder: Path
    slots: int
    listen: str | None = None
    access: Path | None = None
    durability: Durability = "disk"
    temporary: bool = False
    data_port: int | None = None
    tasks_max: int | None = None
    memory_max: int | None = None
    log_json: bool = False
    threads: int = 1
    resources: dict[str, int] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    advertise: Sequence[str] = ()

    @property
    def access_file(self) -> Path:
        """Where the access file is."""
        return self.access if self.access is not None else self.folder / "access.json"


class _Died(MeshError):
    """A child died before it was ready, and did not say why."""


class LocalMesh:
    """A running mesh that this process owns. `given_up(why)` is called, in a thread of its own,
    when a child is not started again.

    Raises:
        MeshError: what the router or worker says about why it cannot start (`StoreError`, …).
    """

    def __init__(
        self,
        plan: Plan,
        warn: Callable[[str], None],
        given_up: Callable[[str], None] | None = None,
    ) -> None:
        store_folder.make(plan.folder)
        self.plan = plan
        self._warn = warn
        self._given_up = given_up or warn
        self._lock = threading.Lock()
        self._closing = False
        self._deaths: list[float] = []
        self._patience_s: dict[str, float] = {}
        self._pipes: dict[str, int] = {}
        self._answers: dict[str, IO[bytes]] = {}
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._threads: dict[str, threading.Thread] = {}
        self._owned: store_folder.Lock | None = None
        self._changing: store_folder.Lock | None = None
        _owned.add(self)
        store_folder.prepare(plan.folder)
        self._owned = store_folder.Lock(plan.folder)  # of two that start at once, one is told
        if plan.temporary:
            litter.mark(plan.folder)
        try:
            store_folder.vacate(plan.folder, "router", "worker")
            self._spawn_worker()
            self._spawn_router()
            litter.sweep(Path(tempfile.gettempdir()))  # while they start
            self._await_router()
            self._await("worker")
            self._introduce()
        except BaseException:
            self.close(now=True)
            raise
        for name in list(self._children):
            watch = threading.Thread(target=self._watch, args=[name], name=f"mesh-{name}-watch")
            watch.daemon = True
            watch.start()
            self._threads[name] = watch

    def forked(self) -> None:
        """In a fork: the mesh must not live as long as this process. Its owner is the parent."""
        for pipe in self._pipes.values():
            os.close(pipe)
        self._pipes.clear()
        self._release()

    def _log_of(self, name: str) -> Path:
        return self.plan.folder / "log" / f"{name}.log"

    def _pipe_to(self, name: str) -> int:
        """A fresh life pipe; its reading end."""
        read, write = os.pipe()
        old = self._pipes.get(name)
        if old is not None:
            os.close(old)
        self._pipes[name] = write
        return read

    def _spawn_router(self) -> None:
        plan = self.plan
        self._spawn(
            "router",
            {
                "folder": str(plan.folder),
                "listen": plan.listen,
                "advertise": list(plan.advertise),
                "access": str(plan.access_file),
                "durability": plan.durability,
                "log_json": plan.log_json,
                "temporary": plan.temporary,
                "settings": plan.settings,
            },
        )

    def _spawn_worker(self) -> None:
        plan = self.plan
        self._spawn(
            "worker",
            {
                "folder": str(plan.folder / "worker"),
                "slots": plan.slots,
                "threads": plan.threads,
                "home": True,
                "tasks_max": plan.tasks_max,
                "memory_max": plan.memory_max,
                "resources": plan.resources,
                "data_port": plan.data_port,
                "durability": plan.durability,
                "log_json": plan.log_json,
                "temporary": plan.temporary,
            },
        )

    def _spawn(self, name: str, options: dict[str, Any]) -> None:
        """Start a child; `_await` hears how that went."""
        self._patience_s[name] = READY_S
        if not self.plan.temporary:
            self._patience_s[name] += inspection.patience_s(self.plan.folder / name)
        ready, tell = os.pipe()
        self._answers[name] = open(ready, "rb")  # noqa: SIM115
        pipe = self._pipe_to(name)
        os.set_inheritable(tell, True)
        try:
            self._children[name] = spawn.service(
                name, options | {"ready": tell}, self._log_of(name), [pipe, tell]
            )
        finally:
            os.close(pipe)
            os.close(tell)

    def _await(self, name: str) -> dict[str, Any]:
        """What a child says when it is ready.

        Raises:
            MeshError: what it says about why it cannot be, or that it says nothing.
        """
        with self._answers.pop(name) as answer:
            patience_s = self._patience_s[name]
            if not select.select([answer], [], [], patience_s)[0]:
                raise RouterUnreachable(f"the {name} did not start within {patience_s:.0f} s")
            line = answer.readline()
        if not line:
            raise _Died(f"the {name} died at its start: {self._tail(name)}")
        said: dict[str, Any] = json.loads(line)
        if "error" in said:
            raise getattr(errors, said["error"]["type"], MeshError)(said["error"]["message"])
        return said

    def _await_router(self) -> None:
        self.access = Access.from_json(self._await("router"))

    def _introduce(self) -> None:
        """Tell the worker where the router is: the first line of its life pipe."""
        line = json.dumps(self.access.as_json()) + "\n"
        try:
            os.write(self._pipes["worker"], line.encode())
        except BrokenPipeError:
            raise _Died(f"the worker died at its start: {self._tail('worker')}") from None

    def _tail(self, name: str) -> str:
        try:
            lines = self._log_of(name).read_text(errors="replace").strip().splitlines()
        except OSError:
            lines = []
        if lines and self.plan.log_json:
            with suppress(ValueError):
                lines = str(json.loads(lines[-1]).get("text")).splitlines()
        return lines[-1] if lines else f"see {self._log_of(name)}"

    def _watch(self, name: str) -> None:
        """Start `name` anew whenever it dies, within reason."""
        while True:
            code = self._children[name].wait()
            with self._lock:
                now = time.monotonic()
                self._deaths = [t for t in self._deaths if now - t < RESTART_WINDOW_S] + [now]
                if self._closing or code == 0:
                    return
                if len(self._deaths) > RESTARTS_MAX:
                    self._given_up(
                        f"the {name} died {RESTARTS_MAX} times within {RESTART_WINDOW_S:g} s and "
                        f"is not started again; see {self._log_of(name)}"
                    )
                    return
                why = _how(code) if code < 0 else f"{_how(code)}: {self._tail(name)}"
                self._warn(f"the {name} died ({why}) and is started again")
                try:
                    if name == "router":
                        self._spawn_router()
                        self._await_router()
                    else:
                        self._spawn_worker()
                        self._await("worker")
                        self._introduce()
                except _Died:
                    continue  # one death more
                except (MeshError, OSError) as error:
                    self._given_up(f"the {name} cannot be started again: {error}")
                    return

    def begin_end(self) -> None:
        """From now on until it is closed, who would use the folder waits."""
        if self._changing is None and not self.plan.temporary:
            with suppress(MeshError, OSError):  # somebody looks at it for long: then not
                self._changing = store_folder.Lock(self.plan.folder, "changing", LEAVE_S)

    def wait(self) -> int:
        """Until the mesh has ended by itself; its router's exit code: 0 after `mesh stop`."""
        self._threads["router"].join()
        return self._children["router"].returncode

    def close(self, *, now: bool = False) -> None:
        """End the children: those that have been told to leave get LEAVE_S for it.

        Raises:
            KeyboardInterrupt: one came, and they were killed at once.
        """
        with put_off(self._kill):
            self._close(now)

    def _kill(self) -> None:
        for child in self._children.values():
            child.kill()

    def _close(self, now: bool) -> None:
        with self._lock:
            self._closing = True
        deadline = time.monotonic() + (0 if now else LEAVE_S)
        for name in ("router", "worker"):
            child = self._children.get(name)
            if child is None:
                continue
            if name == "worker" and not now:
                child.terminate()  # its router has let it go, or never got to know it
            try:
                child.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                pass  # the end of its life pipe is next
        for pipe in self._pipes.values():
            os.close(pipe)
        self._pipes.clear()
        for answer in self._answers.values():
            answer.close()
        for child in self._children.values():
            try:
                child.wait(LEAVE_S)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        for thread in self._threads.values():
            thread.join()
        self._release()
        if self.plan.temporary:
            shutil.rmtree(self.plan.folder, ignore_errors=True)
        if any(child.returncode == -signal.SIGKILL for child in self._children.values()):
            litter.sweep(Path(tempfile.gettempdir()))  # who was killed has left its sockets

    def _release(self) -> None:
        """The folder is not this process's any more."""
        for lock in (self._owned, self._changing):
            if lock is not None:
                lock.release()


def _how(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"


#: The meshes of this process.
_owned: weakref.WeakSet[LocalMesh] = weakref.WeakSet()


def _forked() -> None:
    for mesh in list(_owned):
        mesh.forked()


os.register_at_fork(after_in_child=_forked)
