"""Local: workers on this host, each in the background."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass

from ..transport.access import Access
from .background import Background, start_all
from .launched import Handed, Launched, hand_over, handed, warn
from .start import Start
from .step import Step


@dataclass(frozen=True)
class Local(Start):
    """Starts workers on this host.

    Args:
        workers: how many.
        slots: of each; default: the CPUs, shared among them.

    Example:
        >>> with Mesh(launch=Local(workers=2, slots=4)) as m:
        ...     m.wait_for_slots(8)
    """

    workers: int = 1

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise ValueError(f"workers must be 1 or more, not {self.workers}")

    def plan(self, to: Handed) -> list[Step]:
        """What will be run."""
        slots = self.slots
        if slots is None and self.workers > 1:
            from ..processes.cpus import cpus

            slots = max(1, cpus() // self.workers)
        command = self.worker("-", slots, "--daemon", "--json")
        shell = "bash -lc" if self.setup.strip() else "sh -c"
        argv = [*shell.split(), self.after_setup(command)]
        return [
            Step(argv, f"worker {n} of {self.workers}", takes_access=True)
            for n in range(1, self.workers + 1)
        ]

    def launch(
        self, access: Access, *, kept: bool = False, say: Callable[[str], None] = warn
    ) -> list[Launched]:
        """Start them, and wait until they have joined; `say` hears of those that could not.

        Raises:
            LaunchFailed: the first could not.
        """
        cut = hand_over(access, far=False)
        here = socket.gethostname()
        workers = [Background(step, here) for step in self.plan(handed(cut.mesh))]
        return start_all(workers, cut, "local", kept, say)
