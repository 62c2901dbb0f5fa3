"""GPUs: which a worker may give to tasks, and how a task is told which are its own.

No library of GPUs is needed. Where there are none, looking costs a few look-ups of files; the one
command that is asked, if it is there, has its time.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

#: A driver that is being loaded, or hangs, answers late or never.
ASK_S = 10.0

NVIDIA = "CUDA_VISIBLE_DEVICES"
AMD = "ROCR_VISIBLE_DEVICES"

#: On AMD's it counts among those that AMD leaves visible; elsewhere nobody reads it.
HIP = "HIP_VISIBLE_DEVICES"

#: A manager that has given none says so with one of these.
_NONE = ("", "-1", "none", "NoDevFiles", "void")

_GPU = re.compile(r"GPU ([0-9]+):")
_MIG = re.compile(r"\s+MIG .*UUID: (MIG-[^)]+)\)")


def found(environment: Mapping[str, str] = os.environ, root: Path = Path("/")) -> list[str]:
    """The GPUs that this process may use, as the variables of the environment name them."""
    for variable in (NVIDIA, AMD, HIP):
        if variable in environment:
            given = environment[variable].strip()
            return [] if given in _NONE else [each.strip() for each in given.split(",")]
    return _nvidia(environment, root) or _amd(root)


def environment_of(devices: Sequence[str]) -> dict[str, str]:
    """The variables with which a process sees these GPUs and no others."""
    shown = ",".join(devices)
    return {NVIDIA: shown, AMD: shown, HIP: ",".join(map(str, range(len(devices))))}


def _nvidia(environment: Mapping[str, str], root: Path) -> list[str]:
    command = shutil.which("nvidia-smi", path=environment.get("PATH"))
    if command is not None:
        try:
            done = subprocess.run(
                [command, "-L"], capture_output=True, timeout=ASK_S, stdin=subprocess.DEVNULL
            )
        except (OSError, subprocess.TimeoutExpired):
            pass
        else:
            if done.returncode == 0:
                return _listed(done.stdout.decode(errors="replace"))
    try:
        return [str(nth) for nth, _ in enumerate((root / "proc/driver/nvidia/gpus").iterdir())]
    except OSError:
        return []


def _listed(text: str) -> list[str]:
    """What ``nvidia-smi -L`` lists; a GPU that is cut into parts is those."""
    devices: list[str] = []
    whole: str | None = None
    for line in text.splitlines():
        if gpu := _GPU.match(line):
            whole = gpu[1]
            devices.append(whole)
        elif part := _MIG.match(line):
            if devices and devices[-1] == whole:
                devices.pop()
            devices.append(part[1])
    return devices


def _amd(root: Path) -> list[str]:
    """The kernel's list of what computes: a processor is there with the id 0."""
    ids: list[str] = []
    for file in sorted(root.glob("sys/class/kfd/kfd/topology/nodes/*/gpu_id")):
        try:
            if int(file.read_text()):
                ids.append(str(len(ids)))
        except (OSError, ValueError):
            continue  # not for us, and so not ours
    return ids
