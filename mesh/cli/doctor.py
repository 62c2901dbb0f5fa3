"""``mesh doctor``: what is wrong here, or between here and a mesh, and what to do about it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from .exits import FAILED
from .lines import json_option, print_json
from .place import DATA_PORT, Place, place_options

if TYPE_CHECKING:
    from .finding import Finding


@click.command()
@json_option
@place_options
@click.option(
    "--data-port",
    type=DATA_PORT,
    default=0,
    metavar="PORT|off",
    help="Have workers try this TCP port of this host, which must be free; 0, the default, is any.",
)
def doctor(place: Place, data_port: int, as_json: bool) -> int:
    """Look for what is wrong: on this host, and with a mesh if there is one.

    A line for each check: ok, warn (it works, but), or FAIL, with what to do about it. The exit
    code is 1 if anything fails. With the access file of a mesh also the way to its router and
    workers from here, and from them to a port here, as if that were a worker's; and their versions,
    clocks and descriptors.

    \b
    mesh doctor
    mesh doctor --access worker.json    on the host where a worker does not join
    """
    from .finding import FAIL

    is_well = True
    for finding in _findings(place, data_port):
        is_well &= finding.verdict != FAIL
        if as_json:
            print_json(finding.as_json())
        else:
            click.echo(str(finding))
    return 0 if is_well else FAILED


def _findings(place: Place, data_port: int) -> Iterator[Finding]:
    from ..transport.access import ENVIRONMENT
    from .checkup import Checkup
    from .finding import OK, Finding
    from .machine import CHECKS

    for check in CHECKS:
        yield from check()
    is_named = any((place.access, place.name, place.folder, os.environ.get(ENVIRONMENT)))
    if is_named or place.file.exists():
        yield from Checkup(place, data_port).findings()
    else:
        yield Finding("mesh", OK, "none is named, and there is no default: this host alone")
