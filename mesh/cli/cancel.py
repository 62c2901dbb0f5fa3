"""``mesh cancel``: end tasks before they have ended."""

from __future__ import annotations

import click

from ..errors import TaskNotFound
from .lines import json_option, many, print_json
from .place import Place, place_options


@click.command()
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@json_option
@place_options
def cancel(place: Place, ids: tuple[str, ...], as_json: bool) -> None:
    """Cancel tasks or groups; what runs is stopped.

    Those that have ended already stay as they are.

    \b
    mesh cancel k3f9x2m7.17
    mesh cancel last
    """
    cancelled = 0
    unknown: TaskNotFound | None = None
    with place.join() as mesh:
        for id in ids:
            try:
                cancelled += mesh.cancel(id)
            except TaskNotFound as error:
                unknown = unknown or error  # the others are cancelled all the same
    if as_json and unknown is None:
        print_json({"cancelled": cancelled})
    elif not as_json and (cancelled or unknown is None):
        click.echo(f"cancelled {many(cancelled, 'task')}")
    if unknown is not None:
        raise unknown
