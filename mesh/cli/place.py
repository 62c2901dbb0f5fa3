"""Place: which mesh a command is about, and the way into it."""

from __future__ import annotations

import functools
import math
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from ..errors import MeshError, RouterUnreachable
from ..processes import NO_PORT

if TYPE_CHECKING:
    from ..client.cold import Cold
    from ..client.echo import Show
    from ..client.mesh import Mesh
    from ..transport.access import Access

#: Where nobody listens, a router may be about to come back; longer is not worth the wait.
RETURN_S = 2.0


#: A mesh that begins on a folder, or ends there, has done so within this.
CHANGING_S = 10.0

#: And it is looked at this often.
LOOK_S = 0.05


class Place(NamedTuple):
    """What ``--access``, ``--name`` and ``--dir`` said; one of them at most; and ``--store``."""

    access: str | None
    name: str | None
    folder: str | None
    stores: tuple[Path, ...] = ()

    def join(self, echo: bool | Show = False) -> Mesh:
        """The mesh that runs there; for `echo` see `Mesh`.

        Raises:
            RouterUnreachable: none does.
            AccessDenied: its access file cannot be used.
        """
        from ..client.ending import ROUTER_TIMEOUT_S
        from ..client.mesh import Mesh
        from ..processes.alive import is_alive

        _check_no_task()
        alive = is_alive(self.read())
        within_s = ROUTER_TIMEOUT_S if alive else RETURN_S
        return Mesh(self.file, router_timeout=within_s, echo=echo)

    def read(self) -> Access:
        """Its access file.

        Raises:
            RouterUnreachable: there is none.
            AccessDenied: it cannot be used.
        """
        from ..transport import access as access_files

        return access_files.read(self.file)

    @property
    def file(self) -> Path:
        """Where its access file is."""
        from ..transport.access import locate

        return locate(self.access) if self.home is None else self.home / "access.json"

    def begin(self) -> Mesh:
        """The mesh that runs there, else one without slots that begins there: for what changes the
        folder.

        Raises:
            RouterUnreachable: there is no mesh's folder.
            MeshError: see `open`.
        """
        from ..client.mesh import Mesh

        if self.home is None or self._runs():
            return self.join()
        _check_no_task()
        self._check_home(self.home)
        return Mesh(dir=self.home, slots=0)

    def embed(self, slots: int | None, echo: bool | Show) -> tuple[Mesh, bool]:
        """The mesh that is there; else one that begins, with so many slots, and ends with this
        command: in the folder, or in a temporary one. And whether it is the former. For `echo`
        see `Mesh`.

        Raises:
            RouterUnreachable: a mesh is named by its access file, and does not run.
            MeshError: see `open`.
        """
        from ..client.mesh import Mesh
        from ..processes.cpus import cpus

        _check_no_task()
        if self.is_there():
            return self.join(echo), True
        slots = cpus() if slots is None else slots
        return Mesh(dir=self.home, slots=slots, echo=echo), False

    def is_there(self) -> bool:
        """Whether a mesh runs there, or is said to: by an access file that is named."""
        from ..transport.access import ENVIRONMENT

        named = self.home is None and os.environ.get(ENVIRONMENT)
        return self.access is not None or bool(named) or self._runs()

    def _check_home(self, home: Path) -> None:
        if not (home / "router" / "records.mdb").exists():
            raise RouterUnreachable(
                f"there is no mesh in {home}: name the folder of `mesh up` or Mesh(dir=…)"
            )

    def open(self) -> tuple[Mesh | Cold, bool]:
        """The mesh that runs there, else what its folder tells; and whether it runs.

        Raises:
            RouterUnreachable: there is neither.
            AccessDenied: its access file cannot be used.
            StoreError: the folder cannot be read, or is another process's all the time.
        """
        from ..client.cold import Cold
        from ..store.folder import InUse

        if self.home is None:
            return self.join(), True
        until = time.monotonic() + CHANGING_S
        while not self._runs():
            _check_no_task()
            self._check_home(self.home)
            try:
                return Cold(self.home, self.stores), False
            except InUse:  # a mesh begins there, or ends
                if time.monotonic() >= until:
                    raise
                time.sleep(LOOK_S)
        return self.join(), True

    @property
    def home(self) -> Path | None:
        """The folder, if the place was named by it."""
        from ..client.where import folder_of

        if self.name is not None:
            try:
                return folder_of(self.name)
            except ValueError as error:
                raise click.UsageError(str(error)) from None
        return None if self.folder is None else Path(self.folder).expanduser().absolute()

    def _runs(self) -> bool:
        from ..processes.alive import is_alive

        try:
            return is_alive(self.read())
        except RouterUnreachable:
            return False


