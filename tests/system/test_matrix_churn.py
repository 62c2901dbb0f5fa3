"""Workers that are born and die for some seconds, while tasks go on: the sum is exact.

`MESH_LONG=100` makes it minutes, `MESH_CHURN_SEED` another tale.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path

from matrix import LEAVE_S, LONG, SOON, Crowd, counts
from scripts import start_worker

from mesh import Mesh

#: So many may be there at once: far more than this machine has CPUs.
WORKERS = 20

#: They come and go for so long.
CHURN_S = 4.0 * LONG

#: Tasks that one wave has, and the results after which somebody comes or goes.
WAVE, STEP = 400, 8


class Fleet:
    """Workers on stores of their own, which the next one on the same store takes over."""

    def __init__(self, mesh: Mesh, folder: Path, chance: random.Random) -> None:
        self.mesh = mesh
        self.folder = folder
        self.chance = chance
        self.there: dict[int, subprocess.Popen[bytes]] = {}
        self.leaving: list[subprocess.Popen[bytes]] = []
        self.births = 0
        folder.mkdir()

    def step(self) -> None:
        """Somebody comes; or goes, in order or not; or stands still for a moment."""
        number = self.chance.randrange(WORKERS)
        worker = self.there.get(number)
        if worker is None:
            folder = self.folder / str(number)
            self.there[number] = start_worker(
                self.mesh.folder, folder, 1, stderr=subprocess.DEVNULL
            )
            self.births += 1
            return
        how = self.chance.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGINT, signal.SIGSTOP])
        worker.send_signal(how)
        if how == signal.SIGSTOP:
            signal.sigtimedwait([], 0.05)
            worker.send_signal(signal.SIGCONT)
        elif how == signal.SIGKILL:
            self.there.pop(number).wait()
        else:
            self.leaving.append(self.there.pop(number))

    def end(self) -> None:
        """All are told to go, and go: some of them before they have joined."""
        for worker in self.there.values():
            worker.send_signal(signal.SIGINT)
        for worker in [*self.leaving, *self.there.values()]:
            worker.wait(LEAVE_S)


def test_workers_come_and_go_and_no_task_is_lost(tmp_path: Path, nothing_left_behind) -> None:
    chance = random.Random(int(os.environ.get("MESH_CHURN_SEED", "0")))
    begun = time.monotonic()
    with ExitStack() as stack:
        m = stack.enter_context(Mesh(dir=tmp_path / "own", slots=1, settings=SOON))
        fleet = Fleet(m, tmp_path / "workers", chance)
        stack.callback(fleet.end)
        waves = total = 0
        while fleet.births < WORKERS or time.monotonic() - begun < CHURN_S:
            crowd = Crowd(tmp_path / f"traces{waves}")
            group = crowd.submit(m, WAVE, nap_s=0.03)
            for i in range(0, WAVE, STEP):
                fleet.step()
                assert group[i].result(25) == i * i
            crowd.check(group, WAVE)
            waves += 1
            total += sum(group.results())
        assert total == waves * sum(i * i for i in range(WAVE))
        assert counts(m) == {"done": waves * WAVE}
