"""Ending: how a mesh object is left, by `with`, by `async with` or by hand: half of `Mesh`.

It is left once, by whoever comes first, and at the end of its script at the latest. What is done
then is `leaving`'s.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
from contextlib import nullcontext, suppress
from typing import TypeVar

from ..errors import MeshError
from ..processes.local import LocalMesh
from .connection import Connection
from .leaving import Leaving, has_died

#: Without a router for this long, what waits for it fails.
ROUTER_TIMEOUT_S = 60.0

_Self = TypeVar("_Self", bound="Ending")


def warn(line: str) -> None:
    """Tell the user something that no call returns."""
    print(f"mesh: {line}", file=sys.stderr, flush=True)


class Ending:
    """See the module."""

    _connection: Connection
    _local: LocalMesh | None
    _lock: threading.Lock
    _pid: int
    _closed: bool
    _leaving: Leaving
    _closer: threading.Thread | None

    def detach(self) -> None:
        """Leave without ending anything: what was submitted goes on. For a joined mesh.

        Raises:
            MeshError: the mesh is embedded: it ends with its script.

        Example:
            >>> with Mesh("lab") as m:
            ...     print(m.submit_many(simulate, Ts).id)  # for `mesh wait`, tomorrow
            ...     m.detach()
        """
        if self._local is not None:
            raise MeshError(
                "an embedded mesh ends with its script: start one with `mesh up`, and join it"
            )
        self._leaving.detached = True
        self._connection.is_in_with = False  # a `with` that is left cancels nothing

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End this client, and with it an embedded mesh: what the end of a `with` does. Once more
        it does nothing.

        A script that ends without it does so then: it waits, or cancels what has not ended if it
        ends by an exception, and so does Ctrl-C.

        Args:
            wait: wait for what was submitted; otherwise that happens in the background.
            cancel_futures: cancel what has not ended, running tasks too, instead. An error that
                leaves a `with` does that.

        Example:
            >>> m = Mesh()
            >>> m.submit(simulate, 2.3).add_done_callback(show)
            >>> m.shutdown()
        """
        with self._lock:
            if self._closed:
                return
            self._closed = True
        if os.getpid() != self._pid:
            return  # a fork: the mesh is the parent's
        if wait:
            self._close(cancel_futures)
            return
        self._closer = threading.Thread(
            target=self._close, args=[cancel_futures], name="mesh-close", daemon=True
        )
        self._closer.start()

    def _close(self, cancel: bool) -> None:
        try:
            self._leaving.leave(cancel=cancel)
        finally:
            atexit.unregister(self._at_exit)

    def _at_exit(self) -> None:
        """The interpreter ends, and nobody has closed this mesh, or it is still being closed."""
        if os.getpid() != self._pid:
            return  # a fork: the mesh is the parent's
        died = has_died()
        try:
            if not died:
                self._leaving.wait_aloud()
            self._close_for_good(cancel=died)
        except KeyboardInterrupt:  # which nobody is left to catch
            with suppress(KeyboardInterrupt):
                with suppress(MeshError):  # it is closed by now, or gone
                    self._leaving.cancel_own()
                self._close_for_good(cancel=True)
            if not self._leaving.detached:
                warn("interrupted: what had not ended is cancelled")

    def _close_for_good(self, *, cancel: bool) -> None:
        self.shutdown(cancel_futures=cancel)
        if self._closer is not None:
            self._closer.join()

    def _replace(self, name: str) -> None:
        """Close this mesh because its variable, `name`, is given another one."""
        if not self._closed and self._local is not None and os.getpid() == self._pid:
            warn(f"{name} was a mesh already: it is closed, and what had not ended is cancelled")
            self.shutdown(cancel_futures=True)
            self._leaving.tell_unseen()

    def __enter__(self: _Self) -> _Self:
        self._connection.is_in_with = True
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        interrupted = kind is not None and issubclass(kind, KeyboardInterrupt)
        with suppress(KeyboardInterrupt) if interrupted else nullcontext():  # one is enough
            self.shutdown(wait=True, cancel_futures=kind is not None)

    async def __aenter__(self: _Self) -> _Self:
        return self.__enter__()

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        from .awaiting import off_loop

        await off_loop(lambda: self.__exit__(kind), self._leaving.cancel_own)
