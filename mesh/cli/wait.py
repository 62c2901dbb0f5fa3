"""``mesh wait``: until tasks have ended, or slots are there."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import nullcontext
from typing import TYPE_CHECKING

import click

from ..task import ENDED, State
from .exits import FAILED
from .fetch import await_end, find
from .kept import keep_done
from .lines import json_option, many, print_json
from .place import Place, place_options, results_option, timeout_option

if TYPE_CHECKING:
    from ..client.bar import Bar
    from ..client.failures import Failures
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
        causes: dict[str, Failures] = {}
        if ids:
            ended = _await_tasks(mesh, ids, deadline, causes, quietly=as_json)
        else:
            ended = _await_all(mesh, deadline, quietly=as_json)
        if results is not None:
            for id in ids:
                found = find(mesh, id)
                await_end(mesh, found, None)
                keep_done(found, results)
    if as_json:
        told = {state.word: ended[state.word] for state in State if state >= ENDED}
        print_json(told | {"causes": [c._asdict() for each in causes.values() for c in each]})
    else:
        counts = [f"{count} {state}" for state, count in ended.items() if count]
        click.echo(", ".join(counts) or "no task is open")
    return FAILED if any(ended[state] for state in UNSUCCESSFUL) else 0


def _rest(deadline: float | None) -> float | None:
    return None if deadline is None else max(0.0, deadline - time.monotonic())


def _await_tasks(
    mesh: Mesh,
    ids: tuple[str, ...],
    deadline: float | None,
    causes: dict[str, Failures],
    *,
    quietly: bool,
) -> Counter[str]:
    """Wait for these; how they ended, and of groups why members failed."""
    from ..client.group import Group

    ended: Counter[str] = Counter()
    for found in [find(mesh, id) for id in ids]:
        if isinstance(found, Group):
            await_end(mesh, found, _rest(deadline), progress=not quietly)
            ended += Counter(found.status())
            if failures := found.failures():
                causes[found.id] = failures
        else:
            await_end(mesh, found, _rest(deadline))
            ended += Counter([str(found.state)])
    return Counter({state.word: ended[state.word] for state in State if state >= ENDED})


def _await_all(mesh: Mesh, deadline: float | None, *, quietly: bool) -> Counter[str]:
    """Wait until no task is open; how many have ended meanwhile, and how."""
    from ..client.bar import SHOW_EVERY_S, Bar

    before = mesh.status()["tasks"]
    with nullcontext() if quietly else Bar(sum(before[state] for state in OPEN)) as bar:
        if bar is not None:
            _show(bar, before, before)  # the rate is that from here on
        while rows := list(mesh.tasks(OPEN, PAGE)):
            for future in [mesh.future(row["id"]) for row in rows]:
                while not future.wait(_least(_rest(deadline), SHOW_EVERY_S)):
                    if bar is not None:
                        _show(bar, before, mesh.status()["tasks"])
                    if deadline is not None and time.monotonic() >= deadline:
                        raise TimeoutError(f"{future.id} has not ended in time; it goes on")
        after = mesh.status()["tasks"]
        if bar is not None:
            _show(bar, before, after)
    return Counter({state: after[state] - before[state] for state in after if state not in OPEN})


def _least(rest: float | None, step: float) -> float:
    return step if rest is None else min(rest, step)


def _show(bar: Bar, before: dict[str, int], now: dict[str, int]) -> None:
    """Show how many have ended since `before`."""
    done = now[State.DONE.word] - before[State.DONE.word]
    failed = sum(now[state] - before[state] for state in UNSUCCESSFUL)
    left = sum(now[state] for state in OPEN)
    bar.show(done, failed, now[State.RUNNING.word], done + failed + left)
