"""``--threads``: how many tasks each process of a worker runs at once."""

from __future__ import annotations

import click

threads_option = click.option(
    "--threads",
    type=click.IntRange(min=1),
    default=1,
    metavar="N",
    help="Run so many tasks at once in each process, for tasks that wait: N times --slots slots.",
)
