"""What was launched, as its files in ``~/.mesh/launches`` say."""

from __future__ import annotations

from dataclasses import fields

from .launched import Launched, rows
from .pbs import PbsJob
from .process import Process
from .slurm import SlurmJob

#: By what its file says that it is.
KINDS: dict[str, type[Launched]] = {kind.kind: kind for kind in (Process, SlurmJob, PbsJob)}


def all_launched(mesh: str | None = None) -> list[Launched]:
    """What was launched and is not known to be over, of one `mesh` or of all."""
    found = []
    for row in rows():
        kind = KINDS.get(row.get("kind", ""))
        if kind is None or mesh not in (None, row.get("mesh")):
            continue  # of a later version of Mesh
        known = {field.name for field in fields(kind)}
        found.append(kind(**{name: value for name, value in row.items() if name in known}))
    return found
