"""``mesh retry``: what failed or was cancelled, once more."""

from __future__ import annotations

import click

from .lines import json_option, many, print_json
from .place import Place, place_options


@click.command()
@click.argument("id")
@json_option
@place_options
def retry(place: Place, id: str, as_json: bool) -> None:
    """Run a task that failed or was cancelled again, or those members of a group; print the id.

    The function is the one that was submitted, with the same arguments. Of a group a new one is
    made: new tasks in place of those that did not succeed, the others as they are. If all of them
    have, nothing is run, and the id is that of the group.

    \b
    mesh retry last
    mesh wait $(mesh retry sweep)
    """
    from ..client.group import Group

    with place.join() as mesh:
        mesh.detach()
        made = mesh.retry(id)
        mesh.flush()
        again = len(made) - made.status()["found"] if isinstance(made, Group) else 1
        if as_json:
            print_json({"id": made.id, "again": again})
        else:
            click.echo(f"{many(again, 'task')} again", err=True)
            click.echo(made.id)
