"""``mesh status``, ``mesh tasks``, ``mesh workers``: looking at a mesh."""

from __future__ import annotations

from typing import Any

import click

from ..options import show_seconds, show_size
from ..task import State
from .forget import forget_workers
from .lines import json_option, many, print_json, print_table
from .place import Place, looking_options, place_options


@click.command()
@json_option
@looking_options
def status(place: Place, as_json: bool) -> None:
    """Show the mesh's router, workers, and tasks by state.

    With --dir or --name also what a folder on which no mesh runs has recorded, and the stores of
    results that are found.

    \b
    mesh status
    mesh status --json | jq .tasks.failed
    """
    mesh, runs = place.open()
    with mesh:
        told = mesh.status()
    if as_json:
        print_json(told)
        return
    rows = _running(told) if runs else _cold(told)
    for name, text in rows.items():
        click.echo(f"{name:8} {text}")


def _running(told: dict[str, Any]) -> dict[str, str]:
    """What is shown of a mesh that runs."""
    router, workers = told["router"], told["workers"]
    slots = sum(len(worker["slots"]) for worker in workers)
    return {
        "mesh": told["mesh"],
        "router": f"process {router['pid']}, life {router['epoch']}, for "
        f"{show_seconds(router['uptime_s'])}, {show_size(router['memory_bytes'])}",
        "address": router["address"],
        "workers": f"{many(len(workers), 'worker')}, {many(slots, 'slot')}, "
        f"{sum(map(_busy, workers))} busy" + _first_end(workers),
        **_counted(told),
        "results": _stored(workers),
        "fetched": _fetched(told["fetches"]),
        **_scarce(told),
    }


def _scarce(told: dict[str, Any]) -> dict[str, str]:
    """Who has used up most of the descriptors that it may have, if anybody."""
    from ..transport.descriptors import is_scarce

    said = {"the router": told["router"]["descriptors"]}
    said |= {f"worker {each['id']}": each["descriptors"] for each in told["workers"]}
    few = [
        f"{who} has {count[0]} of {count[1]} open files"
        for who, count in said.items()
        if count and is_scarce(*count[:2])
    ]
    return {"scarce": f"{', '.join(few)}: raise the limit (ulimit -n)"} if few else {}


def _cold(told: dict[str, Any]) -> dict[str, str]:
    """What is shown of a mesh that does not run."""
    stores = [
        f"{store['id']} in {store['folder']}"
        + (
            ", which a worker has open"
            if store["results"] is None
            else f": {many(store['results'], 'file')}, {show_size(store['stored_bytes'])}"
        )
        for store in told["stores"]
    ]
    return {
        "mesh": told["mesh"],
        "router": f"does not run; its last life was {told['router']['epoch']}",
        "folder": told["folder"],
        **_counted(told),
        "stores": "; ".join(stores) or "none to be seen from here",
    }


def _counted(told: dict[str, Any]) -> dict[str, str]:
    """Tasks by state, and puts, if there are any."""
    tasks = ", ".join(f"{count} {state}" for state, count in told["tasks"].items())
    rows = {"tasks": tasks + _recovering(told["recovering"])}
    if told["puts"]:
        rows["puts"] = f"{many(told['puts'], 'object')}, large arguments among them"
    return rows


@click.command()
@click.argument("id", required=False)
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice([state.word for state in State]),
    help="Only tasks in this state; may be given again.",
)
@click.option(
    "--limit", type=click.IntRange(min=1), metavar="N", help="So many at most. Default: all."
)
@json_option
@looking_options
def tasks(
    place: Place, id: str | None, states: tuple[str, ...], limit: int | None, as_json: bool
) -> None:
    """List tasks: those that have not ended first; or, in their order, the members of a group.

    RESULT tells where the result is: a small one is recorded with the task, a larger one stays on a
    host, and is shown with its size. `mesh result ID` prints either.

    ID is a group's, a unique prefix, the group's name, or "last". With --dir or --name also those
    of a folder on which no mesh runs.

    \b
    mesh tasks --state failed
    mesh tasks last --state failed
    mesh tasks --state queued --state running --limit 10
    """
    mesh, _ = place.open()
    with mesh:
        rows = mesh.tasks(states, limit, id)
        if as_json:
            for row in rows:
                print_json(row)
            return
        shown = print_table(
            ["ID", "STATE", "OWN ID", "FUNCTION", "RESULT"],
            ([row["id"], _state(row), row["name"], row["function"], _result(row)] for row in rows),
        )
    if shown == limit:
        click.echo(f"the first {limit}; a larger --limit shows more, --state fewer", err=True)


