"""A client of a chaos run: a script that submits, asks, cancels, and writes down what it is told.

It works until its standard input ends, then waits for all it has submitted. As an *auditor* it
asks, by id, for every task that anybody has submitted to its mesh.
"""

from __future__ import annotations

import argparse
import faulthandler
import random
import select
import sys
import time
from collections.abc import Sequence
from concurrent.futures import CancelledError
from concurrent.futures import TimeoutError as FutureTimeout
from pathlib import Path
from typing import Any

from mesh import (
    Future,
    Mesh,
    MeshError,
    ResultLost,
    ResultUnreachable,
    RouterUnreachable,
    StoreError,
    TaskNotFound,
)

from . import calls
from .faults import HEARTBEAT_S, LOST_AFTER_S
from .history import History, read
from .lately import Lately
from .load import steps
from .step import Call, Step

#: No more than this many tasks of a client are open: more would only queue.
OPEN_MAX = 150

#: Of so many futures whose results stay with workers a client looks at the value some time after.
PUT_OFF = 40

#: A task that has not ended by then is said to be open: longer than any may take in the queue.
END_S = 60.0

#: An answer about a task that has ended is there within this, or its holder is away.
RESULT_S = 15.0

#: The auditor's patience with one result: all holders are there.
AUDIT_S = 40.0

#: An auditor has so many tasks looked up before it waits for the first.
AUDIT_TASKS = 200

#: The exit code of a client that was told that its mesh was stopped.
STOPPED = 75

#: All that a script had started is gone so soon after it was killed.
GONE_S = 5.0

SLOTS = 2


class Stopped(Exception):
    """The mesh was stopped in order: this client has nothing more to ask."""


