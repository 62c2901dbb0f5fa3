"""``mesh result`` and ``mesh logs``: what tasks left behind."""

from __future__ import annotations

import pprint
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any

import click

from ..errors import MeshError, RouterUnreachable, TaskNotFound
from ..task import SUCCESS
from .exits import TaskEnded, is_of_the_task
from .lines import json_option, many, print_json, warn
from .place import Place, import_from_here, looking_options, results_option, timeout_option

if TYPE_CHECKING:
    from ..client.asking import Asking
    from ..client.future import Future
    from ..client.group import Group


@click.command()
@click.argument("id")
@click.option("-o", "--output", metavar="FILE", help="Write the value to FILE.")
@click.option(
    "--errors",
    type=click.Choice(["raise", "skip"]),
    default="raise",
    help="Of a group in which some have failed: print nothing but the first error, the default; or "
    "skip those, and count them on stderr.",
)
@results_option
@timeout_option
@json_option
@looking_options
def result(
    place: Place,
    id: str,
    output: str | None,
    errors: str,
    results: str | None,
    timeout: float | None,
    as_json: bool,
) -> None:
    """Print the result of a task or a group, waiting for it.

    ID is a task, a group, a unique prefix of one (k3f.17), an id of your own, or `last`. With
    --dir or --name, results are also read from the folder of a mesh that does not run, and from
    the stores of its workers as far as they can be seen from here (see --store). What was kept
    with --results is found in DIR again when there is no mesh at all.

    Text is printed as it is, everything else as Python shows it. -o writes bytes as they are,
    text as UTF-8, and everything else as a pickle.

    \b
    mesh result k3f9x2m7.17
    mesh result last --json
    mesh result sweep --errors skip
    mesh result T=2.30 --name ising -o spins.pickle
    mesh result T=2.30 --results kept
    """
    from ..client.group import Group
    from .kept import keep, show_kept

    try:
        mesh, runs = place.open()
    except RouterUnreachable:
        if results is None or not show_kept(id, results, output, as_json=as_json):
            raise
        return
    import_from_here()  # what the value is made of may be there
    with mesh:
        if not runs:
            check_ended(mesh, place, id)
        found = find(mesh, id)
        if errors == "skip" and isinstance(found, Group):
            print_done(mesh, found, output, results, timeout, as_json=as_json)
            return
        if results is not None:
            await_success(mesh, found, timeout)
            keep(found, results)
        if output is not None:
            told_of_file(output, *saved(mesh, found, output, timeout))
            return
        value = value_of(mesh, found, timeout)
        if as_json:
            print_values(found, value)
        else:
            print_value(value)


def print_done(
    mesh: Asking,
    group: Group,
    output: str | None,
    results: str | None,
    timeout: float | None,
    *,
    as_json: bool,
) -> None:
    """Print or save the values of those members that are done, and count the others.

    Raises:
        TimeoutError, MeshError: see `await_end`; or the file cannot be written.
    """
    from ..client.saving import save_value
    from .kept import keep_done

    await_end(mesh, group, timeout)
    if results is not None:
        keep_done(group, results)
    ends = ((i, group.raw(i)) for i in range(len(group)))
    rows = [(group[i].id, group.value(i)) for i, end in ends if end and end[0] in SUCCESS]
    values = [value for _, value in rows]
    if output is not None:
        told_of_file(output, *save_value(values, output))
    elif as_json:
        print_rows(rows)
    else:
        print_value(values)
    if len(rows) < len(group):
        warn(str(group.failures()))


@click.command()
@click.argument("id")
@click.option("-f", "--follow", is_flag=True, help="Print it while the task runs, until its end.")
@timeout_option
@json_option
@looking_options
def logs(place: Place, id: str, follow: bool, timeout: float | None, as_json: bool) -> None:
    """Print what a task printed, once it has ended, or as it does.

    Of a group, what each member printed; with --follow one member after the other.

    \b
    mesh logs k3f9x2m7.17
    mesh logs last --follow
    mesh logs last --timeout 60
    """
    from ..client.future import Future

    mesh, runs = place.open()
    with mesh:
        if not runs:
            check_ended(mesh, place, id)
        found = find(mesh, id)
        futures = [found] if isinstance(found, Future) else list(found)
        if follow and runs:
            follow_all(futures, as_json=as_json)
            return
        await_end(mesh, found, timeout)
        for future in futures:
            log = future.logs()
            if as_json:
                print_json({"id": future.id, "log": log})
            elif log:
                title = f"== {future.id}\n" if len(futures) > 1 else ""
                click.echo(title + log, nl=not log.endswith("\n"))