def _check_no_task() -> None:
    from ..processes import SLOT_VARIABLE

    if SLOT_VARIABLE in os.environ:
        raise MeshError(
            "a task cannot use a mesh: return the values, and ask from where it was submitted"
        )


def place_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--access``, ``--name`` and ``--dir``, as the argument `place`."""

    @click.option(
        "--access",
        metavar="FILE|FOLDER|NAME",
        help="The mesh of this access file. Default: $MESH_ACCESS, else default.",
    )
    @click.option("--name", metavar="NAME", help="The mesh in the default folder of that name.")
    @click.option("--dir", "folder", metavar="DIR", help="The mesh in this folder.")
    @functools.wraps(command)
    def placed(
        *args: Any,
        access: str | None,
        name: str | None,
        folder: str | None,
        stores: tuple[str, ...] = (),
        **kwargs: Any,
    ) -> Any:
        if sum(given is not None for given in (access, name, folder)) > 1:
            raise click.UsageError("--access, --name and --dir each say which mesh: give one")
        if stores and name is None and folder is None:
            raise click.UsageError("--store is for a mesh that does not run: give --dir or --name")
        others = tuple(Path(store).expanduser().absolute() for store in stores)
        return command(*args, place=Place(access, name, folder, others), **kwargs)

    return placed


def looking_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """`place_options`, and ``--store``: for what can be told without a mesh, too."""
    return place_options(
        click.option(
            "--store",
            "stores",
            multiple=True,
            metavar="DIR",
            help="Look for results here too, if no mesh runs on the folder: a worker's store, or a "
            "folder with some in it. May be given again.",
        )(command)
    )


def results_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--results``, as the argument `results`."""
    return click.option(
        "--results",
        type=click.Path(file_okay=False),
        metavar="DIR",
        help="Keep results in DIR, as plain files that are there without a mesh.",
    )(command)


def timeout_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--timeout``, as the argument `timeout`."""
    return click.option(
        "--timeout",
        type=click.FloatRange(min=0),
        metavar="SECONDS",
        help="Give up after so long (exit code 5). Default: never.",
    )(command)


#: The highest port there is.
PORT_MAX = 65_535


def drain_option(default: str) -> Callable[..., Any]:
    """``--drain-timeout``, as the argument `drain_timeout`; `default` tells what is without it."""
    return click.option(
        "--drain-timeout",
        type=click.FloatRange(min=0),
        callback=_no_nan,
        metavar="SECONDS",
        help="Running tasks have so long to end; then they are interrupted, and run again "
        f"elsewhere or later. Default: {default}; 'inf' has no end.",
    )


class _DataPort(click.ParamType):
    """A port from 0 on, or ``off``."""

    name = "port"

    def convert(
        self, value: str | int, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        """The port; NO_PORT for none."""
        if value == "off":
            return NO_PORT
        if not str(value).isdecimal() or int(value) > PORT_MAX:
            self.fail(f"{value!r} is no port: give 0 to {PORT_MAX}, or off", param, ctx)
        return int(value)


#: What ``--data-port`` takes.
DATA_PORT = _DataPort()

#: ``--data-port``, as the argument `data_port`.
data_port_option = click.option(
    "--data-port",
    type=DATA_PORT,
    metavar="PORT|off",
    help="Serve results to peers on this TCP port of this host; 0 is any. Default: any if the "
    "router listens on TCP, else none.",
)


def _no_nan(ctx: click.Context, parameter: click.Parameter, value: float | None) -> float | None:
    if value is not None and math.isnan(value):
        raise click.BadParameter("nan is no time", ctx, parameter)
    return value


def import_from_here() -> None:
    """Let modules of the current folder be found first, as a script's are."""
    with suppress(FileNotFoundError):  # it is gone
        sys.path.insert(0, os.getcwd())