class Client:
    """One life of a client. `name` is its name and its life."""

    def __init__(self, name: str, mesh_name: str, mesh: Mesh, history: History, traces: Path):
        self.name = name
        self.mesh_name = mesh_name
        self.mesh = mesh
        self.history = history
        self.traces = traces
        self.open: list[tuple[str, Future]] = []
        self.put_off: list[tuple[str, Future]] = []  # done, and not looked at
        self.ended: list[tuple[str, str]] = []  # key and id of what was seen
        self.chance = random.Random(name)
        self.lately = Lately(mesh, history.path, name, mesh_name)
        self.to_cancel: list[tuple[Call, Future]] = []

    # -- the load ----------------------------------------------------------------------------

    def work(self, seed: int) -> None:
        """Until standard input ends."""
        self.chance.seed(f"{seed} {self.name}")
        for step in steps(seed, self.mesh_name, self.name):
            futures = self.submit(step)
            if step.flush:
                self.flush()
            pairs = zip(step.calls, futures)  # none, if submitting failed
            self.to_cancel += [pair for pair in pairs if pair[0].cancel is not None]
            if step.more:
                continue
            if select.select([sys.stdin], [], [], step.pause_s)[0]:
                break
            while self.to_cancel:
                self.cancel(*self.to_cancel.pop())
            self.take(all_of_them=False)
            if step.ask_again and self.ended:
                key, id = self.chance.choice(self.ended)
                self.ask(key, id)
        self.flush()
        self.take(all_of_them=True)

    def submit(self, step: Step) -> list[Future]:
        """Submit the calls of a step."""
        with self.told("submit"):
            taken = [self.lately.taken(call) for call in step.calls]
            said = {c.key: _said(c, keys) for c, (_, keys) in zip(step.calls, taken, strict=True)}
            self.history("submitting", client=self.name, mesh=self.mesh_name, calls=said)
            rows = [self.arguments(c, it) for c, (it, _) in zip(step.calls, taken, strict=True)]
            futures = self.made(step, rows)
            ids = {c.key: f.id for c, f in zip(step.calls, futures, strict=True)}
            about = {"recorded": True} if step.calls[0].function == "put" else {}
            self.history("submitted", client=self.name, mesh=self.mesh_name, ids=ids, **about)
            self.open += [(c.key, f) for c, f in zip(step.calls, futures, strict=True)]
            self.lately.add(step.calls, futures)
            return list(futures)
        return []

    def made(self, step: Step, rows: list[list[Any]]) -> Sequence[Future]:
        """What comes of the calls of a step with these arguments."""
        first = step.calls[0]
        if first.function == "put":
            return [self.mesh.put(calls.content(*first.arguments))]
        function = getattr(calls, first.function)
        options = {k: v for k, v in first.options.items() if k != "id"}
        view = self.mesh.options(**options) if options else self.mesh
        if len(step.calls) == 1:
            alias = first.options.get("id")
            view = view if alias is None else view.options(id=alias)
            return [view.submit(function, *rows[0])]
        names = [call.options["id"] for call in step.calls if "id" in call.options]
        columns = zip(*rows, strict=True)
        return view.submit_many(function, *map(list, columns), ids=names or None)

    def arguments(self, call: Call, things: list[Any]) -> list[Any]:
        trace = str(self.traces / call.key.replace("/", "-"))
        rest = [trace if each == "TRACE" else each for each in call.arguments]
        return [str(self.history.path), call.key, *rest, *([things] if call.takes else [])]

    def flush(self) -> None:
        with self.told("flush"):
            self.mesh.flush()
            self.history("flushed", client=self.name)

    def cancel(self, call: Call, future: Future) -> None:
        running = call.cancel == "running"
        about = {"client": self.name, "key": call.key, "running": running}
        with self.told("cancel"):
            id = future.id
            self.history("cancelling", **about)
            verdict = bool(self.mesh.cancel(id)) if running else future.cancel()
            self.history("cancelled", **about, verdict=verdict)

    # -- what became of it -------------------------------------------------------------------

    def take(self, *, all_of_them: bool) -> None:
        """Write down what has ended; wait for the oldest if too many have not, or for all."""
        while self.open:
            waiting = all_of_them or len(self.open) > OPEN_MAX
            first, oldest = self.open[0]
            if waiting:
                with self.told("wait"):
                    oldest.wait(END_S)
            done = [(key, future) for key, future in self.open if future.done()]
            left = [(key, future) for key, future in self.open if not future.done()]
            for key, future in done:
                if self.lately.is_stored(key):
                    self.put_off.append((key, future))
                else:
                    self.look(key, future)
            if waiting and not done:
                self.history("hung", who=f"{self.name}, waiting for {oldest.id} ({first})")
                raise SystemExit(1)
            self.open = left
            if not waiting:
                break
        self.chance.shuffle(self.put_off)
        while len(self.put_off) > (0 if all_of_them else PUT_OFF):
            self.look(*self.put_off.pop())

    def look(self, key: str, future: Future) -> None:
        """Write down how a task ended that has."""
        if self.see(key, future, RESULT_S, live=True):
            self.ended.append((key, future.id))

    def see(self, key: str, future: Future, timeout_s: float, *, live: bool = False) -> bool:
        """Write down how a task ended; False if its value cannot be had at present. `live`: its
        future is that which submitting gave."""
        about = {"client": self.name, "key": key, "id": future.id}
        try:
            value = future.result(timeout_s)
        except CancelledError:
            self.history("seen", **about, state="cancelled")
        except (ResultUnreachable, FutureTimeout) as error:
            self.history("unreachable", **about, text=str(error))
            return False
        except TaskNotFound as error:
            self.history("seen", **about, state="unknown", text=str(error))
        except ResultLost as error:
            self.history("seen", **about, state="lost", text=str(error), live=live)
        except Exception as error:
            if future.state is None or isinstance(error, RouterUnreachable):  # it is not the task's
                with self.told("result"):
                    raise
                return False
            name, text = type(error).__name__, str(error)[:400]
            self.history("seen", **about, state="failed", error=name, text=text)
        else:
            self.history("seen", **about, state="done", value=calls.fingerprint(value))
        return True

    def ask(self, key: str, id: str) -> None:
        """Ask once more for what has ended."""
        with self.told("ask again"):
            future = self.mesh.future(id)
            if future.wait(END_S):
                self.see(key, future, RESULT_S)

    def told(self, what: str) -> _Told:
        return _Told(self, what)

    # -- the auditor -------------------------------------------------------------------------

    def audit(self) -> None:
        """Ask for every task of this mesh by its id."""
        keys: dict[str, str] = {}
        for event in read(self.history.path):
            if event["event"] == "submitted" and event["mesh"] == self.mesh_name:
                keys |= {id: key for key, id in event["ids"].items()}
        todo = list(keys)
        while todo:
            page, todo = todo[:AUDIT_TASKS], todo[AUDIT_TASKS:]
            for id, future in [(id, self.future(keys[id], id)) for id in page]:
                if future is None:
                    continue
                with self.told("audit"):
                    if not future.wait(END_S):
                        self.history("seen", client=self.name, key=keys[id], id=id, state="open")
                    elif not self.see(keys[id], future, AUDIT_S):
                        about = {"client": self.name, "key": keys[id], "id": id}
                        self.history("seen", **about, state="lost", text="nobody answers for it")

    def future(self, key: str, id: str) -> Future | None:
        try:
            return self.mesh.future(id)
        except TaskNotFound as error:
            about = {"client": self.name, "key": key, "id": id}
            self.history("seen", **about, state="unknown", text=str(error))
        except MeshError as error:
            self.history("trouble", client=self.name, what="audit", **_named(error))
        return None


