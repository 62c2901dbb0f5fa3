"""``mesh submit``: one call from the shell."""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable
from importlib import import_module
from typing import Any

import click

from ..errors import MeshError
from ..options import options_of
from .amounts import Size
from .fetch import print_value, print_values, value_of
from .kept import keep
from .lines import json_option, print_json
from .place import Place, import_from_here, place_options, results_option
from .resources import task_resource_option


def _checked_id(ctx: click.Context, option: click.Parameter, id: str | None) -> str | None:
    from ..client.calls import check_word

    if id is not None:
        try:
            check_word("an id", id)
        except (TypeError, ValueError) as error:
            raise click.BadParameter(str(error)) from None
    return id


@click.command(context_settings={"allow_interspersed_args": False})
@click.argument("function", metavar="MODULE:FUNCTION")
@click.argument("arguments", metavar="[ARGS]...", nargs=-1, type=click.UNPROCESSED)
@click.option("-k", "keywords", metavar="NAME=VALUE", multiple=True, help="A keyword argument.")
@click.option(
    "--id",
    "own_id",
    metavar="ID",
    callback=_checked_id,
    help="An id of your own; the same call is found.",
)
@click.option("--priority", type=int, metavar="N", help="Larger goes first; default 0.")
@click.option("--retries", type=int, metavar="N", help="Run again so often if it raises.")
@click.option(
    "--retry-on", metavar="ERROR", multiple=True, help="Only after this error; may be given again."
)
@click.option("--backoff", type=float, metavar="SECONDS", help="Before the first retry; doubles.")
@click.option("--time-limit", type=float, metavar="SECONDS", help="Stop a run after so long.")
@click.option(
    "--memory", type=Size(), metavar="SIZE", help="Stop a run that uses more, such as 2GB."
)
@click.option("--cpus", type=int, metavar="N", help="Take so many of a worker's slots.")
@task_resource_option
@click.option(
    "--time-request", metavar="TIME", help="Only where there is so much left: 3600, 90m, 01:30:00."
)
@click.option("--wait", is_flag=True, help="Wait for the result, and print it.")
@results_option
@json_option
@place_options
def submit(
    place: Place,
    function: str,
    arguments: tuple[str, ...],
    keywords: tuple[str, ...],
    own_id: str | None,
    wait: bool,
    results: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Submit one call, and print the task's id once it is on disk.

    Arguments are JSON where they can be, else text. The module is looked for in the current
    folder first. Options come before MODULE:FUNCTION; what follows it are arguments.

    \b
    mesh submit math:pow 2 0.5
    mesh submit -k seed=1 --id T=2.30 --retries 2 ising:simulate 2.3
    """
    named = _keywords(keywords)
    given = {name: value for name, value in options.items() if value not in (None, (), {})}
    try:
        options_of(given)
    except (TypeError, ValueError) as error:
        raise click.UsageError(str(error)) from None
    if own_id is not None:
        given["id"] = own_id
    from ..client.mesh import Mesh  # noqa: F401  # before a module of the user's can be in its way

    import_from_here()
    call = _function(function)
    with place.join() as mesh:
        mesh.detach()
        future = mesh.options(**given).submit(call, *map(_argument, arguments), **named)
        mesh.flush()
        if own_id is not None and mesh.future(own_id).id != future.id:
            raise future.exception(0) or MeshError(f"id {own_id!r} is another task's")
        if not (wait or results):
            if as_json:
                print_json({"id": future.id})
            else:
                click.echo(future.id)
            return
        click.echo(future.id, err=True)
        value = value_of(mesh, future, None)
        if results is not None:
            keep(future, results)
        if as_json:
            print_values(future, value)
        else:
            print_value(value)


def _argument(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _keywords(pairs: tuple[str, ...]) -> dict[str, Any]:
    named: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name.isidentifier():
            raise click.UsageError(f"-k takes NAME=VALUE, not {pair!r}")
        named[name] = _argument(value)
    return named


def _function(name: str) -> Callable[..., Any]:
    """The function that MODULE:FUNCTION names."""
    from ..protocol import functions

    module, _, qualname = name.partition(":")
    if not module or not qualname:
        raise click.UsageError(f"{name!r} is no MODULE:FUNCTION, such as math:sqrt")
    try:
        import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and (module + ".").startswith(error.name + "."):
            raise click.UsageError(f"there is no module {error.name}, here or installed") from None
        raise MeshError(f"module {module} cannot be imported: {error}") from error
    except Exception as error:
        traceback.print_exc()
        raise MeshError(
            f"module {module} cannot be imported: {type(error).__name__}: {error}"
        ) from error
    try:
        found = functions.find(name)
    except AttributeError:
        raise click.UsageError(f"module {module} has no {qualname}") from None
    if not callable(found):
        raise click.UsageError(f"{name} is {type(found).__name__}, not something to call")
    return found
