"""``--resource NAME=AMOUNT``: what workers have, and tasks ask for."""

from __future__ import annotations

import click

from ..options import amounts_of


def _parse(
    ctx: click.Context, parameter: click.Parameter, given: tuple[str, ...]
) -> dict[str, int]:
    """The amounts by name; a bare name is one."""
    amounts: dict[str, int] = {}
    for each in given:
        name, equals, text = each.partition("=")
        amount = text.strip() if equals else "1"
        value = amount if name == "mem" or not amount.isdecimal() else int(amount)
        try:
            amounts |= amounts_of("--resource", {name: value})
        except (TypeError, ValueError) as error:
            raise click.BadParameter(f"{error}; say gpu=2, mem=64G, license=1") from None
    return amounts


#: Of workers.
resource_option = click.option(
    "--resource",
    "resources",
    multiple=True,
    metavar="NAME=AMOUNT",
    callback=_parse,
    help="Has so much for tasks to ask for, as in gpu=2, mem=64G, license=1; may be given again. "
    "Default: the memory and GPUs that are found.",
)

#: Of tasks.
task_resource_option = click.option(
    "--resource",
    "resources",
    multiple=True,
    metavar="NAME=AMOUNT",
    callback=_parse,
    help="Take so much of a worker's, as in gpu=1; may be given again.",
)
