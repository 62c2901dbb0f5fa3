"""``mesh forget``, ``mesh prune``, ``mesh workers forget``: what goes before its time."""

from __future__ import annotations

import sys
from collections import Counter

import click

from ..errors import TaskNotFound
from ..options import show_size
from .amounts import Duration
from .exits import FAILED
from .lines import json_option, many, print_json
from .place import Place, place_options


@click.command()
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@json_option
@place_options
def forget(place: Place, ids: tuple[str, ...], as_json: bool) -> int:
    """Forget tasks or groups that have ended, with their results.

    An ID of your own is free afterwards. What has not ended stays, and so does a result that such
    a task takes: the exit code is 1 then. With --dir or --name also of a folder on which no mesh
    runs.

    \b
    mesh forget k3f9x2m7.17
    mesh forget T=2.30 T=2.31 --name ising
    """
    tally: Counter[str] = Counter()
    unknown: TaskNotFound | None = None
    with place.begin() as mesh:
        for id in ids:
            try:
                tally.update(mesh.forget(id))
            except TaskNotFound as error:
                unknown = unknown or error  # the others are forgotten all the same
    told = {word: tally[word] for word in ("forgotten", "open", "needed")}
    if as_json and unknown is None:
        print_json(told)
    elif not as_json and (any(told.values()) or unknown is None):
        click.echo(f"forgot {many(told['forgotten'], 'task')}")
    if told["open"] and not as_json:
        click.echo(f"{many(told['open'], 'task')} not: still to end; `mesh cancel` first", err=True)
    if told["needed"] and not as_json:
        click.echo(f"{many(told['needed'], 'task')} not: needed by others that go on", err=True)
    if unknown is not None:
        raise unknown
    return FAILED if told["open"] or told["needed"] else 0


@click.command()
@click.option(
    "--older-than",
    type=Duration(),
    metavar="DURATION",
    help="What ended so long ago, such as 12h. Default: the mesh's --ttl.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@json_option
@place_options
def prune(place: Place, older_than: float | None, dry_run: bool, as_json: bool) -> None:
    """Forget all tasks that ended long ago, with their results.

    The mesh does so by itself, by age and size. Time counts while the mesh is up. What its script
    has not heard of stays, and so does what another task takes.

    \b
    mesh prune --dry-run
    mesh prune --older-than 12h
    """
    with place.join() as mesh:
        told = mesh.prune(older_than, dry_run=dry_run)
    if as_json:
        print_json(told | {"dry_run": dry_run})
        return
    would = "would forget" if dry_run else "forgot"
    click.echo(
        f"{would} {many(told['tasks'], 'task')}, {show_size(told['stored_bytes'])} with workers"
    )
    if told["kept"]:
        click.echo(f"{many(told['kept'], 'task')} as old stay: not heard of, or needed", err=True)


@click.command("forget")
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@place_options
def forget_workers(place: Place, ids: tuple[str, ...], yes: bool, as_json: bool) -> int:
    """Say that workers will not come back, by the ids of their stores.

    What was with them is lost at once, and not after ten minutes: it is made again for tasks that
    take it and scripts that wait for it. A worker that is connected is left alone: the exit code is
    1 then.

    \b
    mesh workers forget t8w4c6nh
    """
    with place.join() as mesh:
        what = f"what is with {many(len(ids), 'worker')} is lost"
        if sys.stdin.isatty() and not yes and not as_json:
            click.confirm(f"{what}: forget {'them' if len(ids) > 1 else 'it'}?", abort=True)
        told = mesh.forget_workers(*ids)
    if as_json:
        print_json({"workers": told})
    for id, fate in () if as_json else told.items():
        click.echo(f"{id}: {_FATES[fate]}", err=fate != "forgotten")
    return 0 if set(told.values()) == {"forgotten"} else FAILED


#: What became of a worker that was to be forgotten, and what next.
_FATES = {
    "forgotten": "forgotten",
    "live": "not forgotten, it is connected: end it first, with SIGTERM to its process",
    "unknown": "no worker that was ever here: `mesh explain` of a task shows its worker",
}
