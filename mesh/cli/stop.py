"""``mesh stop``: the end of a mesh, for everybody."""

from __future__ import annotations

import math
import os
import select
import socket
import sys
import time
from typing import TYPE_CHECKING, Any

import click

from ..errors import MeshError
from .lines import json_option, many, print_json, warn
from .place import Place, drain_option, place_options, timeout_option

if TYPE_CHECKING:
    from ..client.mesh import Mesh
    from ..launch.launched import Launched

#: Workers leave before their router does, or a moment after it: what runs has ended by then.
WORKERS_S = 5.0

#: What keeps it from ending is asked for after so long, and again.
WHY_S = 2.0

#: Where the kernel tells nobody of a process's end, it is looked for this often.
LOOK_S = 0.05


@click.command()
@click.option("--now", is_flag=True, help="Do not wait for what runs; it is run again later.")
@drain_option("as long as they take")
@timeout_option
@json_option
@place_options
def stop(
    place: Place, now: bool, drain_timeout: float | None, timeout: float | None, as_json: bool
) -> None:
    """End the mesh, once what runs has ended.

    What is interrupted or queued stays in the mesh's folder, for the next mesh that is started on
    it. What was launched for it is cancelled, unless it is kept.

    \b
    mesh stop
    mesh stop --now --access ising
    """
    with place.join() as mesh:
        status = mesh.status()
        ends = [End(pid) for pid in pids_here(status)]
        running = status["tasks"]["running"]
        if not now and not as_json and running:
            within = "" if drain_timeout is None else f", {drain_timeout:g} s at most"
            click.echo(
                f"waiting for {many(running, 'running task')}{within}; --now does not", err=True
            )
        mesh.stop(drain=not now, drain_timeout=drain_timeout)
        deadline = None if timeout is None else time.monotonic() + timeout
        try:
            router, *workers = ends
            if not await_router(mesh, router, deadline, as_json):
                raise TimeoutError(
                    f"mesh {status['mesh']} has not ended within {timeout:g} s; it goes on "
                    f"ending. `mesh stop --now` does not wait for what runs"
                )
            deadline = time.monotonic() + WORKERS_S
            late = [end.pid for end in workers if not end.wait(deadline - time.monotonic())]
            if late:
                raise TimeoutError(
                    f"mesh {status['mesh']} has ended, but not its worker, process "
                    f"{', '.join(map(str, late))}: if it was stopped, it leaves when it goes on; "
                    f"else end it with SIGTERM"
                )
        finally:
            for end in ends:
                end.close()
    ended, kept = end_launched(status["mesh"])
    if as_json:
        launches = {"ended": [each.as_json() for each in ended]}
        launches["kept"] = [each.as_json() for each in kept]
        print_json({"stopped": status["mesh"], "launches": launches})
        return
    for each in ended:
        click.echo(f"ended launch {each.number}: {each}")
    for each in kept:
        how = f"end it with `mesh launches cancel {each.number}`"
        click.echo(f"kept launch {each.number}: {each}; {how}")
    click.echo(f"mesh {status['mesh']} has ended")


def end_launched(mesh: str) -> tuple[list[Launched], list[Launched]]:
    """Cancel what was launched for a mesh that has ended, but for what is kept: workers have left
    by themselves, and jobs that wait in a queue would find nobody. What has ended, and is kept."""
    from ..client.launcher import LEAVE_S, end_all
    from ..launch.register import all_launched

    known = all_launched(mesh)
    ended = end_all([each for each in known if not each.kept], LEAVE_S, warn)
    return ended, [each for each in known if each.kept]


def await_router(mesh: Mesh, router: End, deadline: float | None, as_json: bool) -> bool:
    """Wait for the router's end, and tell people once if that waits for room on a disk; False if it
    has not ended by the deadline."""
    while not as_json:
        left_s = math.inf if deadline is None else deadline - time.monotonic()
        if router.wait(min(WHY_S, left_s)):
            return True
        if left_s <= 0:
            return False
        if (why := what_it_waits_for(mesh)) is not None:
            warn(f"results wait: {why}")
            break
    return router.wait(None if deadline is None else deadline - time.monotonic())


def what_it_waits_for(mesh: Mesh) -> str | None:
    """Why a result waits in a slot, if one does."""
    try:
        workers = mesh.status()["workers"]
    except MeshError:
        return None  # it is ending
    slots = [slot for worker in workers for slot in worker["slots"]]
    return next((slot["waits_for"] for slot in slots if "waits_for" in slot), None)


def pids_here(status: dict[str, Any]) -> list[int]:
    """The router and the workers on this host: when they are gone, the folders are free."""
    here = socket.gethostname()
    workers = [worker["pid"] for worker in status["workers"] if worker["host"] == here]
    return [status["router"]["pid"], *workers]


class End:
    """The end of a process that is not our child. Made while it lives, so that its number cannot
    mean another one later."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._descriptor = -1
        self._queue: Any = None
        self._gone = False
        try:
            if sys.platform == "linux":
                self._descriptor = os.pidfd_open(pid)
            elif sys.platform == "darwin":
                self._queue = select.kqueue()
                ends = select.kevent(
                    pid, select.KQ_FILTER_PROC, select.KQ_EV_ADD, select.KQ_NOTE_EXIT
                )
                self._queue.control([ends], 0, 0)
        except ProcessLookupError:
            self._gone = True
        except OSError:
            pass  # a kernel that has none: see `_look`

    def wait(self, timeout: float | None) -> bool:
        """Until the process has ended; False if it has not within `timeout` seconds."""
        if self._gone:
            return True
        if timeout is not None:
            timeout = max(0.0, timeout)
        if self._descriptor >= 0:
            self._gone = bool(select.select([self._descriptor], [], [], timeout)[0])
        elif self._queue is not None:
            self._gone = bool(self._queue.control(None, 1, timeout))
        else:
            self._gone = self._look(timeout)
        return self._gone

    def _look(self, timeout: float | None) -> bool:
        deadline = None if timeout is None else time.monotonic() + timeout
        while deadline is None or time.monotonic() < deadline:
            try:
                os.kill(self.pid, 0)
            except ProcessLookupError:
                return True
            time.sleep(LOOK_S)
        return False

    def close(self) -> None:
        """Let go of the descriptor."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        if self._queue is not None:
            self._queue.close()
