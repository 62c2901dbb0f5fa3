"""``mesh launches``: what `mesh launch` has started, and its end."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import click

from ..errors import MeshError, TaskNotFound
from ..options import show_seconds
from .exits import FAILED
from .lines import json_option, many, print_json, print_table, warn

if TYPE_CHECKING:
    from ..launch.launched import Launched, Look


@click.group(invoke_without_command=True)
@json_option
@click.pass_context
def launches(ctx: click.Context, as_json: bool) -> None:
    """List what was launched from any host with this home, of all meshes.

    What has ended is shown once more, and then no more: with the reason if it is known, and what a
    job wrote last that did not end well.

    \b
    mesh launches
    mesh launches cancel 3 4
    """
    if ctx.invoked_subcommand is not None:
        return
    from ..client.launcher import PARALLEL
    from ..launch.register import all_launched

    known = all_launched()
    with ThreadPoolExecutor(PARALLEL) as pool:
        looks = list(pool.map(lambda each: each.look(), known))
    rows = list(zip(known, looks))
    words = {each.number: _last_words(each, now) for each, now in rows}
    if as_json:
        for each, now in rows:
            print_json(
                each.as_json()
                | {"state": now.state, "is_over": now.is_over, "why": now.why}
                | {"said": words[each.number]}
            )
    else:
        header = ["ID", "MESH", "BY", "JOB", "WHERE", "FOR", "KEPT", "STATE"]
        print_table(
            header,
            (
                [
                    each.number,
                    each.mesh,
                    each.launcher,
                    each.job,
                    each.where,
                    show_seconds(time.time() - each.begun_at),
                    "yes" if each.kept else "no",
                    f"{now.state}: {now.why}" if now.why else now.state,
                ]
                for each, now in rows
            ),
        )
        for number, said in words.items():
            if said:
                click.echo(f"{number} wrote last:\n{said}")
    for each, now in rows:
        if now.is_over:
            each.forget()


def _last_words(launched: Launched, now: Look) -> str:
    """What it wrote in the end, if it has not ended well: its log goes when it is forgotten."""
    return launched.said().strip() if now.is_over and now.why else ""


@launches.command()
@click.argument("ids", nargs=-1, type=int, metavar="ID...", required=True)
@json_option
def cancel(ids: tuple[int, ...], as_json: bool) -> int:
    """End what was launched: jobs are cancelled; workers let what runs end first, for a while.

    \b
    mesh launches cancel 3
    """
    from ..launch.register import all_launched

    known = {each.number: each for each in all_launched()}
    strange = [id for id in ids if id not in known]
    if strange:
        raise TaskNotFound(f"nothing that was launched has the id {strange[0]}: see mesh launches")
    code = 0
    for id in ids:
        try:
            known[id].cancel()
        except MeshError as error:
            warn(f"{id} is not cancelled: {error}")
            code = FAILED
        else:
            known[id].forget()
            if as_json:
                print_json({"cancelled": id})
    if not as_json and not code:
        click.echo(f"told {many(len(ids), 'job')} to end")
    return code
