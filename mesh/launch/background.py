"""Workers in the background: each is started by one step, which ends when it has joined."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from ..client.launcher import PARALLEL
from ..errors import LaunchFailed
from ..transport.access import Access
from .launched import Launched
from .process import Process
from .start import advised, last_json
from .step import Done, Step

#: A worker has joined within this, or will not: it gives up itself after 15 s.
START_S = 45.0


@dataclass(frozen=True)
class Background:
    """A worker to be started: by which step, on which host, and the command that leads there, if it
    is another one."""

    step: Step
    where: str
    reach: list[str] = field(default_factory=list)


def start_all(
    workers: list[Background],
    cut: Access,
    launcher: str,
    kept: bool,
    say: Callable[[str], None],
) -> list[Launched]:
    """Start them: the first alone, then the others at once. What has joined is remembered, and
    returned; `say` hears of the others.

    Raises:
        LaunchFailed: the first could not.
    """

    def start(worker: Background) -> Launched | LaunchFailed:
        try:
            return _start(worker, cut, launcher, kept)
        except LaunchFailed as error:
            return error

    first, *others = workers
    started: list[Launched] = [_start(first, cut, launcher, kept)]
    with ThreadPoolExecutor(PARALLEL) as pool:
        for found in pool.map(start, others):
            if isinstance(found, LaunchFailed):
                say(str(found))
            else:
                started.append(found)
    return started


def _start(worker: Background, cut: Access, launcher: str, kept: bool) -> Launched:
    done = worker.step.run(json.dumps(cut.as_json()), START_S)
    told = last_json(done.out)
    if done.code or not isinstance(told, dict) or "pid" not in told:
        raise LaunchFailed(f"{worker.where}: {_why(done)}")
    launched = Process(
        cut.mesh,
        launcher,
        worker.where,
        str(told["pid"]),
        socket.gethostname(),
        kept,
        told["log"],
        reach=worker.reach,
    )
    launched.write()
    return launched


def _why(done: Done) -> str:
    """What a worker that did not join has said: its error, and its standard error."""
    told = last_json(done.out)
    error = told.get("error") if isinstance(told, dict) else None
    if not isinstance(error, dict):
        return advised(done.told)
    return f"{error.get('message')}\n{done.err}".strip()
