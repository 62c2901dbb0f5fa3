"""Site: where a router is to serve: its folder, its access file, what it listens on."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click

from ..errors import RouterUnreachable
from ..store.durability import LEVELS, Durability
from .amounts import Duration, Size

DEFAULT_NAME = "default"


class Site(NamedTuple):
    """What ``--name``, ``--dir``, ``--access``, ``--listen``, ``--advertise``, ``--takeover``,
    ``--durability`` and ``--log-json`` said; and of the mesh's settings those that were given."""

    folder: Path
    access: Path
    listen: str | None
    advertise: Sequence[str]
    takeover: bool
    durability: Durability = "disk"
    log_json: bool = False
    settings: dict[str, Any] = {}

    def check_free(self) -> None:
        """Make sure that no mesh serves here already.

        Raises:
            MeshError: one does; how to join or stop it.
            AccessDenied: what is there is no access file of ours.
        """
        from ..processes import alive
        from ..transport import access as access_files

        if not self.takeover:
            alive.claim(self.access)
        own = self.folder / "access.json"
        try:
            is_there = alive.is_alive(access_files.read(own))
        except RouterUnreachable:
            return
        if is_there:  # what is on another host, or dead, is the folder's lock's concern
            alive.claim(own)

    @property
    def label(self) -> str:
        """What ``--access`` takes to mean this mesh."""
        from ..transport.access import home

        return self.access.stem if self.access.parent == home() else str(self.access)


#: ``--durability``, of all that keep a store.
durability_option = click.option(
    "--durability",
    type=click.Choice(LEVELS),
    default="disk",
    show_default=True,
    help="What is recorded survives a power cut (disk), or every kill of every process (process).",
)


#: ``--log-json``, of all that keep a log.
log_option = click.option(
    "--log-json", is_flag=True, help="Log as JSON, a line for each event of each task."
)


class _Elsewhere(click.ParamType):
    """An address that others dial."""

    name = "address"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The address."""
        from ..transport.interfaces import is_dialled

        if not is_dialled(value):
            text = f"{value!r} is no address that others dial: give tcp://HOST:PORT"
            self.fail(f"{text}, such as tcp://mesh.example.org:5555", param, ctx)
        return value


#: ``--advertise``, of all that listen on TCP, as the argument `advertise`.
advertise_option = click.option(
    "--advertise",
    type=_Elsewhere(),
    multiple=True,
    metavar="tcp://HOST:PORT",
    help="Others reach it there as well: by a public name, or a port that a gateway forwards to "
    "it. May be given again.",
)


#: The mesh's settings, by their names in `core.events.Settings`: option, type, what it is called,
#: and help. Whoever starts a router sets them for all.
SETTINGS: dict[str, tuple[str, click.ParamType, str, str]] = {
    "ttl_s": (
        "--ttl",
        Duration(),
        "TIME",
        "Forget tasks so long after their end, in time that the mesh is up; default: 30d.",
    ),
    "quota_bytes": (
        "--quota",
        Size(),
        "SIZE",
        "Of the records; beyond it the oldest are forgotten; default: 16GiB.",
    ),
    "inline_bytes": (
        "--inline",
        Size(),
        "SIZE",
        "A larger result stays with its worker, a smaller one is recorded; default: 8KiB.",
    ),
    "heartbeat_s": (
        "--heartbeat",
        Duration(),
        "TIME",
        "Who has nothing to say for so long says that; default: 2s.",
    ),
    "lost_after_s": (
        "--lost-after",
        Duration(),
        "TIME",
        "Who was silent for so long is given up; default: 10s.",
    ),
    "far_factor": (
        "--far-factor",
        click.FloatRange(min=1),
        "N",
        "Who came by TCP may be silent so many times as long; default: 3.",
    ),
    "fetch_timeout_s": (
        "--fetch-timeout",
        Duration(),
        "TIME",
        "A stored result of which nothing came for so long is not reachable; default: 60s.",
    ),
    "store_lost_after_s": (
        "--store-lost-after",
        Duration(),
        "TIME",
        "What lies with a worker that was away for so long is lost; default: 10m.",
    ),
    "slot_losses_max": (
        "--slot-losses",
        click.IntRange(min=1),
        "N",
        "A task that has ended so many slots fails; default: 3.",
    ),
    "worker_losses_max": (
        "--worker-losses",
        click.IntRange(min=1),
        "N",
        "A task that was lost with so many workers runs alone, once more; default: 10.",
    ),
}


def _setting_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of SETTINGS, as arguments of their names."""
    for name, (option, kind, metavar, help) in reversed(SETTINGS.items()):
        command = click.option(option, name, type=kind, metavar=metavar, help=help)(command)
    return command


def _settings(said: dict[str, Any]) -> dict[str, Any]:
    """Those that were given.

    Raises:
        click.UsageError: who is in order would be given up.
    """
    from ..core.events import Settings

    given = {name: value for name, value in said.items() if value is not None}
    meant = Settings(**given)
    if meant.lost_after_s < 2 * meant.heartbeat_s:
        raise click.UsageError(
            f"--lost-after ({meant.lost_after_s:g} s) must be two heartbeats "
            f"({meant.heartbeat_s:g} s each) or more: who is only idle would be given up"
        )
    return given


def site_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of a site, as the argument `site`."""

    @click.option("--name", metavar="NAME", help="Its name; default: default.")
    @click.option(
        "--dir", "folder", metavar="DIR", help="Its folder; default: /var/tmp/mesh-UID/NAME."
    )
    @click.option(
        "--listen",
        metavar="tcp://HOST:PORT|any",
        help="Listen on TCP, encrypted; any: on all addresses of this host.",
    )
    @advertise_option
    @click.option("--access", metavar="FILE", help="Its access file; default: ~/.mesh/NAME.json.")
    @click.option("--takeover", is_flag=True, help="Replace the access file of another mesh.")
    @durability_option
    @log_option
    @_setting_options
    @functools.wraps(command)
    def placed(
        *args: Any,
        name: str | None,
        folder: str | None,
        listen: str | None,
        advertise: tuple[str, ...],
        access: str | None,
        takeover: bool,
        durability: Durability,
        log_json: bool,
        **kwargs: Any,
    ) -> Any:
        from ..client.where import folder_of
        from ..transport.access import locate

        try:
            home = folder_of(name or DEFAULT_NAME)
        except ValueError as error:
            raise click.UsageError(str(error)) from None
        if folder is not None:
            home = Path(folder).expanduser().absolute()
        site = Site(
            home,
            locate(access or name or DEFAULT_NAME).absolute(),
            None if listen is None else tcp(listen),
            advertise,
            takeover,
            durability,
            log_json,
            _settings({name: kwargs.pop(name) for name in SETTINGS}),
        )
        return command(*args, site=site, **kwargs)

    return placed


def tcp(address: str) -> str:
    """`address`, if it can be one to listen on: ``tcp://HOST:PORT``, or ``any``.

    Raises:
        click.UsageError: it is not.
    """
    from ..transport.interfaces import parse

    if address != "any" and parse(address) is None:
        raise click.UsageError(
            f"--listen takes any, or tcp://HOST:PORT such as tcp://10.0.0.1:5555, not {address!r}"
        )
    return address
