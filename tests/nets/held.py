"""A task that says on which host it runs, and stays there until it is let go."""

from __future__ import annotations

import socket
from contextlib import AbstractContextManager
from pathlib import Path

import sample_tasks as tasks

from mesh import Mesh


def say_where_and_hold(begun: str, gate: str) -> str:
    """Say the host at `begun`, wait at `gate`; the host."""
    with open(begun, "w") as said:
        said.write(socket.gethostname())
    return tasks.hold(gate, socket.gethostname())


class Held:
    """A task that runs until it is let go."""

    def __init__(self, mesh: Mesh, folder: Path, name: str) -> None:
        self._begun, self._gate = (tasks.pipe_at(folder / f"{name}-{each}") for each in "bg")
        self.future = mesh.submit(say_where_and_hold, self._begun, self._gate)

    def host(self) -> str:
        """Where it begins: waits for that."""
        return tasks.heard_at(self._begun)

    def let_go(self) -> None:
        """Let it end, wherever it runs."""
        tasks.let_go(self._gate)

    def let_all_go(self) -> AbstractContextManager[None]:
        """Let all of its runs end, while this lasts."""
        return tasks.open_gate(self._gate)
