"""Mesh: the whole of Mesh as a script sees it."""

from __future__ import annotations

import atexit
import concurrent.futures
import math
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import FrameType
from typing import Any, NoReturn

from ..errors import MeshError
from ..options import amounts_of, options_of, size_of
from ..processes import SLOT_VARIABLE
from ..processes.local import LocalMesh
from ..task import ENDED, State
from . import where
from .asking import Asking
from .connection import Connection
from .echo import Show, to_stdout
from .ending import ROUTER_TIMEOUT_S, Ending, warn
from .future import Future
from .group import Group
from .initializer import check_context, initializer_of
from .kept import Kept
from .launcher import Launcher
from .leaving import Leaving
from .prompt import is_at_prompt
from .rebinding import variable_of
from .submit import Submitter
from .unknown import BOUND, IN_KWARGS, refuse
from .view import View


class Mesh(Asking, Ending, concurrent.futures.Executor):
    """A mesh: joined, or embedded in this script.

    Args:
        access: joins the mesh of this access file: a path, a folder, or a name that stands for
            ``~/.mesh/NAME.json``. Default: ``$MESH_ACCESS``; without it a mesh is embedded.
        slots: embeds a mesh with so many slots. Default: the CPUs this process may use.
        threads: embeds a mesh of which each process runs so many tasks at once, in threads, or if
            they are coroutines on one loop: for tasks that wait, or release the interpreter's lock
            while they work. It has ``slots * threads`` slots then. Default 1.
        dir: embeds a mesh whose tasks and results stay in this folder. A mesh that is alive there
            is joined instead.
        name: the same with the default folder of that name, ``/var/tmp/mesh-UID/NAME``.
        durability: of an embedded mesh. ``"disk"``: what is recorded survives a power cut, the
            default with a folder; ``"process"``: every kill of every process, but no power cut.
        listen: embeds a mesh that workers and clients on other hosts may join, over encrypted TCP:
            ``"any"``, all addresses of this host, or ``"tcp://HOST:PORT"``.
        advertise: addresses ``"tcp://HOST:PORT"`` by which others reach it as well: a public name,
            or a port that a gateway forwards. They are tried before those of this host.
        router_timeout: seconds without a router after which what waits for it fails.
        settings: for an embedded mesh, fields of `mesh.core.events.Settings`.
        max_workers: what other executors call `slots`.
        max_tasks_per_child: after so many tasks a slot's process is replaced; default never.
        max_memory_per_child: one that has grown beyond it is, between two tasks: bytes of resident
            memory, or a text such as ``"2GB"``; default never.
        resources: what the worker of an embedded mesh has for tasks to ask for, as in ``{"gpu": 2,
            "mem": "64G"}``; what of memory and GPUs is not said is found.
        results: a folder, on any file system, in which the results stay that are asked for, as
            plain files: `Kept` finds them there without a mesh.
        launch: starts workers for this mesh, and ends them with this object: `Ssh`, `Local` or the
            like. Embedded, it listens for them, and has no slots of its own by default.
        echo: whether what this script's tasks print is shown where the script prints, while they
            run; or a function that takes it instead: a task's id, and a text of whole lines.
            Default: if the mesh is embedded.
        code: have the script's own modules travel with its functions. With False the hosts of
            workers must have them, in a folder where their Python looks.
        env: environment variables for all tasks, beside those of their worker; those of a call or
            of `@task` are laid over them.
        initializer: is called with `initargs` in each process where tasks of this object run,
            once, before the first of them: see docs/code.md. If it raises they fail with
            `InitializerFailed`.
        initargs: its arguments.
        mp_context: accepted as other executors do; slots are new processes in any case.

    Raises:
        LaunchFailed: no workers could be started.
        PayloadError: the initializer cannot be pickled.
        ValueError: `access` together with what embeds one.
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
        threads: int | None = None,
        dir: str | os.PathLike[str] | None = None,
        name: str | None = None,
        durability: str | None = None,
        listen: str | None = None,
        advertise: Sequence[str] | None = None,
        router_timeout: float = ROUTER_TIMEOUT_S,
        settings: dict[str, Any] | None = None,
        max_workers: int | None = None,
        max_tasks_per_child: int | None = None,
        max_memory_per_child: int | str | None = None,
        resources: dict[str, int | str] | None = None,
        results: str | os.PathLike[str] | None = None,
        launch: Launcher | None = None,
        echo: bool | Show | None = None,
        code: bool = True,
        env: dict[str, str] | None = None,
        initializer: Callable[..., Any] | None = None,
        initargs: Iterable[Any] = (),
        mp_context: object = None,
        **unknown: NoReturn,
    ) -> None:
        self._closed = True  # until it is open: __del__ may come first
        refuse(unknown, "Mesh", Mesh, "help(Mesh) tells of those that it takes")
        _refuse_in_a_task()
        slots = where.at_least(0, "slots", max_workers if slots is None else slots)
        threads = where.at_least(1, "threads", threads)
        given = max_memory_per_child
        memory_max = None if given is None else size_of("max_memory_per_child", given)
        limits = where.at_least(1, "max_tasks_per_child", max_tasks_per_child), memory_max
        if not router_timeout > 0:
            raise ValueError(f"router_timeout must be more than 0 s, not {router_timeout!r}")
        own = options_of({} if env is None else {"env": env})
        check_context(mp_context)
        first = initializer_of(initializer, initargs, with_modules=code)
        _close_former(sys._getframe(1))
        self._pid = os.getpid()
        self._local: LocalMesh | None = None
        if launch is not None:
            embeds = dir, name, slots, durability, listen, resources, threads, advertise
            slots, listen = where.launching(access, embeds, slots, listen)
        has = None if resources is None else amounts_of("resources", resources)
        which = access, dir, name, slots, durability, listen, has, threads, advertise
        with where.settled(*which) as place:
            to = place.access
            if to is None:
                plan = place.plan(slots, *limits, settings, listen, has, threads, advertise)
                self._local = LocalMesh(plan, warn, self._given_up)
                to = self._local.access
        self._why, self.folder = place.why, place.folder
        self._connection = Connection(to, router_timeout, warn)
        self._connection.kept = None if results is None else Kept(results)
        self._show(self._local is not None if echo is None else echo)
        self._submitter = Submitter(self._connection, own, with_modules=code, initializer=first)
        self._lock = threading.Lock()
        self._leaving = Leaving(self._connection, self._local, warn)
        self._closer: threading.Thread | None = None  # closes it in the background
        self._closed = False
        self._arrive(launch, tells=not place.temporary and slots != 0)
        atexit.register(self._at_exit)

    def __repr__(self) -> str:
        state = "closed" if self._closed else "embedded" if self._local is not None else "joined"
        return f"<Mesh {self._connection.access.mesh}, {state}: {self._why}, {self.folder}>"

    def __reduce__(self) -> Any:
        raise TypeError(
            "a mesh stays with its script: have tasks return values, and submit what follows "
            "there; a future among the arguments passes a result on"
        )

    # -- submitting --------------------------------------------------------------------------

    @property
    def submitter(self) -> Submitter:
        """What turns calls into tasks; raises RuntimeError if the mesh cannot be used."""
        self._check_open()
        self._connection.listening.here()
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
        **unknown: NoReturn,
    ) -> Group:
        """Have `fn` run once for each row of `iterables`, as one group.

        Args:
            fn: the function.
            iterables: as for `map`: one for each argument; the shortest decides.
            kwargs: keyword arguments, a dict for each call.
            ids: an id of your own for each call. The same id with the same call is found, not run
                again, as long as the mesh's folder lives; with another call it is a `TaskConflict`.
            name: of the group, for people: a command takes it in place of the id; of several groups
                of that name it means the newest.

        Raises:
            ValueError: `ids` repeat, or are more or fewer than the calls.
            TypeError: an id is no string.
            PayloadError: the function cannot be pickled. An argument that cannot fails its own
                member alone.

        Example:
            >>> m.submit_many(pow, [2, 3], [10, 2], ids=["two", "three"]).results()
            [1024, 9]
        """
        refuse(unknown, "submit_many", self.submit_many, IN_KWARGS)
        return self.submitter.submit_many({}, fn, iterables, kwargs, ids, name)

    def map(  # type: ignore[override]  # more by keyword, of which any is an error
        self,
        fn: Callable[..., Any],
        /,
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
        progress: bool = False,
        **unknown: NoReturn,
    ) -> Iterator[Any]:
        """`fn` of each row of `iterables`, in order, lazily: a bounded number is on its way.

        The first window is submitted at the call, the rest as results are taken.

        Args:
            timeout: seconds from the call until the last result.
            chunksize: accepted as other executors do; tasks travel together by themselves.
            buffersize: how many tasks may be on their way; default 8192.
            progress: show on standard error how far it is, while results are taken; see
                `Group.wait`.

        Raises:
            TimeoutError: as `timeout` says.
            ValueError: `chunksize` or `buffersize` below 1.

        Example:
            >>> list(m.map(pow, range(3), [2] * 3))
            [0, 1, 4]
        """
        refuse(unknown, "map", self.map, BOUND)
        return self.submitter.map({}, fn, iterables, timeout, chunksize, buffersize, progress)

    def options(self, **options: Any) -> View:
        """This mesh with options for what is submitted through it: an executor, chainable.

        Args:
            id: the task's id of your own, 1 to 256 characters; see `submit_many`.
            priority: larger goes first; default 0.
            retries: how often a task whose code raised is run again; default 0.
            retry_on: the class, classes or names of errors after which it is; default any.
            backoff: seconds before the first retry, doubled for each further one up to an hour,
                and spread a little; default 0.1.
            time_limit: seconds after which a run is stopped: interrupted (KeyboardInterrupt), a
                second later terminated, then killed, with all it has started; default none.
            memory: bytes, or a text such as "2GB", that a run may use with all it starts before
                it is stopped, and begins where others leave as much; default none.
            env: environment variables, a dict of strings, which a run has beside those of its
                worker.
            cwd: a folder to run in, as a whole path; a run fails where it is not there.
            cpus: how many of a worker's slots it takes; default 1.
            resources: what else of a worker it has for itself while it runs, as in
                ``{"gpu": 1, "license": 1}``; default nothing, and no GPU is seen.
            time_request: seconds, or a text such as "01:30:00" or "90m", for which its worker must
                stay; default no matter.
            rerun: whether it runs again if its result is lost and waited for; default True.

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

        Example:
            >>> future = m.submit(simulate, 2.3)
            >>> m.flush()  # from here on nothing that is killed loses it
        """
        self._check_open()
        if not self._connection.flush(timeout):
            raise concurrent.futures.TimeoutError(
                f"the mesh has not recorded everything within {timeout:g} s"
            )

    def retry(self, id: str) -> Group | Future:
        """Run a task again that failed or was cancelled, or those members of a group: see
        `Group.retry_failed`. By id, also what another script submitted.

        Raises:
            TaskNotFound: there is none.
            MeshError: the task did not fail, or its function is forgotten.

        Example:
            >>> m.retry("T=2.30").result()
        """
        from . import retry

        kind, session, counter, _ = self._named(id)
        if kind == "task":
            return retry.task(self._connection, session, counter)
        group = self.group(id)
        group.catch_up(len(group) - self.unfinished(id))
        return group.retry_failed()

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
            AccessDenied: this client is no admin.

        Example:
            >>> m.stop(drain_timeout=60)  # what `mesh stop --drain-timeout 60` does
        """
        self._check_open()
        within_s = math.inf if drain_timeout is None else drain_timeout
        if not within_s >= 0:
            raise ValueError(f"drain_timeout must be 0 s or more, not {drain_timeout!r}")
        self._connection.ask("stop", {"within_s": within_s if drain else 0})

    def _show(self, echo: bool | Show) -> None:
        """Show what tasks print, if it is asked for."""
        if echo is not False:
            self._connection.echo(to_stdout if echo is True else echo)

    def _given_up(self, why: str) -> None:
        """The mesh of this script is broken: who waits is told."""
        warn(why)
        self._connection.give_up(MeshError(f"the mesh is broken: {why}"))

    def _arrive(self, launch: Launcher | None, *, tells: bool) -> None:
        """Wait until the mesh is there, and launch workers for it; if either fails, leave."""
        try:
            self._connection.await_welcome(self._why)
            if self._local is not None and tells:
                self._tell_of_earlier()
            if launch is not None:
                self._leaving.launched = launch.launch(self._connection.access)
        except BaseException:
            self._leaving.let_go()
            raise

    def _tell_of_earlier(self) -> None:
        """What an earlier script was killed with goes on, whether this one asks for it or not."""
        counts = self._connection.ask("status", {})["tasks"]
        if left := sum(counts[state.word] for state in State if state < ENDED):
            goes = "a task goes" if left == 1 else f"{left:,} tasks go"
            warn(
                f"{goes} on that an earlier script has left in {self.folder}; "
                "a call that is given no id is made anew"
            )

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeError("this mesh was closed: open another Mesh")
        self._connection.check_process()


def _refuse_in_a_task() -> None:
    if SLOT_VARIABLE in os.environ:
        raise RuntimeError(
            "a task cannot open a mesh of its own: return the values, and submit what follows "
            "from the script"
        )


def _close_former(frame: FrameType) -> None:
    """At a prompt or in a notebook: close the mesh of the variable that `frame` is about to give a
    new one, for its cell is run again."""
    if is_at_prompt() and (variable := variable_of(frame)) is not None:
        name, former = variable
        if isinstance(former, Mesh):
            former._replace(name)
