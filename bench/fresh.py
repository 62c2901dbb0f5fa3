"""Calls made in a Python process of their own.

So one measurement doesn't inherit the heap, the threads or the mishaps of another.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


def fresh(target: str, *args: Any, deadline: float | None = None) -> Any:
    """What `module:function` (inside this package) returns for `args`; both travel as JSON.

    With a deadline the process leads a group of its own, and whatever it started ends with it.
    Calls made from within have none: they belong to that group.
    """
    with tempfile.NamedTemporaryFile(suffix=".json") as answer:
        # A file and not a pipe: whoever inherited a pipe would keep its reader waiting.
        process = subprocess.Popen(
            [sys.executable, "-m", __name__, target, json.dumps(args), answer.name],
            cwd=ROOT,
            stdout=sys.stderr,
            start_new_session=deadline is not None,
        )
        try:
            code = process.wait(deadline)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"{target} took more than {deadline} s") from None
        finally:
            if deadline is not None:
                _end_group(process.pid)
            process.wait()
        if code:
            raise RuntimeError(f"{target} ended with exit code {code}")
        return json.load(answer)


def _end_group(leader: int) -> None:
    try:
        os.killpg(leader, signal.SIGKILL)
    except ProcessLookupError:
        return


def main() -> None:
    target, args, answer = sys.argv[1:]
    module, _, function = target.partition(":")
    called = getattr(importlib.import_module(f"{__package__}.{module}"), function)
    Path(answer).write_text(json.dumps(called(*json.loads(args))))


if __name__ == "__main__":
    main()
