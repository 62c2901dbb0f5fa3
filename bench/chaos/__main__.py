"""The command line: one run, its table, and where the history is if something is wrong."""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from . import tally
from .cast import Size
from .checker import check
from .harness import Harness
from .history import read


def options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench.chaos", description="A mesh under load and faults, judged."
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="of faults (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of faults and load (%(default)s)")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write tally and violations there"
    )
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep history, logs and stores")
    parser.add_argument("--judge", type=Path, metavar="FILE", help="run nothing: judge a history")
    return parser


def main() -> int:
    chosen = options().parse_args()
    if chosen.judge is not None:
        return judge(chosen.judge, chosen.json)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    if chosen.keep is not None:
        home = chosen.keep.absolute()
        home.mkdir(parents=True)
    else:
        home = Path(tempfile.mkdtemp(prefix="mesh-chaos-", dir="/var/tmp"))
    Harness(home, chosen.seed, chosen.seconds, Size()).run()
    code = judge(home / "history.jsonl", chosen.json)
    if code or chosen.keep is not None:
        print(f"history, logs and stores are in {home}")
    else:
        shutil.rmtree(home)
    return code


def judge(history: Path, report: Path | None) -> int:
    """Print what a history comes to; 1 if there is a violation in it."""
    events = read(history)
    violations = check(events)
    numbers = tally.count(events, violations)
    print(tally.text(numbers, violations))
    if report is not None:
        rows = [violation._asdict() for violation in violations]
        report.write_text(json.dumps(numbers | {"found": rows}, indent=1) + "\n")
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
