"""``mesh export``: tasks as a table."""

from __future__ import annotations

import click

from .lines import many
from .place import Place, import_from_here, looking_options


@click.command()
@click.argument("id")
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    help="Where to; its name ends in .csv or .jsonl. Default: standard output.",
)
@click.option(
    "--json", "as_lines", is_flag=True, help="JSON Lines on standard output rather than CSV."
)
@looking_options
def export(place: Place, id: str, output: str | None, as_lines: bool) -> None:
    """Write a table of a group: a row a task, with its arguments, result, state, host, seconds,
    attempts and error.

    ID is a group or a task: its id, a unique prefix, a name of your own, or "last". Each parameter
    of the function has a column. Of a result that stays with a worker its size is told. A group
    need not have ended. With --dir or --name also of a folder on which no mesh runs.

    \b
    mesh export last -o sweep.csv
    mesh export sweep --json | jq 'select(.state == "failed").error'
    """
    from ..client.export import FORMATS

    if output is not None and (as_lines or output.rpartition(".")[2].lower() not in FORMATS):
        if as_lines:
            raise click.UsageError("--json is for standard output: -o FILE.jsonl says the same")
        raise click.BadParameter(f"{output!r} ends in neither .csv nor .jsonl")
    mesh, _ = place.open()
    import_from_here()  # what the arguments and values are made of may be there
    with mesh:
        if output is not None:
            count = mesh.export(id, output)
            click.echo(f"wrote {many(count, 'row')} to {output}", err=True)
        else:
            mesh.export(id, "-", "jsonl" if as_lines else "csv")
