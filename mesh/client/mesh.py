"""Mesh: the whole of Mesh as a script sees it."""

from __future__ import annotations

import atexit
import concurrent.futures
import math
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from ..errors import MeshError
from ..options import size_of
from ..processes import SLOT_VARIABLE
from ..processes.local import LocalMesh
from . import where
from .asking import Asking
from .connection import Connection
from .future import Future
from .group import Group
from .kept import Kept
from .launcher import LEAVE_S, Launched, Launcher, end_all
from .submit import Submitter
from .view import View

#: Without a router for this long, what waits for it fails.
ROUTER_TIMEOUT_S = 60.0

#: What was cancelled is told so within this.
CANCELLED_S = 5.0

#: An own router says within this that it stops: its answer may be lost with it.
STOPPED_S = 3.0


class Mesh(Asking, concurrent.futures.Executor):
    """A mesh: joined, or embedded in this script.

    Args:
        access: joins the mesh of this access file: a path, a folder, or a name that stands for
            ``~/.mesh/NAME.json``. Default: ``$MESH_ACCESS``; without it a mesh is embedded.
        slots: embeds a mesh with so many slots. Default: the CPUs this process may use.
        dir: embeds a mesh whose tasks and results stay in this folder. A mesh that is alive there
            is joined instead.
        name: the same with the default folder of that name, ``/var/tmp/mesh-UID/NAME``.
        durability: of an embedded mesh. ``"disk"``: what is recorded survives a power cut, the
            default with a folder; ``"process"``: every kill of every process, but no power cut.
        listen: embeds a mesh that workers and clients on other hosts may join, over encrypted TCP:
            ``"any"``, all addresses of this host, or ``"tcp://HOST:PORT"``.
        router_timeout: seconds without a router after which what waits for it fails.
        settings: for an embedded mesh, fields of `mesh.core.events.Settings`.
        max_workers: what other executors call `slots`.
        max_tasks_per_child: after so many tasks a slot's process is replaced; default never.
        max_memory_per_child: one that has grown beyond it is, between two tasks: bytes of resident
            memory, or a text such as ``"2GB"``; default never.
        results: a folder, on any file system, in which the results stay that are asked for, as
            plain files: `Kept` finds them there without a mesh.
        launch: starts workers for this mesh, and ends them with this object: `Ssh`, `Local` or the
            like. Embedded, it listens for them, and has no slots of its own by default.

    Raises:
        LaunchFailed: no workers could be started.
        ValueError: `access` together with `slots`, `dir`, `name`, `durability` or `listen`.
        RouterUnreachable: no mesh answers there.
        AccessDenied: the access file cannot be used.
        StoreError: the folder cannot be used.
        RuntimeError: inside a task.

    Example:
        >>> with Mesh(name="ising") as m:
        ...     g = m.submit_many(simulate, Ts, ids=[f"T={t:.2f}" for t in Ts])
        ...     rows = g.results()
    """

    _connection: Connection

    def __init__(
        self,
        access: str | os.PathLike[str] | None = None,
        *,
        slots: int | None = None,
        dir: str | os.PathLike[str] | None = None,
        name: str | None = None,
        durability: str | None = None,
        listen: str | None = None,
        router_timeout: float = ROUTER_TIMEOUT_S,
        settings: dict[str, Any] | None = None,
        max_workers: int | None = None,
        max_tasks_per_child: int | None = None,
        max_memory_per_child: int | str | None = None,
        results: str | os.PathLike[str] | None = None,
        launch: Launcher | None = None,
    ) -> None:
        self._closed = True  # until it is open: __del__ may come first
        if SLOT_VARIABLE in os.environ:
            raise RuntimeError(
                "a task cannot open a mesh of its own: return the values, and submit what follows "
                "from the script"
            )
        slots = where.at_least(0, "slots", max_workers if slots is None else slots)
        tasks_max = where.at_least(1, "max_tasks_per_child", max_tasks_per_child)
        memory_max = None
        if max_memory_per_child is not None:
            memory_max = size_of("max_memory_per_child", max_memory_per_child)
        if not router_timeout > 0:
            raise ValueError(f"router_timeout must be more than 0 s, not {router_timeout!r}")
        self._pid = os.getpid()
        self._local: LocalMesh | None = None
        self._detached = False
        if launch is not None:
            embedding = any(each is not None for each in (dir, name, slots, durability, listen))
            slots, listen = where.launching(access, embedding, slots, listen)
        self._launched: Sequence[Launched] = []
        with where.settled(access, dir, name, slots, durability, listen) as place:
            to = place.access
            if to is None:
                plan = place.plan(slots, tasks_max, memory_max, settings, listen)
                self._local = LocalMesh(plan, _warn, self._given_up)
                to = self._local.access
        self._why, self.folder = place.why, place.folder
        self._connection = Connection(to, router_timeout, _warn)
        self._connection.kept = None if results is None else Kept(results)
        self._submitter = Submitter(self._connection)
        self._lock = threading.Lock()
        self._closed = False
        try:
            self._connection.await_welcome(self._why)
            if launch is not None:
                self._launched = launch.launch(to)
        except BaseException:
            self._abandon()
            raise
        atexit.register(self.shutdown)

    def __repr__(self) -> str:
        state = "closed" if self._closed else "embedded" if self._local is not None else "joined"
        return f"<Mesh {self._connection.access.mesh}, {state}: {self._why}, {self.folder}>"

    # -- submitting --------------------------------------------------------------------------

    @property
    def submitter(self) -> Submitter:
        """What turns calls into tasks; raises RuntimeError if the mesh cannot be used."""
        self._check_open()
        return self._submitter

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future:
        """Have `fn(*args, **kwargs)` run.

        Waits only while more than a window of bytes is on its way to the mesh.

        Raises:
            QueueFull: the mesh has had no room to record more for `router_timeout` seconds.
            PayloadError: the function or an argument cannot be pickled; it is named.
            TypeError: `fn` cannot be called.
            RuntimeError: the mesh was closed, or this process is a fork of the one that opened it.

        Example:
            >>> m.submit(pow, 2, 10).result()
            1024
        """
        return self.submitter.submit({}, fn, args, kwargs)

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
        return self.submitter.submit_many({}, fn, iterables, kwargs, ids, name)

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
        return self.submitter.map({}, fn, iterables, timeout, chunksize, buffersize)

    def options(self, **options: Any) -> View:
        """This mesh with options for what is submitted through it: an executor, chainable.

        Args:
            id: the task's id of your own; see `submit_many`.
            priority: larger goes first; default 0.
            retries: how often a task whose code raised is run again; default 0.
            retry_on: the class, classes or names of errors after which it is; default any.
            backoff: seconds before the first retry, doubled for each further one up to an hour,
                and spread a little; default 0.1.
            time_limit: seconds after which a run is stopped: interrupted (KeyboardInterrupt), a
                second later terminated, then killed, with all it has started; default none.
            memory: bytes, or a text such as "2GB", that a run may use with all it starts before
                it is stopped; default none. Looked at ten times a second, on Linux.

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
            QueueFull: the mesh has had no room to record more for `router_timeout` seconds.
        """
        self._check_open()
        if not self._connection.flush(timeout):
            raise concurrent.futures.TimeoutError(
                f"the mesh has not recorded everything within {timeout:g} s"
            )

    def put(self, obj: Any) -> Future:
        """Store an object in the mesh, once, for any number of tasks; its done future.

        When it returns the object is as certain as the mesh's records. The same bytes put again
        are the same task.

        Raises:
            PayloadError: it cannot be pickled.
            QueueFull: the mesh has had no room, or no home worker, for `router_timeout` seconds.
            StoreError: it was lost on its way.

        Example:
            >>> table = m.put(big)
            >>> rows = m.submit_many(look_up, [table] * 1000, range(1000)).results()
        """
        return self.submitter.put(obj)

    def stop(self, *, drain: bool = True, drain_timeout: float | None = None) -> None:
        """End the mesh, for everybody: its workers leave, then its router.

        What is queued stays recorded, for the next mesh on the folder.

        Args:
            drain: let what runs end first; otherwise it is ended now, and run again later.
            drain_timeout: seconds after which what still runs is interrupted, and run again
                later; that counts as nothing. Default: it may take as long as it does.

        Raises:
            ValueError: `drain_timeout` is negative.
        """
        self._check_open()
        within_s = math.inf if drain_timeout is None else drain_timeout
        if not within_s >= 0:
            raise ValueError(f"drain_timeout must be 0 s or more, not {drain_timeout!r}")
        self._connection.ask("stop", {"within_s": within_s if drain else 0})

    def renew_keys(self) -> None:
        """Have the router go by the keys that are in its folder by now: see `mesh access renew`.

        Raises:
            AccessDenied: this client is no admin.
        """
        self._check_open()
        self._connection.ask("renew", {})

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
        atexit.unregister(self.shutdown)
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
                    connection.waiting.wait_idle()
                except BaseException:  # Ctrl-C while it waits
                    self._cancel_own()
                    raise
            if self._local is not None:
                self._local.begin_end()
                connection.ask("stop", {"within_s": 0}, STOPPED_S)
                told = True
        except MeshError:
            pass  # the router is gone, and with it what there was to wait for or to stop
        finally:
            self._abandon(told=told)

    def _cancel_own(self) -> None:
        spans = self._connection.waiting.own_spans()
        if spans:
            self._connection.cancel(spans, running=True, timeout=CANCELLED_S)
            self._connection.waiting.wait_for_own(CANCELLED_S)

    def _abandon(self, *, told: bool = False) -> None:
        """Let go of everything; children of ours that were not `told` to leave are ended."""
        self._connection.close()
        if self._local is not None:
            self._local.begin_end()
            self._local.close(now=not told)
        if not self._detached:  # those of a mesh that has ended leave by themselves
            end_all(self._launched, LEAVE_S if self._local is not None else 0.0, _warn)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.shutdown(wait=True, cancel_futures=kind is not None)

    def _given_up(self, why: str) -> None:
        """The mesh of this script is broken: who waits is told."""
        _warn(why)
        self._connection.give_up(MeshError(f"the mesh is broken: {why}"))

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeError("this mesh was closed: open another Mesh")
        self._connection.check_process()


def _warn(line: str) -> None:
    """Tell the user something that no call returns."""
    print(f"mesh: {line}", file=sys.stderr, flush=True)
