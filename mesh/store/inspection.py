"""The inspection of a store that may be damaged: by a process of its own, which it may cost its
life.

A damaged data file can end whoever maps it: by SIGBUS beyond its end, by an assertion of LMDB's
over a page that is none. So a store in doubt (`Seal.doubt`) is first opened by a child, which
reads every row and unpacks it. A child that dies, or is not done in time, has found damage.
"""

from __future__ import annotations

import importlib
import json
import signal
import subprocess
import sys
from pathlib import Path

from .seal import Seal

#: Where this very package lies: what the child imports must be what its parent is.
_ROOT = str(Path(__file__).resolve().parents[2])

_CHILD = (
    "import sys; sys.path[0] = {root!r}; from mesh.store.inspection import main; "
    "del sys.path[0]; main()"
)

#: An inspection may take so long, and the longer the more there is: a slow disk reads 50 MB/s, and
#: a slow interpreter unpacks small rows half as fast.
LEAST_S = 20.0
BYTES_PER_S = 20e6


def patience_s(folder: Path) -> float:
    """How much longer than usual the stores in `folder` may take to open: 0 if none is in doubt."""
    if all(Seal(data).doubt() is None for data in folder.glob("*.mdb")):
        return 0.0
    size = sum(file.lstat().st_size for file in folder.rglob("*"))
    return LEAST_S + size / BYTES_PER_S


def damage(data: Path, kind: str) -> str | None:
    """What is wrong with the store at `data`, if anything is; `kind` is the module of this package
    whose `inspect(data)` reads all of it."""
    size = data.stat().st_size
    if not size:
        return "it is empty"  # to LMDB a new one
    limit_s = LEAST_S + size / BYTES_PER_S
    try:
        done = subprocess.run(
            [sys.executable, "-c", _CHILD.format(root=_ROOT), kind, str(data)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=limit_s,
            start_new_session=True,  # a terminal's Ctrl-C is no damage
        )
    except subprocess.TimeoutExpired:
        return f"reading it takes more than {limit_s:.0f} s"
    if done.returncode < 0:
        return f"reading it ended a process by {signal.Signals(-done.returncode).name}"
    try:
        found: str | None = json.loads(done.stdout)
    except ValueError:
        last = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        return f"it cannot be read: {last}"
    return found


def main() -> None:
    """``python -c … KIND DATA``: the child."""
    kind, data = sys.argv[1:]
    inspect = importlib.import_module(f".{kind}", __package__).inspect
    try:
        inspect(Path(data))
    except Exception as error:  # whatever comes of unpacking what is no such thing
        told = str(error.__cause__ or error).removeprefix(data).lstrip(": ").partition(". ")[0]
        print(json.dumps(told or type(error).__name__))
    else:
        print("null")
