"""The history of a run: what happened, as JSON Lines in one file that all processes append to.

Every line is an event: its name, the machine's monotonic time, and what it is about. A line is one
write to a file opened with O_APPEND: lines of different processes never mix, and a process that is
killed leaves whole lines.

| event | of | about |
| --- | --- | --- |
| `settings` | harness | `seed`, `seconds`, `lost_after_s`, `slot_losses_max`, `worker_losses_max` |
| `started`, `up` | harness | `role`, `name`, `pid`; `up` when a router serves |
| `fault` | harness | `kind`, `role`, `name`, `pids` (all that it hits), `until`; `ids` (spoiled) |
| `continued` | harness | `pids`: a stop is over |
| `gone` | harness | `role`, `name`, `pid`, `code`, `expected` |
| `quiet` | harness | the last fault is over, and everybody is there again |
| `hung` | harness | `who` did not end or come in time |
| `said` | harness | `who`, `line`: what no process should say |
| `leftover` | harness | `what` is still there |
| `descriptors` | harness | `pid`, `count`, `when` ("first", "last"): the router's |
| `submitting` | client | `client`, `mesh`, `calls`: key → what it is (see `client.py`) |
| `submitted` | client | `client`, `mesh`, `ids`: key → id; `recorded`: acknowledged by then |
| `flushed` | client | `client`: all it had submitted before is acknowledged |
| `cancelling`, `cancelled` | client | `client`, `key`, `running`; `verdict` |
| `seen` | client | `client`, `key`, `id`, `state`, `value` or `error`, `text`, `live` |
| `trouble` | client | `client`, `what`, `error`, `text`: a call that raised what it should not |
| `began` | task | `key`, `pid`, `worker`; `took`: fingerprints |
| `ended` | task | `key`, `pid`, `worker`; `how`: returned, raised, interrupted, dying |
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any


class History:
    """Appends to the history at `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC)

    def __call__(self, event: str, **about: Any) -> None:
        """`event` happened, now or at `t`."""
        line = {"event": event, "t": time.monotonic()} | about
        os.write(self._descriptor, json.dumps(line).encode() + b"\n")

    def close(self) -> None:
        os.close(self._descriptor)


def read(path: Path) -> list[dict[str, Any]]:
    """All events, in the order of their times."""
    with open(path, encoding="utf-8") as file:
        return sorted(map(json.loads, file), key=lambda event: event["t"])
