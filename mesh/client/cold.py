"""Cold: a mesh's folder on which no mesh runs, asked as a mesh is, and never changed.

What a router that began here would answer is known by having one begin, in memory: its core, over
records that are only read, without workers, time or messages. Results are the files of the stores
that are found below the folder, among this user's workers on this host, and where the user says.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from .. import errors
from ..core.events import Found, Settings
from ..core.ledger import RECORD
from ..core.peers import Peer
from ..core.router import RouterCore
from ..errors import MeshError, ResultUnreachable
from ..options import show_size
from ..protocol import messages as m
from ..protocol.outcome import Ref
from ..store import story
from ..store.cold import ColdRecords, ColdStores
from ..store.folder import default_root
from ..task import show, unkey
from ..transport.access import Access
from .asking import Asking
from .future import Future
from .group import Group
from .kept import Kept
from .listening import Pieces
from .source import ANSWER_S, Source
from .waiting import Waiting

#: Members of a group that the records are asked for at a time.
PAGE_TASKS = 4096

#: The one who asks.
_ASKER = "\0" * 8

#: What is answered here without a mesh; the rest are orders, or about workers.
QUESTIONS = {
    *("status", "tasks", "resolve", "group", "roll", "function", "explain", "count", "newest"),
}


class Cold(Asking):
    """What a mesh's folder tells while no mesh runs on it.

    Args:
        folder: that of ``mesh up --dir`` or ``Mesh(dir=)``.
        stores: further folders in which stores of results are looked for.

    Raises:
        InUse: a mesh is there after all.
        StoreError: its records are damaged, or cannot be read.
    """

    def __init__(self, folder: Path, stores: Sequence[Path] = ()) -> None:
        self._connection = self._cold = ColdConnection(folder, stores)
        self._why = f"in {folder}"

    def _check_open(self) -> None:
        """It is open until it is closed."""

    def __enter__(self) -> Cold:
        return self

    def __exit__(self, *_: object) -> None:
        self._cold.close()


class ColdConnection(Source):
    """The records and stores of `folder`, in place of a router. See `Cold`."""

    def __init__(self, folder: Path, stores: Sequence[Path]) -> None:
        self._folder = folder
        self._cold = ColdRecords(folder / "router")
        self._records = self._cold.records
        try:
            restored = self._records.read()
        except BaseException:
            self._cold.close()
            raise
        self._stores = ColdStores([folder, *stores, default_root() / restored.mesh])
        self._core = RouterCore(restored, Settings(), 0.0)
        self._asker = Peer(_ASKER.encode(), "client", _ASKER, b"", 0.0)
        self._core.peers.add(self._asker)
        self.access = Access(restored.mesh, [], 0, str(folder), socket.gethostname())
        self.session = ""
        self.kept: Kept | None = None
        self.waiting = Waiting(self, self.session)

    def close(self) -> None:
        """Let a mesh begin here."""
        self._cold.close()

    # -- questions ---------------------------------------------------------------------------

    def ask(self, what: str, about: dict[str, Any], timeout: float | None = ANSWER_S) -> Any:
        """See `Source.ask`."""
        if what not in QUESTIONS:
            raise self._no_mesh()
        answer = self._answer(what, about)
        if what == "status":
            return self._status(answer)
        if what == "explain" and answer is not None:
            self._explain(answer)
        return answer

    def _answer(self, what: str, about: dict[str, Any]) -> Any:
        core = self._core
        core.desk.take_ask(self._asker, m.Ask(1, what, about), 0.0)
        while True:
            turn = core.settle(0.0)
            for _, envelope in turn.sends:
                if type(envelope.message) is m.Tell:
                    told = envelope.message
                    if told.error is not None:
                        raise errors.BY_NAME.get(told.error, MeshError)(str(told.value))
                    return told.value
            if not turn.lookups:
                raise MeshError(f"no answer to {what!r}")
            for token, asked, which in turn.lookups:
                if asked != "makers":  # nothing is made again here
                    core.handle(Found(token, self._records.look_up(asked, which)), 0.0)

    def _status(self, told: dict[str, Any]) -> dict[str, Any]:
        nothing = dict.fromkeys(("pid", "address", "uptime_s", "memory_bytes"))
        router = told["router"] | nothing
        rest = {"is_running": False, "folder": str(self._folder), "stores": self._stores.told()}
        return {**told, "router": router, "settings": None, "fetches": None, **rest}

    def _explain(self, told: dict[str, Any]) -> None:
        """Nothing runs here, and what a task waits for is a mesh first of all."""
        if told.get("waits_for") and "missing" not in told:
            told["waits_for"] = f"a mesh: none runs here. Start one with {self._up}"
        result = told.get("result")
        if result is not None:
            del result["fetched"]  # nobody has counted
        if result is not None and result["store"] is not None:
            result["is_away"] = result["store"] not in self._stores.of

    @property
    def _up(self) -> str:
        return f"`mesh up --dir {self._folder}`"

    def _no_mesh(self) -> MeshError:
        return MeshError(f"no mesh runs in {self._folder}: start one with {self._up}")

    # -- tasks -------------------------------------------------------------------------------

    def watch_task(self, session: str, counter: int) -> Future:
        """See `Source.watch_task`: settled, if the task has ended."""
        future = self.waiting.join(session, counter)
        self._tell(session, counter, 1)
        return future

    def watch_group(self, group: Group) -> None:
        """See `Source.watch_group`."""
        self.waiting.join_group(group)
        for session, first, count in group.open_spans():
            for at in range(first, first + count, PAGE_TASKS):
                self._tell(session, at, min(PAGE_TASKS, first + count - at))

    def _tell(self, session: str, first: int, count: int) -> None:
        for _, counter, record, older in self._records.look_up(
            "outcomes", [(session, first, count)]
        ):
            whose, own = session, counter
            if older is not None:
                whose, own, record = older
                self.waiting.is_older(session, counter, whose, own, record is not None)
            if record is not None:
                self.waiting.news(whose, [own], record[:1], [record[RECORD.size :]])

    def fetch(self, ref: Ref, timeout: float | None = None, into: Any = bytearray) -> Any:
        """See `Source.fetch`: the file itself, if it is to be seen from here and whole.

        Raises:
            ResultUnreachable: it is not; where it should be.
        """
        found = self._stores.find(ref)
        if found is not None:
            return found
        task, size = show(*unkey(ref.task)), show_size(ref.size)
        root = self._stores.of.get(ref.holder)
        if root is not None:
            raise errors.ResultLost(
                f"the result of {task} ({size}) is lost: {root} does not have it, or not whole. "
                f"Submit the task again"
            )
        with self._records.tables.begin() as txn:
            host, folder = story.place_of(txn, ref.holder)
        where = f"on host {host or '?'}" + (f" in {os.path.dirname(folder)}" if folder else "")
        raise ResultUnreachable(
            f"the result of {task} ({size}) is in store {ref.holder}, {where}, which is not to be "
            f"seen from here: name a folder where it is with --store, or start {self._up} and that "
            f"worker"
        )

    # -- what takes a mesh -------------------------------------------------------------------

    def cancel(
        self, spans: list[tuple[str, int, int]], *, running: bool, timeout: float = ANSWER_S
    ) -> dict[str, int]:
        """See `Source.cancel`: not here."""
        raise self._no_mesh()

    def flush(self, timeout: float | None) -> bool:
        """See `Source.flush`: nothing is submitted here."""
        return True

    def call(self, callback: Callable[[], None]) -> None:
        """See `Source.call`: at once."""
        callback()

    def follow(self, session: str, counter: int) -> AbstractContextManager[Pieces]:
        """See `Source.follow`: nothing runs here."""
        raise self._no_mesh()

    def check_process(self) -> None:
        """See `Source.check_process`: in a fork it is as good."""

    def is_recorded(self, counter: int) -> bool:
        """See `Source.is_recorded`: of nobody's."""
        return False

    @property
    def no_room(self) -> str | None:
        """See `Source.no_room`: nothing is to be recorded."""
        return None
