"""Further workers on a mesh, each with a store of its own, and perhaps as if on a host of its own.

What they say to each other then goes over TCP or through the router, though all of it is here.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

#: It has little to do on its way out.
LEAVE_S = 20


@contextmanager
def another_worker(
    access: str, folder: str, *, host: str = "", port: int | str = "off"
) -> Iterator[int]:
    """A worker of one slot on the mesh of `access`, with its store in `folder`; its pid.

    With a `host` it takes that for its name; `port` is its data port, or "off".
    """
    command = [sys.executable, "-m", __name__, host, "worker", "--access", access]
    command += ["--dir", folder, "--slots", "1", "--data-port", str(port)]
    quiet = subprocess.DEVNULL  # that it came and goes is no news
    process = subprocess.Popen(command, cwd=ROOT, stdout=quiet, stderr=quiet)
    try:
        yield process.pid
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(LEAVE_S)
        finally:
            process.kill()


def main() -> None:
    """``python -m bench.peers HOST COMMAND…``: `mesh COMMAND…` under this name of a host."""
    host = sys.argv.pop(1)
    if host:
        socket.gethostname = lambda: host
    from mesh.cli import main as run

    run()


if __name__ == "__main__":
    main()
