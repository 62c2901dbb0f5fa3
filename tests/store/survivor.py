"""A process that opens what a power cut has left, and says what is there. It may cost it its life.

    python survivor.py BOOT SEED INSPECTED     then a line FOLDER STEPS for each cut, and its answer

The answer is JSON: `records` is their digest, or the StoreError; `said`, what was said of the
results; `fetched`, of each step whether its large result came or is lost. Wrong bytes end it.
INSPECTED "itself": it inspects stores without a child of its own.
"""

from __future__ import annotations

import importlib
import json
import socket
import sys
import threading
from pathlib import Path
from typing import Any

import keeper
import zmq

from mesh.client.fetch import Fetcher, Place
from mesh.core.keeping import Keeping
from mesh.errors import ResultLost, StoreError
from mesh.processes.serve import Server
from mesh.store import inspection, seal
from mesh.store.opening import open_results
from mesh.store.records import open_records
from mesh.transport.keys import CLIENT, Pair

CONTEXT: zmq.Context = zmq.Context()

#: Opens the door of what serves.
OWN = Pair.new()


def in_this_process(data: Path, kind: str) -> str | None:
    """As `inspection.damage`, but without a child: this process is one itself."""
    if not data.stat().st_size:
        return "it is empty"
    try:
        importlib.import_module(f"mesh.store.{kind}").inspect(data)
    except Exception as error:
        return repr(error)
    return None


def of_records(home: Path) -> str:
    home.mkdir(parents=True, exist_ok=True)
    try:
        records = open_records(home, keeper.ENTROPY, keeper.MESH, "disk")
    except StoreError as error:
        return str(error)
    found = keeper.digest(records.tables)
    records.restore()
    for _, turn in zip(range(3), keeper.writes(0)):
        records.apply(turn)  # it can be written to as well
    records.close()
    return found


def of_results(root: Path, seed: int, steps: int) -> tuple[list[str], list[bool]]:
    root.parent.mkdir(parents=True, exist_ok=True)
    said: list[str] = []
    results, lock = open_results(root, keeper.STORE, "disk", said.append)
    server = Server(CONTEXT, root / "s", "tcp://127.0.0.1:0", results, Keeping())
    server.let_in({OWN.public: CLIENT})
    ended = threading.Event()
    thread = threading.Thread(target=serve, args=[server, ended], daemon=True)
    thread.start()
    here, elsewhere = (
        Fetcher(
            lambda store, timeout, host=host: Place(server.address, host, str(results.content)),
            own=OWN,
        )
        for host in (socket.gethostname(), "elsewhere")
    )
    fetched = []
    for step in range(2, steps):  # from its file, and from its holder
        fetched.append(came(here, seed, step))
        if came(elsewhere, seed, step) != fetched[-1]:
            raise AssertionError(f"one got the result of step {step}, the other did not")
    ended.set()
    thread.join()
    for each in (here, elsewhere, server, results):
        each.close()
    lock.release()
    return said, fetched


def serve(server: Server, ended: threading.Event) -> None:
    while not ended.is_set():
        for each in server.sockets:
            each.poll(10)
        server.take()
        while server.serve():
            pass


def came(fetcher: Fetcher, seed: int, step: int) -> bool:
    """Whether a large result is there; else it is lost by name."""
    try:
        got = fetcher.fetch(keeper.ref(seed, step), 20)
    except ResultLost:
        return False
    if got != keeper.result(seed, step):
        raise AssertionError(f"step {step} has wrong bytes")
    return True


def main() -> None:
    seal._BOOT, seed = Path(sys.argv[1]), int(sys.argv[2])
    if sys.argv[3] == "itself":
        inspection.damage = in_this_process
    for line in sys.stdin:
        folder, steps = line.split()
        answer: dict[str, Any] = {"records": of_records(Path(folder) / "router")}
        answer["said"], answer["fetched"] = of_results(Path(folder) / "worker", seed, int(steps))
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
