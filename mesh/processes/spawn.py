"""How the processes of a mesh are started.

Never by forking a process that has threads, always by a fresh interpreter; with the current
folder off `sys.path` while our modules are imported (a user's ``mesh.py`` must not shadow them),
and the user's paths put behind them afterwards.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from ..transport import descriptors
from . import PATH_VARIABLE, SLOT_VARIABLE
from .cpus import cpus

#: Where this very package lies: what a child imports must be what its parent is.
ROOT = str(Path(__file__).resolve().parents[2])

#: `del` before `main()`: neither the current folder nor ours stays in front of the user's.
BOOT = "import sys; sys.path[0] = {root!r}; from mesh.processes.{name} import main; del sys.path[0]; main()"  # noqa: E501

#: Sibling slots share the CPUs: BLAS and OpenMP must not take all of them, each.
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "BLIS_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)


def command(name: str, *arguments: object) -> list[str]:
    """The command line of ``mesh.processes.NAME``."""
    return [sys.executable, "-c", BOOT.format(root=ROOT, name=name), *map(str, arguments)]


def slot(
    pairs: list[int],
    slates: list[int],
    folder: Path,
    store: str,
    slots: int,
    output: int,
    mark: str,
    memory_max: int,
    number: int,
    environment: dict[str, str],
) -> subprocess.Popen[bytes]:
    """Start the process of the slots from `number` on, on the descriptors `pairs` and `slates`, in
    a process group of its own; what it prints goes to `output`, and whatever it starts inherits
    `mark`. Of our environment it has what `environment` does not say otherwise."""
    threads = str(max(1, cpus() // max(1, slots)))
    env = dict.fromkeys(THREAD_VARIABLES, threads) | os.environ | environment
    env[SLOT_VARIABLE] = mark
    limit = descriptors.AT_START
    ends = (",".join(map(str, each)) for each in (pairs, slates))
    return subprocess.Popen(
        command("slot", *ends, folder, store, os.getpid(), memory_max, number, limit),
        pass_fds=[*pairs, *slates],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        start_new_session=True,
        env=env,
    )


def service(
    name: str, options: dict[str, Any], log: Path, pipes: list[int]
) -> subprocess.Popen[bytes]:
    """Start a router or worker that lives until the first of `pipes` reaches its end."""
    log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    paths = "\n".join(path for path in map(_absolute, sys.path) if path)
    with open(log, "ab") as file:
        return subprocess.Popen(
            command(name, json.dumps(options | {"pipe": pipes[0], "log": str(log)})),
            pass_fds=pipes,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
            env=os.environ | {PATH_VARIABLE: paths},
        )


def _absolute(path: str) -> str:
    """An entry of `sys.path`, whoever reads it; "" if it is relative to a folder that is gone."""
    try:
        return os.path.abspath(path)
    except FileNotFoundError:
        return ""
