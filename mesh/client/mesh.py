"""Mesh: the whole of Mesh as a script sees it."""

from __future__ import annotations

import atexit
import concurrent.futures
import itertools
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any

from ..errors import MeshError, PayloadError, TaskNotFound
from ..launch.local import LocalMesh, Plan
from ..processes import SLOT_VARIABLE
from ..processes.spawn import cpus
from ..protocol import messages as m
from ..protocol import payload
from ..protocol.functions import Packed
from ..protocol.marks import mark
from ..protocol.messages import BLOCK_TASKS_MAX
from ..protocol.outcome import failure_body
from ..task import Kind, options_of, parse, sparse
from . import where
from .connection import Connection
from .future import Future
from .group import Group
from .outbox import MESSAGE_BYTES
from .pack import Packer
from .task import options_in

#: Without a router for this long, what waits for it fails.
ROUTER_TIMEOUT_S = 60.0

#: A router that is there answers HELLO within this.
WELCOME_S = 10.0

#: Tasks that `map` keeps on their way by default.
MAP_WINDOW = 8192


class Mesh(concurrent.futures.Executor):
    """A mesh: joined, or embedded in this script.

    Args:
        access: joins the mesh of this access file: a path, a folder, or a name that stands for
            ``~/.mesh/NAME.json``. Default: ``$MESH_ACCESS``; without it a mesh is embedded.
        slots: embeds a mesh with so many slots. Default: the CPUs this process may use.
        dir: embeds a mesh whose tasks and results stay in this folder. A mesh that is alive there
            is joined instead.
        name: the same with the default folder of that name, ``/var/tmp/mesh-UID/NAME``.
        router_timeout: seconds without a router after which what waits for it fails.
        settings: for an embedded mesh, fields of `mesh.core.events.Settings`.
        max_workers: what other executors call `slots`.

    Raises:
        ValueError: `access` together with `slots`, `dir` or `name`.
        RouterUnreachable: no mesh answers there.
        AccessDenied: the access file cannot be used.
        StoreError: the folder cannot be used.
        RuntimeError: inside a task.

    Example:
        >>> with Mesh(name="ising") as m:
        ...     g = m.submit_many(simulate, Ts, ids=[f"T={t:.2f}" for t in Ts])
        ...     rows = g.results()
    """

    def __init__(
        self,
        access: str | os.PathLike[str] | None = None,
        *,
        slots: int | None = None,
        dir: str | os.PathLike[str] | None = None,
        name: str | None = None,
        router_timeout: float = ROUTER_TIMEOUT_S,
        settings: dict[str, Any] | None = None,
        max_workers: int | None = None,
    ) -> None:
        self._closed = True  # until it is open: __del__ may come first
        if SLOT_VARIABLE in os.environ:
            raise RuntimeError(
                "a task cannot open a mesh of its own: return the values, and submit what follows "
                "from the script"
            )
        if max_workers is not None:
            slots = max_workers if slots is None else slots
        if slots is not None and (isinstance(slots, bool) or slots < 0):
            raise ValueError(f"slots must be 0 or more, not {slots!r}")
        place = where.find(access, dir, name, slots)
        self._pid = os.getpid()
        self._why = place.why
        self._local: LocalMesh | None = None
        self._detached = False
        self._options: dict[str, Any] = {}
        if place.access is None:
            plan = Plan(
                place.folder,
                cpus() if slots is None else slots,
                sync=not place.temporary,
                temporary=place.temporary,
                settings=settings or {},
            )
            self._local = LocalMesh(plan, _warn)
            place_access = self._local.access
        else:
            place_access = place.access
        self.folder = place.folder
        self._connection = Connection(place_access, router_timeout, _warn)
        self._packer = Packer()
        self._lock = threading.Lock()
        self._closed = False
        try:
            self._connection.welcomed.result(WELCOME_S)
        except BaseException as error:
            self._abandon()
            if isinstance(error, concurrent.futures.TimeoutError):
                from ..errors import RouterUnreachable

                raise RouterUnreachable(
                    f"no router answers at {place_access.addresses[0]} ({self._why}): is it "
                    f"running? Start one with `mesh up`"
                ) from None
            raise
        atexit.register(self._at_exit)

    def __repr__(self) -> str:
        state = "closed" if self._closed else "embedded" if self._local is not None else "joined"
        return f"<Mesh {self._connection.access.mesh}, {state}: {self._why}, {self.folder}>"

    # -- submitting --------------------------------------------------------------------------

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future:
        """Have `fn(*args, **kwargs)` run.

        Waits only while more than a window of bytes is on its way to the mesh.

        Raises:
            PayloadError: the function or an argument cannot be pickled; it is named.
            TypeError: `fn` cannot be called.
            RuntimeError: the mesh was closed, or this process is a fork of the one that opened it.

        Example:
            >>> m.submit(pow, 2, 10).result()
            1024
        """
        return self._submit({}, fn, args, kwargs)

    def _submit(
        self,
        options: dict[str, Any],
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Future:
        self._check_open()
        packed = self._packer.pack(fn)
        given = options_in(fn)
        alias = None
        if given or self._options or options:
            options = {**self._options, **given, **options}
            alias = options.pop("id", None)
            options = sparse(options)
        arguments = payload.dump_arguments(args, kwargs)
        made: list[Future] = []
        connection = self._connection
        connection.outbox.add(
            packed,
            options,
            arguments,
            alias,
            None if alias is None else mark(args, kwargs),
            lambda counter: made.append(connection.register(counter)),
        )
        return made[0]

    def submit_many(
        self,
        fn: Callable[..., Any],
        /,
        *iterables: Iterable[Any],
        kwargs: Iterable[dict[str, Any]] | None = None,
        ids: Iterable[str] | None = None,
        name: str | None = None,
    ) -> Group:
        """Have `fn` run once for each row of `iterables`, as one group.

        Args:
            fn: the function.
            iterables: as for `map`: one for each argument; the shortest decides.
            kwargs: keyword arguments, a dict for each call.
            ids: an id of your own for each call. The same id with the same call is found, not run
                again, as long as the mesh's folder lives; with another call it is refused.
            name: of the group, for people.

        Raises:
            ValueError: `ids` repeat, or are more or fewer than the calls.
            TypeError: an id is no string.
            PayloadError: the function cannot be pickled. An argument that cannot fails its own
                member alone.

        Example:
            >>> m.submit_many(pow, [2, 3], [10, 2], ids=["two", "three"]).results()
            [1024, 9]
        """
        return self._submit_many({}, fn, iterables, kwargs, ids, name)

    def _submit_many(
        self,
        options: dict[str, Any],
        fn: Callable[..., Any],
        iterables: Sequence[Iterable[Any]],
        kwargs: Iterable[dict[str, Any]] | None,
        ids: Iterable[str] | None,
        name: str | None,
    ) -> Group:
        self._check_open()
        if not iterables and kwargs is None:
            raise TypeError("submit_many() takes at least one iterable of arguments, or kwargs=")
        packed = self._packer.pack(fn)
        options = {**self._options, **options_in(fn), **options}
        if "id" in options:
            raise TypeError("a group takes ids=, one for each member, not id=")
        options = sparse(options)
        rows, size = _sized(iterables, kwargs)
        aliases = None if ids is None else _checked_ids(ids, size)
        connection = self._connection
        group = Group(
            connection, connection.session, connection.outbox.reserve(size + 1), size, name
        )
        record: m.Group | None = m.Group(group.first - 1, size, name)
        if size:
            connection.add_group(group)
        for index, count, payloads, marks, broken in _encoded(rows, aliases is not None):
            for i, error in broken:
                counter = group.first + index + i
                body = failure_body(PayloadError.__name__, str(error))
                connection.take(group, [counter], [Kind.REFUSED], [body])
            for low, high in _whole_runs(count, [i for i, _ in broken]):
                block = m.Block(
                    group.first + index + low,
                    packed.digest,
                    options,
                    group.first - 1,
                    index + low,
                    payloads[low:high],
                    None if aliases is None else aliases[index + low : index + high],
                    None if aliases is None else marks[low:high],
                )
                connection.outbox.add_block(packed, block, record)
                record = None
        return group

    def map(
        self,
        fn: Callable[..., Any],
        /,
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Iterator[Any]:
        """`fn` of each row of `iterables`, in order, lazily: a bounded number is on its way.

        The first window is submitted at the call, the rest as results are taken.

        Args:
            timeout: seconds from the call until the last result.
            chunksize: accepted as other executors do; tasks travel together by themselves.
            buffersize: how many tasks may be on their way; default 8192.

        Raises:
            TimeoutError: as `timeout` says.
            ValueError: `chunksize` or `buffersize` below 1.

        Example:
            >>> list(m.map(pow, range(3), [2] * 3))
            [0, 1, 4]
        """
        return self._map({}, fn, iterables, timeout, chunksize, buffersize)

    def _map(
        self,
        options: dict[str, Any],
        fn: Callable[..., Any],
        iterables: Sequence[Iterable[Any]],
        timeout: float | None,
        chunksize: int,
        buffersize: int | None,
    ) -> Iterator[Any]:
        self._check_open()
        if chunksize < 1:
            raise ValueError(f"chunksize must be 1 or more, not {chunksize}")
        if buffersize is not None and buffersize < 1:
            raise ValueError(f"buffersize must be 1 or more, not {buffersize}")
        window = buffersize or MAP_WINDOW
        segment = max(1, min(BLOCK_TASKS_MAX, window // 4))
        rows = zip(*iterables, strict=False)
        deadline = None if timeout is None else time.monotonic() + timeout
        packed = self._packer.pack(fn)
        options = sparse({**self._options, **options_in(fn), **options})
        groups: deque[Group] = deque()

        def submit_next() -> bool:
            part = [(row, {}) for row in itertools.islice(rows, segment)]
            if part:
                groups.append(self._submit_segment(packed, options, part))
            return bool(part)

        while len(groups) * segment < window and submit_next():
            pass

        def results() -> Iterator[Any]:
            try:
                while groups:
                    for index in range(len(groups[0])):
                        rest = None if deadline is None else max(0.0, deadline - time.monotonic())
                        yield groups[0].value_in_time(index, rest)
                    groups.popleft()
                    submit_next()
            finally:
                for group in groups:
                    if not group.ended:
                        group.cancel()

        return results()

    def _submit_segment(
        self, packed: Packed, options: dict[str, Any], rows: list[tuple[Any, dict[str, Any]]]
    ) -> Group:
        """Tasks that are nobody's group: of `map`."""
        connection = self._connection
        counter = connection.outbox.reserve(len(rows) + 1)
        group = Group(connection, connection.session, counter, len(rows))
        payloads = [payload.dump_arguments(args, kwargs) for args, kwargs in rows]
        connection.add_group(group)
        block = m.Block(group.first, packed.digest, options, None, 0, payloads, None, None)
        connection.outbox.add_block(packed, block, None)
        return group

    def options(self, **options: Any) -> View:
        """This mesh with options for what is submitted through it: an executor, chainable.

        Args:
            id: the task's id of your own; see `submit_many`.
            priority: larger goes first; default 0.
            retries: how often a task whose code raised is run again; default 0.
            time_limit: seconds after which a run is stopped; default none.

        Raises:
            TypeError: an unknown option; all are listed.

        Example:
            >>> m.options(id="T=2.3", retries=2).submit(simulate, 2.3)
        """
        return View(self, options)

    # -- asking ------------------------------------------------------------------------------

    def flush(self, timeout: float | None = None) -> None:
        """Wait until everything submitted is recorded (on disk, for a mesh with a folder).

        Raises:
            TimeoutError: that took longer than `timeout` seconds.
        """
        self._check_open()
        if not self._connection.flush(timeout):
            raise concurrent.futures.TimeoutError(
                f"the mesh has not recorded everything within {timeout:g} s"
            )

    def future(self, id: str) -> Future:
        """The future of any task of the mesh: by id, unique prefix, own id, or ``last``.

        Raises:
            TaskNotFound: there is none.
        """
        kind, session, counter, _ = self._resolve(id)
        if kind != "task":
            raise TaskNotFound(f"{id!r} is a group: use group({id!r})")
        return self._connection.watch_task(session, counter)

    def group(self, id: str) -> Group:
        """Any group of the mesh.

        Raises:
            TaskNotFound: there is none.
        """
        kind, session, counter, size = self._resolve(id)
        if kind != "group":
            raise TaskNotFound(f"{id!r} is a task: use future({id!r})")
        record = self._connection.ask("group", {"session": session, "first": counter})
        group = Group(self._connection, session, counter, size, record["name"])
        group.older = {index: (s, c) for index, s, c in record["foreign"]}
        self._connection.watch_group(group)
        return group

    def result(self, id: str, timeout: float | None = None) -> Any:
        """The result of any task of the mesh, or the list of results of a group.

        Raises:
            TaskNotFound: there is no such task.
            TimeoutError: it is not there within `timeout` seconds.
            BaseException: see `Future.result`.
        """
        kind = self._resolve(id)[0]
        if kind == "group":
            return self.group(id).results(timeout=timeout)
        return self.future(id).result(timeout)

    def cancel(self, id: str) -> int:
        """Cancel a task or a group, stopping what runs; how many tasks that ended.

        Raises:
            TaskNotFound: there is none.
        """
        return int(self._connection.cancel(self._spans(id), running=True)["cancelled"])

    def unfinished(self, id: str) -> int:
        """How many tasks of a task or a group have not ended.

        Raises:
            TaskNotFound: there is none.
        """
        return sum(self._connection.ask("count", {"spans": self._spans(id)}).values())

    def _spans(self, id: str) -> list[tuple[str, int, int]]:
        """The tasks that `id` stands for, as (session, first, count)."""
        kind, session, counter, size = self._resolve(id)
        if kind == "task":
            return [(session, counter, 1)]
        record = self._connection.ask("group", {"session": session, "first": counter})
        return [(session, counter + 1, size)] + [(s, c, 1) for _, s, c in record["foreign"]]

    def _resolve(self, id: str) -> list[Any]:
        self._check_open()
        if not isinstance(id, str) or not id:
            raise TypeError(f"an id is a string such as 'k3f9x2m1.17', not {id!r}")
        own = parse(id)
        if own is not None and own[0] == self._connection.session:
            self._connection.flush(None)
        found = self._connection.ask("resolve", {"texts": [id]})[0]
        if found is None:
            raise TaskNotFound(
                f"no task or group {id!r} on mesh {self._connection.access.mesh} ({self._why})"
            )
        return list(found)

    def put(self, obj: Any) -> Future:
        """Store an object in the mesh; its done future. Not available yet."""
        raise MeshError("put() is not available yet: pass the object as an argument")

    def status(self) -> dict[str, Any]:
        """The mesh's state as plain data: what ``mesh status --json`` prints."""
        self._check_open()
        return {"schema": 1, **self._connection.ask("status", {})}

    def tasks(self, states: Sequence[str] = (), limit: int = 1000) -> list[dict[str, Any]]:
        """Tasks in these states (default all), as plain data."""
        self._check_open()
        rows = self._connection.ask("tasks", {"states": list(states), "limit": limit})
        return list(rows)

    def wait_for_slots(self, n: int, timeout: float | None = None) -> int:
        """Wait until at least `n` slots are ready; how many are.

        Raises:
            TimeoutError: that took longer than `timeout` seconds.
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

    def stop(self, *, drain: bool = True) -> None:
        """End the mesh, for everybody: its workers leave, then its router.

        What is queued stays recorded, for the next mesh on the folder.

        Args:
            drain: let what runs end first; otherwise it is ended now, and run again later.
        """
        self._check_open()
        self._connection.ask("stop", {"drain": drain})

    # -- ending ------------------------------------------------------------------------------

    def detach(self) -> None:
        """Leave without ending anything: what was submitted goes on. For a joined mesh.

        Raises:
            MeshError: the mesh is embedded: it ends with its script.
        """
        if self._local is not None:
            raise MeshError(
                "an embedded mesh ends with its script: start one with `mesh up`, and join it"
            )
        self._detached = True

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End this client, and with it an embedded mesh.

        Args:
            wait: wait for what was submitted; otherwise that happens in the background.
            cancel_futures: cancel what has not ended, running tasks too, instead.
        """
        with self._lock:
            if self._closed:
                return
            self._closed = True
        atexit.unregister(self._at_exit)
        if os.getpid() != self._pid:
            return  # a fork: the mesh is the parent's
        if wait:
            self._close(cancel_futures)
        else:
            threading.Thread(target=self._close, args=[cancel_futures], name="mesh-close").start()

    def _close(self, cancel: bool) -> None:
        connection = self._connection
        told = False
        try:
            if self._detached:
                connection.flush(ROUTER_TIMEOUT_S)
            elif cancel:
                self._cancel_own()
            else:
                try:
                    connection.wait_idle()
                except BaseException:  # Ctrl-C while it waits
                    self._cancel_own()
                    raise
            if self._local is not None:
                connection.ask("stop", {"drain": False})
                told = True
        except MeshError:
            pass  # the router is gone, and with it what there was to wait for or to stop
        finally:
            self._abandon(told=told)

    def _cancel_own(self) -> None:
        spans = self._connection.open_spans()
        if spans:
            self._connection.cancel(spans, running=True)

    def _abandon(self, *, told: bool = False) -> None:
        """Let go of everything; children of ours that were not `told` to leave are ended."""
        self._connection.close()
        if self._local is not None:
            self._local.close(now=not told)

    def _at_exit(self) -> None:
        self.shutdown()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.shutdown(wait=True, cancel_futures=kind is not None)

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeError("this mesh was closed: open another Mesh")
        self._connection.check_process()


class View(concurrent.futures.Executor):
    """A mesh with options: see `Mesh.options`. Closing it closes nothing."""

    def __init__(self, mesh: Mesh, options: dict[str, Any]) -> None:
        alias = options.pop("id", None)
        if alias is not None and (not isinstance(alias, str) or not 0 < len(alias) <= 256):
            raise TypeError(f"id is a string of 1 to 256 characters, not {alias!r}")
        self._mesh = mesh
        self._options = options_of(options) | ({} if alias is None else {"id": alias})

    def options(self, **options: Any) -> View:
        """This view with further options."""
        view = View(self._mesh, options)
        view._options = {**self._options, **view._options}
        return view

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future:
        """See `Mesh.submit`."""
        return self._mesh._submit(dict(self._options), fn, args, kwargs)

    def submit_many(
        self,
        fn: Callable[..., Any],
        /,
        *iterables: Iterable[Any],
        kwargs: Iterable[dict[str, Any]] | None = None,
        ids: Iterable[str] | None = None,
        name: str | None = None,
    ) -> Group:
        """See `Mesh.submit_many`."""
        return self._mesh._submit_many(dict(self._options), fn, iterables, kwargs, ids, name)

    def map(
        self,
        fn: Callable[..., Any],
        /,
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Iterator[Any]:
        """See `Mesh.map`."""
        if "id" in self._options:
            raise TypeError("map() takes no id=: submit_many() takes ids=")
        return self._mesh._map(self._options, fn, iterables, timeout, chunksize, buffersize)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Nothing: the mesh is closed by itself."""


def _sized(
    iterables: Sequence[Iterable[Any]], kwargs: Iterable[dict[str, Any]] | None
) -> tuple[Iterator[tuple[tuple[Any, ...], dict[str, Any]]], int]:
    """The calls, one by one, and how many they are."""
    columns: list[Iterable[Any]] = [*iterables, *([] if kwargs is None else [kwargs])]
    if all(hasattr(each, "__len__") for each in columns):
        size = min(len(each) for each in columns)  # type: ignore[arg-type]
        rows: Iterable[tuple[Any, ...]] = itertools.islice(zip(*columns, strict=False), size)
    else:  # only the shortest can be counted: beside it others may be endless
        rows = list(zip(*columns, strict=False))
        size = len(rows)
    if kwargs is None:
        return ((row, {}) for row in rows), size
    return ((row[:-1], row[-1]) for row in rows), size


def _checked_ids(ids: Iterable[str], size: int) -> list[str | None]:
    checked: list[str | None] = list(ids)
    if len(checked) != size:
        raise ValueError(f"{len(checked)} ids for {size} calls")
    for each in checked:
        if not isinstance(each, str) or not 0 < len(each) <= 256:
            raise TypeError(f"an id is a string of 1 to 256 characters, not {each!r}")
    if len(set(checked)) != size:
        twice = next(each for each in checked if checked.count(each) > 1)
        raise ValueError(f"ids must differ; {twice!r} is there twice")
    return checked


def _encoded(
    rows: Iterator[tuple[tuple[Any, ...], dict[str, Any]]], marked: bool
) -> Iterator[tuple[int, int, list[bytes], list[bytes], list[tuple[int, PayloadError]]]]:
    """Blocks of encoded calls: (index, count, payloads, marks, those that cannot be pickled)."""
    index = 0
    row = next(rows, None)
    while row is not None:
        payloads: list[bytes] = []
        marks: list[bytes] = []
        broken: list[tuple[int, PayloadError]] = []
        size = 0
        while row is not None and len(payloads) < BLOCK_TASKS_MAX and size < MESSAGE_BYTES:
            args, kwargs = row
            try:
                arguments = payload.dump_arguments(args, kwargs)
            except PayloadError as error:
                broken.append((len(payloads), error))
                arguments = b""
            if marked:
                marks.append(mark(args, kwargs))
            payloads.append(arguments)
            size += len(arguments)
            row = next(rows, None)
        yield index, len(payloads), payloads, marks, broken
        index += len(payloads)


def _whole_runs(count: int, holes: list[int]) -> Iterator[tuple[int, int]]:
    """[0, count) without `holes`, as runs."""
    low = 0
    for hole in [*holes, count]:
        if low < hole:
            yield low, hole
        low = hole + 1


def _warn(line: str) -> None:
    """Tell the user something that no call returns."""
    print(f"mesh: {line}", file=sys.stderr, flush=True)