@click.group(invoke_without_command=True)
@json_option
@place_options
@click.pass_context
def workers(context: click.Context, place: Place, as_json: bool) -> None:
    """List the workers that the mesh has now; or forget some that will not come back.

    \b
    mesh workers
    mesh workers --json
    mesh workers forget t8w4c6nh
    """
    if context.invoked_subcommand is not None:
        return
    with place.join() as mesh:
        rows = mesh.status()["workers"]
    if as_json:
        for row in rows:
            print_json(row)
        return
    print_table(
        [
            *("ID", "HOST", "PROCESS", "SLOTS", "BUSY", "LEFT", "HEARD"),
            *("HAS", "RESULTS", "BYTES", "SERVED"),
        ],
        [
            [
                row["id"],
                row["host"],
                row["pid"],
                _slots(row),
                _busy(row),
                None if row["ends_s"] is None else show_seconds(row["ends_s"]),
                _heard(row),
                _has(row),
                row["results"],
                show_size(row["stored_bytes"] or 0),
                sum(way["count"] for way in (row["served"] or {}).values()),
            ]
            for row in rows
        ],
    )


workers.add_command(forget_workers)


def _first_end(workers: list[dict[str, Any]]) -> str:
    """When the time of one of them ends, if that of any does."""
    ends = [worker["ends_s"] for worker in workers if worker["ends_s"] is not None]
    if not ends:
        return ""
    return (
        f"; the time of {many(len(ends), 'worker')} ends, of the first in {show_seconds(min(ends))}"
    )


def _slots(worker: dict[str, Any]) -> int | str:
    """How many slots it has, and by what, if that is not as it mostly is."""
    count, by = len(worker["slots"]), worker["slots_by"]
    return count if by is None else f"{count} by {by}"


def _stored(workers: list[dict[str, Any]]) -> str:
    """What workers keep, and the home worker of it."""
    kept = [worker for worker in workers if worker["results"] is not None]
    count = sum(worker["results"] for worker in kept)
    size = show_size(sum(worker["stored_bytes"] for worker in kept))
    line = f"{many(count, 'file')}, {size}, with {many(len(kept), 'worker')}"
    home = [show_size(worker["stored_bytes"]) for worker in kept if worker["home"]]
    return line + (f"; {home[0]} of it at home" if home else "")


def _fetched(fetches: dict[str, dict[str, Any]]) -> str:
    ways = (
        f"{each['count']} {way} ({show_size(each['size_bytes'])})" for way, each in fetches.items()
    )
    return ", ".join(ways)


def _recovering(count: int) -> str:
    """Of how many tasks that are done the results are being made again."""
    return f"; {count} of those done recovering" if count else ""


def _state(row: dict[str, Any]) -> str:
    return f"{row['state']}, recovering" if row.get("recovering") else str(row["state"])


def _result(row: dict[str, Any]) -> str | None:
    """How big a result is that stays with a worker, and where; a small one is recorded."""
    result = row.get("result")
    if result is None:
        return "recorded" if row["state"] == State.DONE.word else None
    return f"{show_size(result['size_bytes'])} {result['host'] or '?'}"


def _busy(worker: dict[str, Any]) -> int:
    return sum(slot["task"] is not None for slot in worker["slots"])


def _has(worker: dict[str, Any]) -> str:
    """What it has for tasks to ask for, and what of it is in use: ``cpus 1/4, gpu 0/2``."""
    shown = {
        name: [show_size(each[what]) if name == "mem" else each[what] for what in ("used", "has")]
        for name, each in worker["resources"].items()
    }
    return ", ".join(f"{name} {used}/{has}" for name, (used, has) in shown.items())


def _heard(worker: dict[str, Any]) -> str:
    if worker["last_seen_s"] is None:
        return "away"
    return f"{show_seconds(worker['last_seen_s'])} ago"