def follow_all(futures: list[Future], *, as_json: bool) -> None:
    """Print what tasks print, until they have ended."""
    for future in futures:
        title = f"== {future.id}\n" if len(futures) > 1 else ""
        text = ""
        for text in future.follow():
            if as_json:
                print_json({"id": future.id, "log": text})
            else:
                click.echo(title + text, nl=False)
                title = ""
        if not as_json and text and not text.endswith("\n"):
            click.echo()


def find(mesh: Asking, id: str) -> Future | Group:
    """The task or group that `id` means.

    Raises:
        TaskNotFound: there is none.
    """
    try:
        return mesh.future(id)
    except TaskNotFound:
        return mesh.group(id)  # or its error, which is the right one for both


def check_ended(mesh: Asking, place: Place, id: str) -> None:
    """On a folder without slots nothing goes on: what has not ended must not be waited for."""
    left = mesh.unfinished(id)
    if left:
        where = f"--name {place.name}" if place.name else f"--dir {place.home}"
        raise MeshError(
            f"{id} has not ended: {many(left, 'task')} of it did not run, and no mesh runs in "
            f"{place.home}. Go on with `mesh up {where}`"
        )


def await_end(
    mesh: Asking, found: Future | Group, timeout: float | None, *, progress: bool = False
) -> None:
    """Wait until a task or group has ended, however it ended; of a group `progress` can be shown.

    Raises:
        TimeoutError: it has not in time.
        MeshError: that cannot be known any more.
    """
    from ..client.group import Group

    if timeout is not None and not mesh.unfinished(found.id):
        timeout = None  # it has ended, and the news of it are on their way
    if isinstance(found, Group):
        has_ended = found.wait(timeout, progress=progress)
    else:
        has_ended = found.wait(timeout)
    if not has_ended:
        raise TimeoutError(f"{found.id} has not ended within {timeout:g} s; it goes on")


def value_of(mesh: Asking, found: Future | Group, timeout: float | None) -> Any:
    """The value of a task, the list of values of a group.

    Raises:
        TaskEnded: a task failed or was cancelled.
        TimeoutError, MeshError: see `await_end`.
    """
    from ..client.group import Group

    await_success(mesh, found, timeout)
    return found.results() if isinstance(found, Group) else found.result()


def await_success(mesh: Asking, found: Future | Group, timeout: float | None) -> None:
    """Wait until a task, or all of a group, is done.

    Raises:
        TaskEnded: a task failed or was cancelled.
        TimeoutError, MeshError: see `await_end`.
    """
    from ..client.group import Group

    await_end(mesh, found, timeout)
    if isinstance(found, Group):
        first = found.first_failed()
        if first is not None:
            raise TaskEnded(
                found[first].id,
                found.error_of(first),
                f"{found.failures()}; --errors skip takes what is done; the first:",
            )
        return
    try:
        error = found.exception(timeout)
    except CancelledError:
        error = CancelledError(f"task {found.id} was cancelled")
    if error is not None and is_of_the_task(error):
        raise TaskEnded(found.id, error)
    if error is not None:
        raise error


def saved(
    mesh: Asking, found: Future | Group, output: str, timeout: float | None
) -> tuple[int, str]:
    """Write a value to a file, without having all of it in memory if it is that of a task.

    Raises:
        TaskEnded, TimeoutError, MeshError: see `value_of`; or the file cannot be written.
    """
    from ..client.group import Group
    from ..client.saving import save, save_value

    if isinstance(found, Group):
        return save_value(value_of(mesh, found, timeout), output)
    await_success(mesh, found, timeout)
    return save(found.outcome(), output)


def print_value(value: Any) -> None:
    """The value for people."""
    click.echo(value if isinstance(value, str) else pprint.pformat(value, sort_dicts=False))


def print_values(found: Future | Group, value: Any) -> None:
    """The value as JSON; of a group, a line a member.

    Raises:
        MeshError: JSON has no word for it.
    """
    from ..client.group import Group

    if isinstance(found, Group):
        rows = [(found[i].id, each) for i, each in enumerate(value)]
    else:
        rows = [(found.id, value)]
    print_rows(rows)


def print_rows(rows: list[tuple[str, Any]]) -> None:
    """Ids and values as JSON, a line each.

    Raises:
        MeshError: JSON has no word for one.
    """
    for id, each in rows:
        try:
            print_json({"id": id, "value": each})
        except (TypeError, ValueError) as error:
            raise MeshError(f"the result of {id} cannot be JSON: {error}; use -o FILE") from None


def told_of_file(output: str, size: int, kind: str) -> None:
    """What has been written to a file."""
    of = "" if kind in ("bytes", "str") else f", a pickle of {kind}"
    click.echo(f"wrote {many(size, 'byte')} to {output}{of}", err=True)
