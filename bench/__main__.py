"""The command line: which figures, how often, and where the result goes."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from . import environment, table
from .figures import NAMES
from .fresh import fresh
from .row import Row
from .settings import Settings

SCHEMA = 1
DEADLINE_S = 1_800
QUICK_DEADLINE_S = 180

Render = Callable[[str, Sequence[Row]], str]


def options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description="Mesh beside its references, in one run."
    )
    parser.add_argument(
        "figures", nargs="*", metavar="FIGURE", help=f"{', '.join(NAMES)}; all of them by default"
    )
    parser.add_argument(
        "--quick", action="store_true", help="small sizes: shows that all works, not how fast it is"
    )
    parser.add_argument(
        "--repeat", type=int, metavar="N", help="rounds of each figure (default 7, with --quick 3)"
    )
    parser.add_argument(
        "--dir",
        default="/var/tmp",
        help="where meshes with a folder have theirs: on a real disk (%(default)s)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample there")
    parser.add_argument("--markdown", action="store_true", help="print Markdown")
    parser.add_argument(
        "--show", type=Path, metavar="FILE", help="measure nothing: print what --json wrote"
    )
    return parser


def run(names: Sequence[str], settings: Settings, render: Render) -> dict[str, Any]:
    """Take the figures one after the other, printing each; one that fails is named, not fatal."""
    report: dict[str, Any] = {
        "schema": SCHEMA,
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "settings": {"quick": settings.quick, "repeat": settings.repeat},
        "environment": environment.describe(settings.folder),
        "figures": {},
        "errors": {},
    }
    deadline = settings.pick(DEADLINE_S, quick=QUICK_DEADLINE_S)
    for name in names:
        try:
            report["figures"][name] = fresh(
                "figures:measure", name, asdict(settings), deadline=deadline
            )
        except (RuntimeError, TimeoutError) as error:
            report["errors"][name] = str(error)
            print(f"{name}: {error}", file=sys.stderr)
        else:
            show(report, [name], render)
    return report


def show(report: dict[str, Any], names: Sequence[str], render: Render) -> None:
    for name in names:
        if name in report["figures"]:
            print(render(name, [Row.from_json(row) for row in report["figures"][name]]), flush=True)


def main() -> int:
    parser = options()
    chosen = parser.parse_args()
    names = chosen.figures or NAMES
    if unknown := sorted(set(names) - set(NAMES)):
        parser.error(f"no figure {', '.join(unknown)}: there are {', '.join(NAMES)}")
    render = table.markdown if chosen.markdown else table.text
    if chosen.show:
        show(json.loads(chosen.show.read_text()), names, render)
        return 0
    # A bench that is told to stop takes the figure under way with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    # The meshes measured are embedded ones, whatever mesh this shell is used to joining.
    os.environ.pop("MESH_ACCESS", None)
    repeat = chosen.repeat or (3 if chosen.quick else 7)
    # Made and removed out here, since a figure that is killed at its deadline can't tidy up. A mesh
    # that is just ending may still write there, which isn't worth losing the report for.
    scratch = tempfile.TemporaryDirectory(
        dir=chosen.dir, prefix="mesh-bench-", ignore_cleanup_errors=True
    )
    with scratch as folder:
        report = run(names, Settings(chosen.quick, repeat, folder), render)
    if chosen.json:
        chosen.json.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n")
    return 1 if report["errors"] else 0


if __name__ == "__main__":
    sys.exit(main())
