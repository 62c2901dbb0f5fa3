"""``mesh router`` and ``mesh worker``: the parts of a mesh, in the foreground."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .. import errors
from ..errors import MeshError, RouterUnreachable
from .amounts import Size
from .lines import json_option, many, print_json, warner
from .place import Place, data_port_option, drain_option
from .resources import resource_option
from .site import Site, advertise_option, durability_option, log_option, site_options
from .stay import Stay, stay_options
from .threads import threads_option

if TYPE_CHECKING:
    from ..processes.life import Life


@click.command()
@click.option(
    "--no-home", is_flag=True, help="Without a worker that keeps what clients put in the mesh."
)
@drain_option("25")
@site_options
@json_option
def router(site: Site, no_home: bool, drain_timeout: float | None, as_json: bool) -> int:
    """Run a router alone, until Ctrl-C or `mesh stop`.

    With it runs a worker without slots, its home worker, which keeps what clients put.

    Ctrl-C and SIGTERM let running tasks end first, within the time of --drain-timeout; a second one
    does not wait for them.

    \b
    mesh router --name ising
    """
    from ..client.where import CHANGING_S
    from ..processes.home import Home
    from ..processes.log import Log
    from ..processes.router import serve
    from ..store import folder as store_folder

    about = {"durability": site.durability, "log_json": site.log_json}
    folder = site.folder / "worker"
    home = Home(folder, about, site.folder / "log" / "worker.log", warner(site.log_json))

    def tell(line: dict[str, Any]) -> None:
        if "error" in line:
            raise errors.BY_NAME.get(line["error"]["type"], MeshError)(line["error"]["message"])
        if as_json:
            print_json(line)
        else:
            click.echo(f"router of mesh {line['mesh']}, process {line['pid']}")
            click.echo(f"join it  mesh worker --access {site.label}")
        sys.stdout.flush()
        if not no_home:
            home.start(line)
        changing.release()

    store_folder.make(site.folder)
    store_folder.prepare(site.folder)
    changing = store_folder.Lock(site.folder, "changing", CHANGING_S)
    site.check_free()
    owned = store_folder.Lock(site.folder)
    store_folder.vacate(site.folder, "router", *([] if no_home else ["worker"]))
    options = {
        "folder": str(site.folder),
        "listen": site.listen,
        "advertise": site.advertise,
        "access": str(site.access),
        "durability": site.durability,
        "settings": site.settings,
    }
    log = Log(sys.stderr, as_json=site.log_json)
    try:
        return serve(options, _life(drain_timeout), log, tell)
    finally:
        home.close()
        owned.release()


@click.command()
@click.option(
    "--access",
    metavar="FILE|FOLDER|NAME",
    help="The mesh to join. Default: $MESH_ACCESS, else default.",
)
@click.option(
    "--slots", type=click.IntRange(min=0), metavar="N", help="Default: the CPUs it may use."
)
@threads_option
@click.option("--dir", "store", metavar="DIR", help="Its own folder; default: below /var/tmp.")
@click.option(
    "--max-tasks-per-child",
    "tasks_max",
    type=click.IntRange(min=1),
    metavar="N",
    help="Replace a slot's process after so many tasks; default never.",
)
@click.option(
    "--max-memory-per-child",
    "memory_max",
    type=Size(),
    metavar="SIZE",
    help="Replace one that has grown beyond this, between two tasks; default never.",
)
@resource_option
@click.option(
    "--store-quota",
    type=Size(),
    metavar="SIZE",
    help="Make room when its results take more: the oldest that are not needed go. Default none.",
)
@click.option(
    "--home", is_flag=True, help="Keep what clients put: for a router with --no-home, on its host."
)
@click.option(
    "--daemon", is_flag=True, help="Go on in the background once it has joined; or say why not."
)
@click.option("--tell", type=int, hidden=True)
@stay_options
@data_port_option
@advertise_option
@drain_option("25")
@durability_option
@log_option
@json_option
@click.pass_context
def worker(
    ctx: click.Context,
    /,
    access: str | None,
    slots: int | None,
    store: str | None,
    store_quota: int | None,
    data_port: int | None,
    stay: Stay,
    home: bool,
    daemon: bool,
    tell: int | None,
    drain_timeout: float | None,
    durability: str,
    log_json: bool,
    as_json: bool,
    **given_on: Any,
) -> int:
    """Run a worker that joins a mesh, until Ctrl-C or `mesh stop`.

    Ctrl-C and SIGTERM let running tasks end first, within the time of --drain-timeout; a second one
    does not wait for them. What has not ended is interrupted and runs elsewhere, or later. What is
    needed of its results goes to another worker meanwhile; if all of it has, a store without --dir
    is removed. It does the same in time before its allocation ends.

    \b
    mesh worker --access ising --slots 4
    """
    from ..processes.cpus import Allowed, allowed
    from ..transport.access import check_protocol
    from .daemon import JOIN_S, Parting, start_worker

    to = Place(access, None, None).read()
    check_protocol(to)
    if daemon:
        return start_worker(to, ctx.obj["args"], lambda told: _tell_joined(told, as_json))
    given = allowed(os.environ) if slots is None else Allowed(slots)
    parting = None if tell is None else Parting(tell)

    def joined() -> None:
        told = {"mesh": to.mesh, "pid": os.getpid(), "store": str(folder)}
        told["slots"] = given.cpus * given_on["threads"]
        if parting is None:
            _tell_joined(told, as_json)
        else:
            parting.joined(told)

    with _choosing(to.mesh, store) as (folder, chosen):

        def opened() -> str:
            chosen()
            return json.dumps(to.as_json() | {"path": str(to.path) if to.path else None})

        options = {
            "folder": str(folder),
            "slots": given.cpus,
            "slots_by": given.by,
            **stay.options(warner(log_json)),
            "data_port": data_port,
            "durability": durability,
            "home": home,
            "quota_bytes": store_quota,
            "fleeting": store is None and not home,
            "join_timeout_s": None if parting is None else JOIN_S,
        }
        options |= given_on  # threads, tasks_max, memory_max, resources, advertise
        if parting is not None:
            parting.log_to(folder.with_name(f"{folder.name}.log"))
        with parting or nullcontext():
            return _work(options, to.address, _life(drain_timeout), log_json, opened, joined)


def _work(
    options: dict[str, Any],
    address: str,
    life: Life,
    log_json: bool,
    opened: Callable[[], str],
    joined: Callable[[], None],
) -> int:
    """Be a worker to its end; the exit code.

    Raises:
        RouterUnreachable: no router answered, or no more.
    """
    from ..processes.log import Log
    from ..processes.worker import ROUTER_LOST, serve

    code = serve(options, life, Log(sys.stderr, as_json=log_json), opened, joined)
    if code == ROUTER_LOST:
        raise RouterUnreachable(f"no router answered at {address}")
    return code


def _tell_joined(told: dict[str, Any], as_json: bool) -> None:
    """Say that a worker has joined, and where its store is."""
    if as_json:
        print_json(told)
    else:
        slots, log = many(told["slots"], "slot"), told.get("log")
        where = f"; process {told['pid']}, log in {log}" if log else ""
        click.echo(f"joined mesh {told['mesh']} with {slots}; store {told['store']}{where}")
    sys.stdout.flush()


def _life(drain_timeout: float | None) -> Life:
    """What ends a part: signals, with so many seconds for what runs."""
    from ..processes.life import DRAIN_S, Life

    return Life(None, DRAIN_S if drain_timeout is None else drain_timeout)


@contextmanager
def _choosing(mesh: str, given: str | None) -> Iterator[tuple[Path, Any]]:
    """A store's folder that no other worker has, and a function to call once it is owned.

    A folder that an earlier worker left is taken again: what is in it is served again.
    """
    from ..store import folder as store_folder

    if given is not None:
        yield Path(given).expanduser().absolute(), lambda: None
        return
    root = store_folder.default_root() / mesh
    store_folder.make(root)
    choosing = os.open(root / "choosing", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(choosing, fcntl.LOCK_EX)  # until the chosen one is owned: one at a time
        number = 1
        while True:
            folder = root / f"worker-{socket.gethostname()}-{number}"
            store_folder.prepare(folder)
            try:
                store_folder.Lock(folder).release()
                break
            except store_folder.InUse:
                number += 1
        yield folder, lambda: fcntl.flock(choosing, fcntl.LOCK_UN)
    finally:
        os.close(choosing)
