"""A router with short heartbeats: what `mesh router` starts, with settings it has no option for."""

from __future__ import annotations

import json
import sys
from typing import Any

from mesh.processes.life import Life
from mesh.processes.log import Log
from mesh.processes.router import serve


def main() -> int:
    """``python -m bench.chaos.router OPTIONS``: says its access in one line once it serves."""

    def tell(line: dict[str, Any]) -> None:
        print(json.dumps(line), flush=True)

    return serve(json.loads(sys.argv[1]), Life(None), Log(sys.stderr), tell)


if __name__ == "__main__":
    sys.exit(main())
