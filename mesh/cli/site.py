"""Site: where a router is to serve: its folder, its access file, what it listens on."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import click

from ..errors import RouterUnreachable
from ..store.durability import LEVELS, Durability
from .amounts import Duration, Size

DEFAULT_NAME = "default"


class Site(NamedTuple):
    """What ``--name``, ``--dir``, ``--access``, ``--listen``, ``--takeover``, ``--durability``,
    ``--log-json``, ``--ttl`` and ``--quota`` said."""

    folder: Path
    access: Path
    listen: str | None
    takeover: bool
    durability: Durability = "disk"
    log_json: bool = False
    ttl_s: float | None = None
    quota_bytes: int | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """What of the mesh's settings was said."""
        said = {"ttl_s": self.ttl_s, "quota_bytes": self.quota_bytes}
        return {name: value for name, value in said.items() if value is not None}

    def check_free(self) -> None:
        """Make sure that no mesh serves here already.

        Raises:
            MeshError: one does; how to join or stop it.
            AccessDenied: what is there is no access file of ours.
        """
        from ..transport import access as access_files

        if not self.takeover:
            access_files.claim(self.access)
        own = self.folder / "access.json"
        try:
            alive = access_files.is_alive(access_files.read(own))
        except RouterUnreachable:
            return
        if alive:  # what is on another host, or dead, is the folder's lock's concern
            access_files.claim(own)

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
    @click.option("--access", metavar="FILE", help="Its access file; default: ~/.mesh/NAME.json.")
    @click.option("--takeover", is_flag=True, help="Replace the access file of another mesh.")
    @durability_option
    @log_option
    @click.option(
        "--ttl",
        type=Duration(),
        metavar="TIME",
        help="Forget tasks so long after their end, in time that the mesh is up; default: 30d.",
    )
    @click.option(
        "--quota",
        type=Size(),
        metavar="SIZE",
        help="Of the records; beyond it the oldest are forgotten; default: 16GiB.",
    )
    @functools.wraps(command)
    def placed(
        *args: Any,
        name: str | None,
        folder: str | None,
        listen: str | None,
        access: str | None,
        takeover: bool,
        durability: Durability,
        log_json: bool,
        ttl: float | None,
        quota: int | None,
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
            takeover,
            durability,
            log_json,
            ttl,
            quota,
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
