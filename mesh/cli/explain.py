"""``mesh explain``: what became of a task so far, and what it waits for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ..task import SUCCESS, State
from .fetch import find
from .lines import json_option, print_json
from .place import Place, looking_options

if TYPE_CHECKING:
    from ..client.asking import Asking
    from ..client.group import Group


@click.command()
@click.argument("id")
@json_option
@looking_options
def explain(place: Place, id: str, as_json: bool) -> None:
    """Tell a task's story: each run with its host, times and end, and what it waits for now.

    ID is a task's id, its own id, a unique prefix, or "last"; of a group, which has no story, it
    tells how many members are in each state, and why some failed. With --dir or --name also of a
    folder on which no mesh runs.

    \b
    mesh explain last
    mesh explain k3f9x2m7.17 --json | jq .runs
    """
    from ..client.failures import CANCELLED, CAUSES_SHOWN
    from ..client.future import Future

    mesh, _ = place.open()
    with mesh:
        found = find(mesh, id)
        told: Any = found.explain() if isinstance(found, Future) else counted(mesh, found)
        if as_json:
            print_json(told)
        elif isinstance(found, Future):
            click.echo(str(told))
        else:
            counts = ", ".join(f"{n} {state}" for state, n in told["tasks"].items() if n)
            own = f" {found.name!r}" if found.name is not None else ""
            click.echo(f"{found.id}{own}, a group of {len(found)}: {counts or 'no members'}")
            causes = [each for each in found.failures() if each.error != CANCELLED]
            for cause in causes[:CAUSES_SHOWN]:
                click.echo(f"  {cause}")
            if len(found):
                click.echo(f"  a member has a story: mesh explain {found[a_member(found)].id}")


def counted(mesh: Asking, group: Group) -> dict[str, Any]:
    """A group and its members by state, once it is known here how those that have ended did."""
    group.catch_up(len(group) - mesh.unfinished(group.id))
    status = group.status()
    tasks = {state.word: status[state.word] for state in State}
    return {"id": group.id, "name": group.name, "size": len(group), "tasks": tasks}


def a_member(group: Group) -> int:
    """The first member that did not succeed, else the first."""
    ends = ((i, group.raw(i)) for i in range(len(group)))
    return next((i for i, end in ends if end is not None and end[0] not in SUCCESS), 0)
