"""Asking: what can be asked of a mesh, and what is done by id: half of `Mesh`.

Everything here goes for the tasks of all scripts, of today and of last week.
"""

from __future__ import annotations

import concurrent.futures
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ..core.client import pages
from ..errors import TaskNotFound
from . import export, listing, named
from .future import Future
from .group import Group
from .named import Named
from .source import Source

if TYPE_CHECKING:
    from ..transport.keys import Pair

#: How long pruning may take: it goes through all that is old.
PRUNED_S = 600.0

#: Workers give up an address after four seconds, and the router those that say nothing after six.
DIALLED_S = 15.0


class Asking:
    """The part of `Mesh` that asks its router."""

    _connection: Source
    _why: str

    def _check_open(self) -> None:
        raise NotImplementedError

    def future(self, id: str) -> Future:
        """The future of any task of the mesh: by id, unique prefix, own id, or ``last``.

        Raises:
            TaskNotFound: there is none, several begin so, or it is a group.

        Example:
            >>> m.future("T=2.30").state
            'done'
        """
        kind, session, counter, _ = self._named(id)
        if kind != "task":
            raise TaskNotFound(f"{id!r} is a group: use group({id!r})")
        return self._connection.watch_task(session, counter)

    def group(self, id: str) -> Group:
        """Any group of the mesh: by id, unique prefix, name, of several that of the newest, or
        ``last``.

        Raises:
            TaskNotFound: there is none, several begin so, or it is a task.

        Example:
            >>> m.group("sweep").failures()
            <Failures 9,700 done, 300 failed: 300× ValueError sim.py:41 (e.g. k3f9x2m7.17)>
        """
        kind, session, counter, size = self._named(id)
        if kind != "group":
            raise TaskNotFound(f"{id!r} is a task: use future({id!r})")
        record = self._connection.ask("group", {"session": session, "first": counter})
        group = Group(self._connection, session, counter, size, record["name"])
        for run in record["foreign"]:
            group.older.add(*run)
        self._connection.watch_group(group)
        return group

    def result(self, id: str, timeout: float | None = None) -> Any:
        """The result of any task of the mesh, or the list of results of a group.

        Raises:
            TaskNotFound: there is no such task.
            TimeoutError: it is not there within `timeout` seconds.
            BaseException: see `Future.result`.

        Example:
            >>> m.result("T=2.30")
            0.901
        """
        if self._named(id).kind == "group":
            return self.group(id).results(timeout=timeout)
        return self.future(id).result(timeout)

    def cancel(self, id: str) -> int:
        """Cancel a task or a group, stopping what runs; how many tasks that ended.

        Raises:
            TaskNotFound: there is none.

        Example:
            >>> m.cancel("sweep")
            117
        """
        spans = self._named(id).spans(self._connection)
        return int(self._connection.cancel(spans, running=True)["cancelled"])

    def export(self, id: str, path: str, format: str | None = None) -> int:
        """Write a table of a group or a task to `path`, a row a task, and without having them in
        memory: see `Group.export`.

        Args:
            id: which.
            path: ``-`` is standard output.
            format: ``"csv"`` or ``"jsonl"``; default: what `path` ends in.

        Raises:
            TaskNotFound: there is none.
            ValueError: the format is neither.
            MeshError: the file cannot be written.

        Example:
            >>> m.export("sweep", "sweep.csv")
            200
        """
        return export.write(
            self._connection, self._named(id).members(self._connection), path, format
        )

    def unfinished(self, id: str) -> int:
        """How many tasks of a task or a group have not ended.

        Raises:
            TaskNotFound: there is none.
        """
        spans = self._named(id).spans(self._connection)
        return sum(self._connection.count(spans).values())

    def _named(self, id: str) -> Named:
        self._check_open()
        return named.find(self._connection, id, self._why)

    def status(self) -> dict[str, Any]:
        """The mesh's state as plain data: what ``mesh status --json`` prints. Times are in seconds
        (``_s``), sizes in bytes (``_bytes``).

        Example:
            >>> m.status()["tasks"]
            {'waiting': 0, 'queued': 96, 'running': 4, 'done': 100, 'failed': 0, ...}
        """
        self._check_open()
        return {"schema": 1, **self._connection.ask("status", {})}

    def tasks(
        self, states: Sequence[str] = (), limit: int | None = None, id: str | None = None
    ) -> Iterator[dict]:
        """Tasks, lazily, as dicts with ``id``, ``state``, ``name`` (the id of your own),
        ``function``, and ``result``: size and place of one that stays with a worker. A task that
        ends meanwhile may come twice.

        Args:
            states: such as ``["queued", "running"]``; default all.
            limit: no more than so many.
            id: of a group: its members alone, in their order.

        Raises:
            TaskNotFound: there is no such group or task.

        Example:
            >>> [row["id"] for row in m.tasks(["failed"], limit=2)]
            ['k3f9x2m7.17', 'k3f9x2m7.44']
        """
        self._check_open()
        if id is None:
            return listing.tasks(self._connection, states, limit)
        members = self._named(id).members(self._connection)
        return listing.members(self._connection, members, states, limit)

    def wait_for_slots(self, n: int, timeout: float | None = None) -> int:
        """Wait until at least `n` slots are ready; how many are.

        Raises:
            TimeoutError: that took longer than `timeout` seconds.

        Example:
            >>> m.wait_for_slots(64, timeout=600)
            96
        """
        self._check_open()
        try:
            return int(self._connection.ask("slots", {"count": n}, timeout))
        except ConnectionError:
            if timeout is None:
                raise
            raise concurrent.futures.TimeoutError(
                f"the mesh did not have {n} slots within {timeout:g} s"
            ) from None

    def forget(self, id: str) -> dict[str, int]:
        """Forget a task or a group now, with its results and output, and free its alias; what it
        takes on disks is free soon after.

        Returns:
            How many tasks were `forgotten`, and how many not: because they have not ended (`open`),
            or because one that has not takes their results (`needed`).

        Raises:
            TaskNotFound: there is none.

        Example:
            >>> m.forget("T=2.30")
            {'forgotten': 1, 'open': 0, 'needed': 0}
        """
        tally = {"forgotten": 0, "open": 0, "needed": 0}
        for page in pages(self._named(id).spans(self._connection)):
            for word, count in self._connection.ask("forget", {"spans": page}).items():
                tally[word] += count
        return tally

    def forget_workers(self, *ids: str) -> dict[str, str]:
        """Say that workers will not come back: what is recorded as being in their stores is lost at
        once, and is made again for who waits for it, rather than after `store_lost_after_s`.

        Args:
            ids: of their stores, as ``mesh workers`` shows them.

        Returns:
            Of each: ``forgotten``; ``live``, if it is connected, and was left alone; or
            ``unknown``.

        Raises:
            AccessDenied: this client is no admin.

        Example:
            >>> m.forget_workers("t8w4c6nh")
            {'t8w4c6nh': 'forgotten'}
        """
        self._check_open()
        told: dict[str, str] = self._connection.ask("forget workers", {"stores": list(ids)})
        return told

    def renew_keys(self) -> None:
        """Have the router go by the keys that are in its folder by now: see `mesh access renew`.

        Raises:
            AccessDenied: this client is no admin.
        """
        self._check_open()
        self._connection.ask("renew", {})

    def dial(self, addresses: Sequence[str], own: Pair) -> dict[str, list[Any]]:
        """Have workers try, one of each host, whether they get in at `addresses` with the key pair
        `own`: by worker, its host, and by address after how many seconds it did, or why it did not;
        None if it did not say."""
        self._check_open()
        about = {"addresses": list(addresses), "public": own.public, "secret": own.secret}
        told: dict[str, list[Any]] = self._connection.ask("dial", about, DIALLED_S)
        return told

    def prune(self, older_than: float | None = None, *, dry_run: bool = False) -> dict[str, int]:
        """Forget all tasks that ended long ago, as the mesh does by itself.

        Args:
            older_than: how long ago, in seconds during which the mesh was up; default its `ttl_s`.
            dry_run: forget nothing, and tell what that would be.

        Returns:
            How many `tasks` those were, the `stored_bytes` of their results, and how many as old
            were `kept`: their client has not heard of them yet, or another task takes their
            results.

        Raises:
            ValueError: `older_than` is no time.
            AccessDenied: this client is no admin.

        Example:
            >>> m.prune(7 * 86400, dry_run=True)
            {'tasks': 1200, 'stored_bytes': 3145728, 'kept': 0}
        """
        if older_than is not None and not 0 <= older_than < math.inf:
            raise ValueError(f"older_than must be 0 s or more, not {older_than!r}")
        self._check_open()
        about = {"older_s": older_than, "is_rehearsal": dry_run}
        told: dict[str, int] = self._connection.ask("prune", about, PRUNED_S)
        return told
