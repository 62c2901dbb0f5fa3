"""Target: a TCP port of this host that others may try to get in at, as long as it is open, as they
would at the data port of a worker here. It says nothing and takes nothing in."""

from __future__ import annotations

import os
import threading
from contextlib import ExitStack
from types import TracebackType

from .door import Door
from .interfaces import is_loopback, published
from .keys import WORKER, Pair
from .poller import Poller
from .sockets import Listener, SocketFolder, context
from .wake import Wake

#: A closed gate is looked at so often (`Listener.look`); who comes and goes wakes it.
LOOK_S = 0.25


class Target:
    """For the mesh `mesh`, at the TCP address `listen`. `addresses` are those by which others may
    reach it, with its key; the key pair `visitor` opens it.

    Raises:
        MeshError: it cannot be bound.
    """

    def __init__(self, mesh: str, listen: str) -> None:
        self.visitor = Pair.new()
        with ExitStack() as made:  # closes what there is if something cannot be made
            folder = SocketFolder(mesh)
            made.callback(folder.leave)
            self._wake = Wake()
            made.callback(self._wake.close)
            own = context()
            made.callback(own.term)
            self._door = Door(own, Pair.new())
            made.callback(self._door.close)
            self._door.let_in({self.visitor.public: WORKER})
            self._listener = Listener(own, folder.path / f"target-{os.getpid()}.sock")
            made.callback(self._listener.close)
            found = published(self._listener.listen(listen, self._door.own))
            self._made = made.pop_all()
        far = [each for each in found if not is_loopback(each)]
        self.addresses = [f"{each}#{self._door.own.public}" for each in far or found]
        self._is_open = True
        self._thread = threading.Thread(target=self._answer, name="mesh-target", daemon=True)

    def __enter__(self) -> Target:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._is_open = False
        self._wake.set()
        self._thread.join()
        self._made.close()

    def _answer(self) -> None:
        """Let visitors in, and hear nothing of what they say."""
        poller = Poller(self._wake)
        poller.add(self._door.socket)
        poller.add(self._listener.monitor, quiet=True)
        poller.add(self._listener.socket, quiet=True)
        while self._is_open:
            poller.wait(LOOK_S)
            self._door.answer()
            self._listener.look()
            for _ in self._listener.receive():
                pass
