"""``mesh access``: what anything joins a mesh by, made, cut down to a role, and taken back.

Keys are printed only by `show`, which is asked for nothing else.
"""

from __future__ import annotations

import json
from pathlib import Path

import click

from ..errors import AccessDenied, MeshError, RouterUnreachable
from .lines import json_option, many, print_json, warn
from .place import Place, place_options
from .site import DEFAULT_NAME, advertise_option, tcp

#: What a key may be given out for. `transport.keys` has them too, and would load ZeroMQ.
ROLES = ("admin", "client", "worker")


@click.group()
def access() -> None:
    """Make, cut down and take back what others join a mesh by.

    \b
    mesh access new --listen tcp://login1:5555    before there is a router
    mesh access show --role worker -o worker.json
    mesh access renew --role worker               all worker files are void
    """


@access.command()
@click.option("--name", metavar="NAME", help="The mesh's name; default: default.")
@click.option("--access", "file", metavar="FILE", help="Default: ~/.mesh/NAME.json.")
@click.option(
    "--listen",
    metavar="tcp://HOST:PORT|any",
    default="any",
    show_default=True,
    help="Where its router will listen.",
)
@advertise_option
@json_option
def new(
    name: str | None, file: str | None, listen: str, advertise: tuple[str, ...], as_json: bool
) -> None:
    """Make an access file before there is a router.

    The router that is started with it, wherever that will be, has its keys: files that are cut out
    of it are good from now on. With a HOST and PORT in --listen they know where it will be; so
    they do with --advertise.

    \b
    mesh access new --access m.json --listen tcp://login1:5555
    mesh access show --access m.json --role worker -o w.json
    mesh router --access m.json
    """
    import os

    from ..task import session_of
    from ..transport import interfaces
    from ..transport.access import Access, locate
    from ..transport.keys import Ring

    path = locate(file or name or DEFAULT_NAME).absolute()
    if path.exists():
        raise AccessDenied(
            f"{path} is there already, and whoever joins by it would be shut out: give another "
            f"--access, or take keys back with `mesh access renew`"
        )
    listen = tcp(listen)
    found = [interfaces.numeric(listen)] if interfaces.is_dialled(listen) else []
    ring = Ring.new(session_of(os.urandom(8)), listen, advertise)
    keys = ring.admin(whole=True)
    made = Access(ring.mesh, list(dict.fromkeys([*advertise, *found])), keys=keys)
    made.write(path)
    if as_json:
        print_json({"mesh": ring.mesh, "access": str(path), "addresses": made.addresses})
    else:
        click.echo(f"keys of mesh {ring.mesh} are in {path}: keep it to yourself")
        click.echo(f"serve it  mesh router --access {path}  or  mesh up --access {path}")


@access.command()
@click.option("--role", type=click.Choice(ROLES), required=True, help="What its holder may do.")
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False), metavar="FILE", help="Write it there, 0600."
)
@place_options
def show(place: Place, role: str, output: str | None) -> None:
    """Cut an access file down to what one role needs.

    A worker may run tasks and serve results; a client may submit, look, fetch and cancel; an admin
    may do both and end the mesh. The mesh need not run. What is cut out is as secret as the whole:
    pass it on as a file of mode 0600, or by standard input.

    \b
    mesh access show --role worker -o worker.json
    mesh access show --role worker | ssh n7 mesh worker --access -
    """
    cut = place.read().cut(role)
    if not cut.addresses:
        warn(
            "where the router will be is not known yet: this file has its keys alone. Cut it out "
            "again once it runs, or make it with --listen tcp://HOST:PORT, or --advertise"
        )
    if output is None:
        click.echo(json.dumps(cut.as_json()))
    else:
        cut.write(Path(output).absolute())


@access.command()
@click.option(
    "--role",
    "roles",
    type=click.Choice(ROLES),
    multiple=True,
    required=True,
    help="Whose keys; may be given several times.",
)
@json_option
@place_options
def renew(place: Place, roles: tuple[str, ...], as_json: bool) -> None:
    """Take keys back: all files of these roles are void from now on.

    Of a mesh whose folder is on this host. If it runs, who has joined by an old key is turned away
    with its next word; workers on other hosts have to be started again, with a new file.

    \b
    mesh access renew --role worker --role client
    """
    from ..processes.alive import is_alive
    from ..transport.keys import ring_in

    known = place.read()
    folder = Path(known.folder or "")
    ring = ring_in(folder) if known.folder else None
    if ring is None:
        raise MeshError(
            f"the keys of mesh {known.mesh} are not on this host: do this where its router is, "
            f"which is {known.host or 'not started yet'}"
        )
    alive = is_alive(known)
    ring.renewed(roles).write(folder)
    if alive:
        try:
            with place.join() as mesh:
                mesh.renew_keys()
        except (RouterUnreachable, TimeoutError) as error:
            raise MeshError(
                f"the new keys are in {folder}, but the router goes by the old ones until it is "
                f"started again: {error}"
            ) from error
    if as_json:
        print_json({"mesh": known.mesh, "renewed": list(roles), "running": alive})
    else:
        click.echo(f"renewed the keys of {many(len(set(roles)), 'role')}: {', '.join(roles)}")
        click.echo("make new files with `mesh access show --role ROLE -o FILE`")
