"""Mesh: a brokerless task mesh for labs and HPC.

    from mesh import Mesh
    with Mesh() as m:
        print(m.submit(pow, 2, 10).result())

Names are loaded when they are first used: a slot imports this package too, and needs little. All
but `task`, which would mean the module task.py as soon as somebody imports that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import task as _values  # noqa: F401  # first: its import sets the name that follows
from .client.task import task as task
from .protocol import version as _version

__version__ = _version.MESH

if TYPE_CHECKING:
    from .broken import InitializerFailed as InitializerFailed
    from .client.command import Command as Command
    from .client.command import Completed as Completed
    from .client.future import Future as Future
    from .client.group import Group as Group
    from .client.kept import Kept as Kept
    from .client.mesh import Mesh as Mesh
    from .launch.local import Local as Local
    from .launch.mpi import Mpi as Mpi
    from .launch.pbs import Pbs as Pbs
    from .launch.slurm import Slurm as Slurm
    from .launch.ssh import Ssh as Ssh
    from .processes.running import current as current

_HOMES = {
    "Command": "client.command",
    "Completed": "client.command",
    "Mesh": "client.mesh",
    "Future": "client.future",
    "Group": "client.group",
    "InitializerFailed": "broken",
    "Kept": "client.kept",
    "Local": "launch.local",
    "Mpi": "launch.mpi",
    "Pbs": "launch.pbs",
    "Slurm": "launch.slurm",
    "Ssh": "launch.ssh",
    "current": "processes.running",
}


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name in _HOMES:
        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    errors = import_module(".errors", __name__)
    if name in errors.BY_NAME or name == "MeshError":
        return getattr(errors, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
