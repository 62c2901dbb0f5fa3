"""``mesh up --daemon``, ``mesh worker --daemon``: the same in the background, in an own session.

The command waits until the mesh is ready, or the worker has joined, or has told why it cannot,
over a pipe; then it leaves, and what started it, be it an ssh connection, may end.
"""

from __future__ import annotations

import json
import os
import platform
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import errors
from ..errors import MeshError
from .site import Site

if TYPE_CHECKING:
    from ..transport.access import Access

#: A worker that nobody watches has joined within this, or says why it cannot: whoever starts sixty
#: wants to know soon. A router on its host's other network answers in a second or two.
JOIN_S = 15.0

#: So much of a log tells why a start failed.
TAIL_BYTES = 4096

#: Whose worker it is can be seen in a list of processes: whoever is to end it looks for that.
WORKER_BOOT = (
    "import sys; sys.path[0] = {root!r}; from mesh.cli import main; del sys.path[0]; main()"
    "  # worker of mesh {mesh}"
)

#: As for the other processes: the current folder is not where modules are looked for.
BOOT = (
    "import sys; sys.path[0] = {root!r}; from mesh.cli.daemon import main; del sys.path[0]; main()"
)


def start(
    site: Site,
    slots: int,
    drain_timeout: float | None,
    data_port: int | None,
    resources: dict[str, int],
    threads: int,
) -> dict[str, Any]:
    """Start the daemon and wait until its mesh is ready; what `up.serve` tells.

    Raises:
        MeshError, TimeoutError: what the daemon says about why it cannot start.
    """
    from ..processes.spawn import ROOT
    from ..store import folder as store_folder

    store_folder.make(site.folder)
    logs = site.folder / "log"
    logs.mkdir(mode=0o700, exist_ok=True)
    ready, tell = os.pipe()
    place = [str(site.folder), str(site.access), *site[2:]]
    options = [place, slots, drain_timeout, data_port, resources, threads, tell]
    with open(logs / "up.log", "ab") as log, open(ready, "rb") as answer:
        try:
            process = subprocess.Popen(
                [sys.executable, "-c", BOOT.format(root=ROOT), json.dumps(options)],
                pass_fds=[tell],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd=site.folder,
            )
        finally:
            os.close(tell)
        try:
            line = answer.readline()
        except KeyboardInterrupt:
            process.terminate()
            process.wait()
            raise
    if not line:
        raise MeshError(f"the mesh died at its start; see {logs / 'up.log'}")
    told: dict[str, Any] = json.loads(line)
    if "error" not in told:
        return told
    process.wait()
    kind, message = told["error"]
    if kind == TimeoutError.__name__:
        raise TimeoutError(message)
    raise errors.BY_NAME.get(kind, MeshError)(message)


def start_worker(to: Access, given: Sequence[str], say: Callable[[dict[str, Any]], None]) -> int:
    """Start a worker that joins `to`, with the arguments that were `given` to the command, wait
    until it has, and `say` what it tells; the exit code. If it cannot, it says why itself, on our
    standard error."""
    from ..processes.spawn import ROOT

    ready, tell = os.pipe()
    arguments = [each for each in given if each != "--daemon"]
    boot = WORKER_BOOT.format(root=ROOT, mesh=to.mesh)
    command = [sys.executable, "-c", boot, *arguments, "--access", "-", "--tell", str(tell)]
    with open(ready, "rb") as answer:
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, pass_fds=[tell], start_new_session=True
            )
        finally:
            os.close(tell)
        assert process.stdin is not None
        try:
            with suppress(BrokenPipeError), process.stdin:
                process.stdin.write(json.dumps(to.as_json()).encode())
            line = answer.readline()
            if not line:
                return process.wait()
        except KeyboardInterrupt:
            process.terminate()
            process.wait()
            raise
    say(json.loads(line))
    return 0


class Parting:
    """How a worker in the background leaves who has started it: what it writes goes to a log from
    the moment that it has a store, and its first lines to that one, too, if it cannot join.

    Args:
        tell: the descriptor at which it says that it has joined.
    """

    def __init__(self, tell: int) -> None:
        self._tell = tell
        os.set_inheritable(tell, False)  # or what it starts would keep who started it waiting
        self._streams = {number: os.dup(number) for number in (1, 2)}
        self._log: Path | None = None
        self._begin = 0

    def log_to(self, log: Path) -> None:
        """From now on standard output and error go to `log`."""
        with open(log, "ab", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
            self._log, self._begin = log, file.tell()
            for number in self._streams:
                os.dup2(file.fileno(), number)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)

    def joined(self, told: dict[str, Any]) -> None:
        """Say so. From now on nobody listens."""
        about = {
            "host": socket.gethostname(),
            "log": str(self._log),
            "python": platform.python_version(),
        }
        with suppress(BrokenPipeError):
            os.write(self._tell, json.dumps(told | about).encode() + b"\n")
        os.close(self._tell)
        for copy in self._streams.values():
            os.close(copy)
        self._streams.clear()

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        """If it has not joined: what it has written and will write goes to who has started it."""
        sys.stdout.flush()
        for number, copy in self._streams.items():
            os.dup2(copy, number)
        if self._streams and self._log is not None:
            with open(self._log, "rb") as file:
                file.seek(max(self._begin, self._log.stat().st_size - TAIL_BYTES))
                os.write(2, file.read())


def main() -> None:
    """``python -c … OPTIONS``: the daemon."""
    from .up import serve

    place, slots, drain_timeout, data_port, resources, threads, answer = json.loads(sys.argv[1])
    folder, access, *rest = place

    def tell(line: dict[str, Any]) -> None:
        os.write(answer, json.dumps(line).encode() + b"\n")
        os.close(answer)

    try:
        site = Site(Path(folder), Path(access), *rest)
        code = serve(site, slots, tell, drain_timeout, data_port, resources, threads)
    except (MeshError, TimeoutError) as error:
        tell(
            {"error": [errors.public_name(error), str(error)]}
        )  # first: the log's disk may be full
        print(f"error: {error}", file=sys.stderr)
        code = 1
    raise SystemExit(code)
