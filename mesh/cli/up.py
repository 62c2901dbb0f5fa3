"""``mesh up``: router and a worker on this host, as one."""

from __future__ import annotations

import math
import os
import select
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

import click

from ..errors import MeshError
from ..task import State
from .exits import FAILED, INTERRUPTED
from .lines import json_option, many, print_json, warner
from .place import data_port_option, drain_option
from .resources import resource_option
from .site import Site, site_options
from .threads import threads_option

#: Slots that are not ready by now will not be.
READY_S = 60.0


@click.command()
@click.option("--slots", type=click.IntRange(min=0), metavar="N", help="Default: the CPUs.")
@threads_option
@click.option("--daemon", is_flag=True, help="Go on in the background, until `mesh stop`.")
@resource_option
@data_port_option
@drain_option("after Ctrl-C as long as they take, after SIGTERM 25")
@site_options
@json_option
def up(
    site: Site,
    slots: int | None,
    threads: int,
    daemon: bool,
    resources: dict[str, int],
    data_port: int | None,
    drain_timeout: float | None,
    as_json: bool,
) -> int:
    """Start a mesh on this host, until Ctrl-C or `mesh stop`.

    Ctrl-C lets running tasks end first, SIGTERM for 25 s; --drain-timeout is for both. A second one
    does not wait for them. What is interrupted or queued stays in the mesh's folder, and goes on
    when a mesh is started on it again.

    \b
    mesh up
    mesh up --name ising --slots 8 --daemon
    """
    from ..processes.cpus import cpus

    site.check_free()
    count = cpus() if slots is None else slots
    if daemon:
        from .daemon import start

        told = start(site, count, drain_timeout, data_port, resources, threads)
        if as_json:
            print_json(told)
        else:
            tell(site, told)
            click.echo(f"process  {told['pid']}, log in {told['log']}/up.log")
        return 0

    def ready(told: dict[str, Any]) -> None:
        if as_json:
            print_json(told)
        else:
            tell(site, told)
        sys.stdout.flush()

    return serve(site, count, ready, drain_timeout, data_port, resources, threads)


def tell(site: Site, told: dict[str, Any]) -> None:
    """Say that the mesh is there, and how to join and stop it."""
    click.echo(f"mesh {told['mesh']} is up with {many(told['slots'], 'slot')} in {told['folder']}")
    click.echo(f"join it  mesh worker --access {site.label}  or  Mesh(access={site.label!r})")
    default = site.label == "default"
    click.echo(f"stop it  mesh stop{'' if default else f' --access {site.label}'}")


def serve(
    site: Site,
    slots: int,
    ready: Callable[[dict[str, Any]], None],
    drain_timeout: float | None,
    data_port: int | None,
    resources: dict[str, int],
    threads: int,
) -> int:
    """Own a mesh until its end; the exit code. `ready` is called when its slots are there. After a
    signal what runs may take `drain_timeout` seconds. Without any SIGTERM, which comes from
    managers, has its default, and SIGINT, which comes from a person, no end.

    Raises:
        MeshError: it cannot start.
        TimeoutError: its slots do not.
    """
    from ..client.where import CHANGING_S
    from ..processes.life import DRAIN_S, Life
    from ..processes.local import LocalMesh, Plan
    from ..store import folder as store_folder

    say = warner(site.log_json)
    plan = Plan(
        site.folder,
        slots,
        listen=site.listen,
        advertise=site.advertise,
        data_port=data_port,
        resources=resources,
        threads=threads,
        access=site.access,
        durability=site.durability,
        log_json=site.log_json,
        settings=site.settings,
    )
    store_folder.make(site.folder)
    store_folder.prepare(site.folder)
    changing = store_folder.Lock(site.folder, "changing", CHANGING_S)
    try:
        site.check_free()
        mesh = LocalMesh(plan, say)
    finally:
        changing.release()
    now = True
    try:
        await_slots(mesh, slots * threads)
        unlike = (DRAIN_S, math.inf)
        life = Life(None, *(unlike if drain_timeout is None else (drain_timeout, drain_timeout)))
        ready(
            {
                "mesh": mesh.access.mesh,
                "pid": os.getpid(),
                "slots": slots * threads,
                "folder": str(site.folder),
                "access": str(site.access),
                "address": mesh.access.address,
                "log": str(site.folder / "log"),
            }
        )
        code = await_end(mesh, life, say)
        now = code != 0
        return code
    finally:
        mesh.begin_end()
        mesh.close(now=now)


def await_slots(mesh: Any, slots: int) -> None:
    """Until the mesh can work."""
    from ..client.mesh import Mesh

    if slots:
        with Mesh(access=mesh.plan.access_file) as client:
            client.wait_for_slots(slots, READY_S)


def await_end(mesh: Any, life: Any, say: Callable[[str], None]) -> int:
    """Until the mesh has ended, or a second signal came; the exit code. `say` tells people what it
    waits for."""
    read, write = os.pipe()
    codes: list[int] = []

    def watch() -> None:
        codes.append(mesh.wait())
        os.close(write)

    threading.Thread(target=watch, name="mesh-up-watch", daemon=True).start()
    while True:
        ready = select.select([life, read], [], [])[0]
        if read in ready:
            os.close(read)
            return 0 if codes[0] == 0 else FAILED
        within_s = life.ended()
        if within_s == 0:
            return INTERRUPTED
        if within_s is not None:
            about = [mesh, within_s, say]
            threading.Thread(target=stop, args=about, name="mesh-up-stop", daemon=True).start()


def stop(mesh: Any, within_s: float, say: Callable[[str], None]) -> None:
    """Ask the mesh to end in order, and say what it waits for; what runs has so many seconds."""
    from ..client.mesh import Mesh

    try:
        with Mesh(access=mesh.plan.access_file) as client:
            if client.status()["tasks"][State.RUNNING.word]:
                how_long = "" if within_s == math.inf else f", {within_s:g} s at most"
                say(f"waiting for what runs{how_long}; the next Ctrl-C does not")
            else:
                say("nothing runs: the mesh ends")
            client.stop(drain_timeout=within_s)
    except (MeshError, TimeoutError) as error:
        say(f"the mesh does not end: {error}")
        os.kill(os.getpid(), signal.SIGTERM)  # as a second Ctrl-C would
