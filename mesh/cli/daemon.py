"""``mesh up --daemon``: the same in the background, in a process session of its own.

The command waits until the mesh is ready or has told why it cannot be, over a pipe; then it leaves,
and the daemon owns router and worker.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from .. import errors
from ..errors import MeshError
from .site import Site

#: As for the other processes: the current folder is not where modules are looked for.
BOOT = (
    "import sys; sys.path[0] = {root!r}; from mesh.cli.daemon import main; del sys.path[0]; main()"
)


def start(
    site: Site, slots: int, drain_timeout: float | None, data_port: int | None
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
    options = [place, slots, drain_timeout, data_port, tell]
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


def main() -> None:
    """``python -c … OPTIONS``: the daemon."""
    from .up import serve

    place, slots, drain_timeout, data_port, answer = json.loads(sys.argv[1])
    folder, access, *rest = place

    def tell(line: dict[str, Any]) -> None:
        os.write(answer, json.dumps(line).encode() + b"\n")
        os.close(answer)

    try:
        site = Site(Path(folder), Path(access), *rest)
        code = serve(site, slots, tell, drain_timeout, data_port)
    except (MeshError, TimeoutError) as error:
        print(f"error: {error}", file=sys.stderr)
        tell({"error": [errors.public_name(error), str(error)]})
        code = 1
    raise SystemExit(code)
