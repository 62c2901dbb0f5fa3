"""Ssh: a worker on each of some hosts, which stays there when the connection ends.

The access file goes by standard input, so that hosts need not share a file system. The first host
is tried before the others: what is wrong there is mostly wrong on all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from ..client.launcher import PARALLEL
from ..errors import LaunchFailed
from ..transport.access import Access
from . import hosts as hosts_of
from .background import Background, start_all
from .hosts import Host
from .launched import Handed, Launched, hand_over, handed, warn
from .register import all_launched
from .start import Start, advised
from .step import Step

#: ssh never asks anybody for anything, and a host that does not answer is told of soon.
CONNECT_S = 10
SSH_OPTIONS = ["-T", "-o", "BatchMode=yes", "-o", f"ConnectTimeout={CONNECT_S}"]

#: To connect, and to start an interpreter from a file system that sleeps.
CHECK_S = CONNECT_S + 20.0


@dataclass(frozen=True)
class Ssh(Start):
    """Starts a worker on each host, by ssh.

    Args:
        hosts: texts such as ``"user@host:port"``, or the path of a file with a host a line, such
            as ``n1 slots=8``.
        options: further arguments of ssh, such as ``["-i", "key"]``.

    Raises:
        ValueError: `hosts` names none, one that is none, or one twice.

    Example:
        >>> with Mesh(launch=Ssh(["n1", "n2"])) as m:
        ...     m.wait_for_slots(2)
    """

    hosts: Sequence[str | Host] | Path
    options: Sequence[str] = ()

    def __post_init__(self) -> None:
        given = self.hosts
        if isinstance(given, str):
            raise ValueError(f"hosts={given!r}: give a list of hosts, or pathlib.Path of a file")
        listed = hosts_of.read(given) if isinstance(given, Path) else given
        object.__setattr__(self, "hosts", hosts_of.parse_all(listed))

    def plan(self, to: Handed) -> list[Step]:
        """What will be run: a check on the first host, then a worker on each."""
        first = self._hosts[0]
        check = Step(
            [*self.reach(first), self.shell(self.check())],
            f"first, on {first} alone: is Mesh there, and for which Python?",
        )
        return [check, *(worker.step for worker in self._workers())]

    def launch(
        self, access: Access, *, kept: bool = False, say: Callable[[str], None] = warn
    ) -> list[Launched]:
        """Start them, and wait until they have joined; `say` hears of those that could not.

        Raises:
            LaunchFailed: the first could not, or is no place for them; or nobody can from there.
        """
        cut = hand_over(access)
        for each in self._there(cut.mesh):
            warn(
                f"{each.where}: launch {each.number} (process {each.job}) runs there already, and "
                f"another worker takes its own slots of the same CPUs: if that is not meant, end "
                f"one with `mesh launches cancel {each.number}`"
            )
        check = self.plan(handed(cut.mesh))[0].run("", CHECK_S)
        where = str(self._hosts[0])
        if check.code:
            raise LaunchFailed(f"{where}: {advised(check.told)}")
        self.judge(check.out, where)
        return start_all(self._workers(), cut, "ssh", kept, say)

    def reach(self, host: Host) -> list[str]:
        """The command that leads to a host."""
        port = [] if host.port is None else ["-p", str(host.port)]
        return ["ssh", *SSH_OPTIONS, *port, *self.options, host.destination]

    @property
    def _hosts(self) -> list[Host]:
        return [each for each in self.hosts if isinstance(each, Host)]  # type: ignore[union-attr]

    def _there(self, mesh: str) -> list[Launched]:
        """What was launched for `mesh` on these hosts, by whatever user, and runs."""
        ours = {replace(host, user=None, slots=None) for host in self._hosts}
        known = [
            each
            for each in all_launched(mesh)
            if each.launcher == "ssh" and replace(Host.parse(each.where), user=None) in ours
        ]
        with ThreadPoolExecutor(PARALLEL) as pool:
            looks = pool.map(lambda each: each.look(), known)
            return [each for each, now in zip(known, looks, strict=True) if now.is_over is False]

    def _workers(self) -> list[Background]:
        found = []
        for host in self._hosts:
            slots = self.slots if host.slots is None else host.slots
            command = self.shell(self.worker("-", slots, "--daemon", "--json"))
            step = Step([*self.reach(host), command], f"a worker on {host}", takes_access=True)
            found.append(Background(step, str(host), self.reach(host)))
        return found
