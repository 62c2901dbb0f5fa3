"""Home: the worker that a router which runs alone has on its host, without slots.

It keeps what clients put. It is a child of the router's process, started beside it and started anew
when it dies; it leaves when the mesh is stopped, or when the router is gone, however it went.
"""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import spawn

#: One that dies at once is not started again and again: after so many deaths the mesh has none.
RESTARTS_MAX = 15

#: It has so long to leave in order before it is ended.
LEAVE_S = 10.0


class Home:
    """The home worker of the router that this process is, in `folder`; `options` are those of
    `processes/worker.py`. `say` takes a line if it cannot be had."""

    def __init__(
        self, folder: Path, options: dict[str, Any], log: Path, say: Callable[[str], None]
    ) -> None:
        self._options = options | {"folder": str(folder), "slots": 0, "home": True}
        self._log, self._say = log, say
        self._lock = threading.Lock()
        self._closing = False
        self._child: subprocess.Popen[bytes] | None = None
        self._pipe: int | None = None
        self._thread: threading.Thread | None = None

    def start(self, access: dict[str, Any]) -> None:
        """Start it, in the background: it joins the mesh of `access`."""
        line = json.dumps(access).encode() + b"\n"
        self._thread = threading.Thread(target=self._run, args=[line], name="mesh-home")
        self._thread.start()

    def _run(self, line: bytes) -> None:
        """Start it whenever it dies, within reason."""
        for _ in range(RESTARTS_MAX):
            child = self._spawn(line)
            if child is None or child.wait() == 0 or self._closing:
                return
        self._say(
            f"the home worker died {RESTARTS_MAX} times, and is not started again: the mesh takes "
            f"nothing that is put; see {self._log}"
        )

    def _spawn(self, line: bytes) -> subprocess.Popen[bytes] | None:
        ready, tell = os.pipe()
        life, pipe = os.pipe()
        os.set_inheritable(tell, True)
        with self._lock:
            if self._closing:
                for each in (ready, tell, life, pipe):
                    os.close(each)
                return None
            child = spawn.service(
                "worker", self._options | {"ready": tell}, self._log, [life, tell]
            )
            if self._pipe is not None:
                os.close(self._pipe)
            self._child, self._pipe = child, pipe
            os.close(life)
            os.close(tell)
        with open(ready, "rb") as answer:
            said = json.loads(answer.readline() or b"{}")
        if "error" in said:
            self._say(f"the mesh has no home worker: {said['error']['message']}")
            return None
        with self._lock:
            if self._pipe == pipe:
                try:
                    os.write(pipe, line)
                except BrokenPipeError:
                    pass  # it has died: that is seen next
        return child

    def close(self) -> None:
        """End it, if it is still there."""
        with self._lock:
            self._closing = True
            child, pipe, self._pipe = self._child, self._pipe, None
            if pipe is not None:
                os.close(pipe)
        if child is not None:
            try:
                child.wait(LEAVE_S)
            except subprocess.TimeoutExpired:
                child.kill()
        if self._thread is not None:
            self._thread.join()
