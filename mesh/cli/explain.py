"""``mesh explain``: what became of a task so far, and what it waits for."""

from __future__ import annotations

import click

from .lines import json_option, print_json
from .place import Place, place_options


@click.command()
@click.argument("id")
@json_option
@place_options
def explain(place: Place, id: str, as_json: bool) -> None:
    """Tell a task's story: each run with its host, times and end, and what it waits for now.

    ID is a task's id, its own id, a unique prefix, or "last". With --dir or --name also of a
    folder on which no mesh runs.

    \b
    mesh explain last
    mesh explain k3f9x2m7.17 --json | jq .runs
    """
    mesh, _ = place.open()
    with mesh:
        story = mesh.future(id).explain()
    if as_json:
        print_json(story)
    else:
        click.echo(str(story))