class _Told:
    """Around what a client does with its mesh: an error that is no task's is written down, the
    end of the mesh is told as `Stopped`."""

    def __init__(self, client: Client, what: str) -> None:
        self._client = client
        self._what = what

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if error is None or not isinstance(error, Exception) or isinstance(error, Stopped):
            return False
        if isinstance(error, RouterUnreachable) and "was stopped" in str(error):
            raise Stopped from error
        client = self._client
        client.history("trouble", client=client.name, what=self._what, **_named(error))
        return True


def _said(call: Call, takes: list[str]) -> dict[str, Any]:
    """What the history says of a call that takes what others give."""
    said: dict[str, Any] = {"value": call.value, "error": call.error}
    said["retries"] = call.options.get("retries", 0)
    if call.function == "put":
        said["put"] = True
    if not call.options.get("rerun", True):
        said["rerun"] = False
    if call.function == "combine":
        said |= {"size": call.arguments[0], "data": call.data, "takes": takes}
    return said


def _named(error: BaseException) -> dict[str, str]:
    return {"error": type(error).__name__, "text": str(error)[:400]}


def options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.chaos.client")
    parser.add_argument("--name", required=True, help="of this client, with its life")
    parser.add_argument("--mesh", required=True, help="the harness's name of the mesh")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--history", type=Path, required=True)
    parser.add_argument("--traces", type=Path, required=True)
    parser.add_argument("--access", help="joins this mesh")
    parser.add_argument("--dir", help="owns a mesh in this folder")
    parser.add_argument("--audit", action="store_true", help="asks for everybody's tasks")
    return parser


def owned(folder: str) -> Mesh:
    """A mesh of our own in `folder`. That of a client which was killed is gone within GONE_S."""
    settings = {"heartbeat_s": HEARTBEAT_S, "lost_after_s": LOST_AFTER_S}
    until = time.monotonic() + GONE_S
    while True:
        try:
            return Mesh(dir=folder, slots=SLOTS, settings=settings)
        except StoreError as error:
            if "is in use by process" not in str(error) or time.monotonic() > until:
                raise
            time.sleep(0.2)


def main() -> int:
    """``python -m bench.chaos.client …``."""
    faulthandler.enable()  # who hangs is ended by SIGABRT, and says where
    chosen = options().parse_args()
    history = History(chosen.history)
    try:
        mesh = Mesh(access=chosen.access) if chosen.access is not None else owned(chosen.dir)
    except MeshError as error:
        history("refused", client=chosen.name, **_named(error))
        print(f"cannot open its mesh: {error}", file=sys.stderr)
        return STOPPED
    client = Client(chosen.name, chosen.mesh, mesh, history, chosen.traces)
    try:
        if chosen.audit:
            client.audit()
        else:
            client.work(chosen.seed)
    except Stopped:
        print("was told that the mesh was stopped", file=sys.stderr)
        mesh.shutdown()
        return STOPPED
    mesh.shutdown()
    history("finished", client=chosen.name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
