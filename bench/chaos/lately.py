"""What was submitted lately: the futures that further calls of a client take.

Of its own it has them in hand; those of others it finds in the history, and asks for by id.
"""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mesh import Future, Mesh, TaskNotFound

from .step import Call, Take

#: A client takes what it submitted itself within so many calls.
KEPT = 2_000

#: And of what stays with workers.
STORED_KEPT = 300

#: Others' tasks are looked for in so much of the history, from its end on.
LATELY_BYTES = 200_000


class Lately:
    """Of the client `name` of `mesh`, which the harness calls `mesh_name`."""

    def __init__(self, mesh: Mesh, history: Path, name: str, mesh_name: str) -> None:
        self._mesh = mesh
        self._history = history
        self._name = name
        self._mesh_name = mesh_name
        self._futures: dict[str, Future] = {}
        self._stored: deque[tuple[str, Future]] = deque(maxlen=STORED_KEPT)
        self._groups: dict[str, tuple[Sequence[Future], list[str]]] = {}

    def add(self, calls: list[Call], futures: Sequence[Future]) -> None:
        """These were submitted."""
        keys = [call.key for call in calls]
        pairs = zip(calls, futures, strict=True)
        self._stored += [(call.key, future) for call, future in pairs if call.is_stored]
        self._futures |= zip(keys, futures, strict=True)
        self._groups[keys[0]] = (futures, keys)
        for known in (self._futures, self._groups):
            while len(known) > KEPT:
                del known[next(iter(known))]  # type: ignore[arg-type]  # of its own keys

    def is_stored(self, key: str) -> bool:
        """Whether the result of a call stays with a worker, and is one of the last of those."""
        return any(key == each for each, _ in self._stored)

    def taken(self, call: Call) -> tuple[list[Any], list[str]]:
        """What a call takes, as arguments, and the keys of that, one after the other."""
        things: list[Any] = []
        keys: list[str] = []
        for number, take in enumerate(call.takes):
            thing, more = self._one(take)
            things += [(thing, [thing], {"in": thing})[number % 3]] if more else []
            keys += more
        return things, keys

    def _one(self, take: Take) -> tuple[Any, list[str]]:
        if take.how == "group":
            return self._groups[take.key]
        if take.how == "future":
            return self._futures[take.key], [take.key]
        if take.how == "stored":
            if not self._stored:
                return None, []
            key, future = self._stored[take.number % len(self._stored)]
            return future, [key]
        others = self._others()
        if not others:
            return None, []
        key, id = others[take.number % len(others)]
        try:
            return self._mesh.future(id), [key]
        except TaskNotFound:  # whether it may be unknown others ask
            return None, []

    def _others(self) -> list[tuple[str, str]]:
        """Key and id of what others submitted to this mesh."""
        with open(self._history, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - LATELY_BYTES))
            file.readline()
            found = []
            for line in file:
                if line.startswith(b'{"event": "submitted"'):
                    event = json.loads(line)
                    if event["mesh"] == self._mesh_name and event["client"] != self._name:
                        found += list(event["ids"].items())
        return found
