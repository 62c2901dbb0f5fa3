"""``mesh wait``: until tasks have ended, or slots are there."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

import click

from ..task import ENDED, State
from .exits import FAILED
from .fetch import await_end, find
from .kept import keep
from .lines import json_option, many, print_json
from .place import Place, place_options, results_option, timeout_option

if TYPE_CHECKING:
    from ..client.mesh import Mesh

#: Of all open tasks, so many are waited for at a time.
PAGE = 100

OPEN = [state.word for state in State if state < ENDED]
UNSUCCESSFUL = [state.word for state in State if state > State.DONE]


@click.command()
@click.argument("ids", metavar="[ID]...", nargs=-1)
@click.option("--slots", type=click.IntRange(min=1), metavar="N", help="Wait for N ready slots.")
@results_option
@timeout_option
@json_option
@place_options
def wait(
    place: Place,
    ids: tuple[str, ...],
    slots: int | None,
    results: str | None,
    timeout: float | None,
    as_json: bool,
) -> int:
    """Wait until tasks have ended, or slots are there.

    An ID is a task or a group; without any, wait until no task is open. The exit code is 1 if
    any of them failed, was cancelled or expired, and 5 after --timeout. With --slots, wait for that
    many slots first, and for tasks only if they are named.

    \b
    mesh wait k3f9x2m7.17 last
    mesh wait --slots 64 --timeout 300
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    with place.join() as mesh:
        if slots is not None:
            ready = mesh.wait_for_slots(slots, timeout)
            if not ids:
                if as_json:
                    print_json({"slots": ready})
                else:
                    click.echo(f"{many(ready, 'slot')} ready")
                return 0
        ended = _await_tasks(mesh, ids, deadline) if ids else _await_all(mesh, deadline)
        if results is not None:
            for id in ids:
                _keep_done(mesh, id, results)
    if as_json:
        print_json({state.word: ended[state.word] for state in State if state >= ENDED})
    else:
        told = [f"{count} {state}" for state, count in ended.items() if count]
        click.echo(", ".join(told) or "no task is open")
    return FAILED if any(ended[state] for state in UNSUCCESSFUL) else 0


def _keep_done(mesh: Mesh, id: str, folder: str) -> None:
    """Keep the results of those that are done."""
    from ..client.group import Group

    found = find(mesh, id)
    await_end(mesh, found, None)
    members = list(found) if isinstance(found, Group) else [found]
    done = [each for each in members if each.wait() and each.state == State.DONE.word]
    if len(done) == len(members):
        keep(found, folder)
    else:
        for each in done:
            keep(each, folder)


def _rest(deadline: float | None) -> float | None:
    return None if deadline is None else max(0.0, deadline - time.monotonic())


def _await_tasks(mesh: Mesh, ids: tuple[str, ...], deadline: float | None) -> Counter[str]:
    """Wait for these; how they ended."""
    from ..client.group import Group

    ended: Counter[str] = Counter()
    for found in [find(mesh, id) for id in ids]:
        await_end(mesh, found, _rest(deadline))
        ended += Counter(found.status() if isinstance(found, Group) else [str(found.state)])
    return Counter({state.word: ended[state.word] for state in State if state >= ENDED})


def _await_all(mesh: Mesh, deadline: float | None) -> Counter[str]:
    """Wait until no task is open; how many have ended meanwhile, and how."""
    before = mesh.status()["tasks"]
    while rows := list(mesh.tasks(OPEN, PAGE)):
        for row in rows:
            await_end(mesh, mesh.future(row["id"]), _rest(deadline))
    after = mesh.status()["tasks"]
    return Counter({state: after[state] - before[state] for state in after if state not in OPEN})
