"""Hosts with addresses and names of their own, on one machine: Linux's namespaces on one switch.

The switch forwards nothing beyond itself: what is sent to an address that no host has, no answer
comes from, as in a network whose firewall drops. Nothing of this machine's own network is touched.
Needs root, iproute2, nftables and util-linux.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shell import Command

import mesh

PROGRAMS = "ip", "nft", "unshare", "hostname"

#: Beyond the switch, which drops what goes there: nobody has it, and nobody says so.
BLACK_HOLE = "10.99.9.9"

#: Heartbeats and patience of a router, so that tests need little.
SOON = "--heartbeat", 0.2, "--lost-after", 1, "--far-factor", 1

_CLONE_NEWUTS, _CLONE_NEWNET = 0x04000000, 0x40000000

_libc = ctypes.CDLL(None, use_errno=True)


def missing() -> str | None:
    """Why there can be no hosts here; None: there can."""
    if sys.platform != "linux":
        return "network namespaces are Linux's"
    if os.geteuid() != 0:
        return "network namespaces need root"
    for program in PROGRAMS:
        if shutil.which(program) is None:
            return f"there is no {program} (packages iproute2, nftables, util-linux)"
    name = f"mesh{os.getpid()}-try"
    tried = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True)
    if tried.returncode != 0:
        return f"network namespaces cannot be made here: {tried.stderr.strip()}"
    _run(f"ip netns del {name}")
    return None


def _run(script: str) -> None:
    """Run lines of shell."""
    done = subprocess.run(["sh", "-euc", script], capture_output=True, text=True)
    assert done.returncode == 0, f"{script}: {done.stderr}"


class Net:
    """A switch and its hosts, whose files are below `folder`, and their sockets below `sockets`,
    which has a short path. A context: in the end all of it is gone."""

    def __init__(self, folder: Path, sockets: Path) -> None:
        self.folder, self.sockets = folder, sockets
        self._prefix = f"mesh{os.getpid()}-"
        self._spaces: list[str] = []
        self.hosts: list[Host] = []
        self._switch = self._space("switch")
        _run(f"""
            ip -n {self._switch} link add name hub type bridge
            ip -n {self._switch} address add 10.77.0.1/16 dev hub
            ip -n {self._switch} link set hub up
            ip netns exec {self._switch} sh -c 'echo 0 > /proc/sys/net/ipv4/ip_forward'
        """)

    def _space(self, name: str) -> str:
        """A new namespace, with a loopback."""
        space = self._prefix + name
        _run(f"ip netns add {space} && ip -n {space} link set lo up")
        self._spaces.append(space)
        return space

    def host(self, name: str) -> Host:
        """A host on the switch."""
        space = self._space(name)
        address = f"10.77.1.{len(self._spaces)}"
        _run(f"""
            ip -n {self._switch} link add name {name} type veth peer name eth0 netns {space}
            ip -n {self._switch} link set dev {name} master hub up
            ip -n {space} address add {address}/16 dev eth0
            ip -n {space} link set eth0 up
            ip -n {space} route add default via 10.77.0.1
        """)
        return self._add(Host(self, name, space, address, (self._switch, name)))

    def behind_nat(self, name: str, *forwarded: int) -> Host:
        """A host that can dial all others, and that none of them can dial, but for the `forwarded`
        ports of its gateway."""
        gateway = self.host(f"{name}-gate")
        space = self._space(name)
        _run(f"""
            ip -n {gateway.space} link add name inside type veth peer name eth0 netns {space}
            ip -n {gateway.space} address add 192.168.7.1/24 dev inside
            ip -n {gateway.space} link set inside up
            ip netns exec {gateway.space} sh -c 'echo 1 > /proc/sys/net/ipv4/ip_forward'
            ip netns exec {gateway.space} nft 'table ip nat {{ chain leaving {{
                type nat hook postrouting priority 100; oifname eth0 masquerade; }}; }}'
            ip -n {space} address add 192.168.7.2/24 dev eth0
            ip -n {space} link set eth0 up
            ip -n {space} route add default via 192.168.7.1
        """)
        for port in forwarded:
            _run(f"""
                ip netns exec {gateway.space} nft 'table ip nat {{ chain entering {{
                    type nat hook prerouting priority -100;
                    iifname eth0 tcp dport {port} dnat to 192.168.7.2; }}; }}'
            """)
        return self._add(Host(self, name, space, "192.168.7.2", (gateway.space, "inside")))

    def _add(self, host: Host) -> Host:
        self.hosts.append(host)
        return host

    def close(self) -> None:
        """Switch off everything. The processes must have ended: they would keep their host."""
        for host in self.hosts:
            for command in host.commands:
                command.close()
        for space in reversed(self._spaces):
            _run(f"ip netns del {space}")


class Host:
    """A host: made by `Net`.

    Attributes:
        folder: for its files.
        space: the name of its network namespace.
        address: its own.
        access: the access file of a mesh whose router is here.
        commands: what was started on it.
    """

    def __init__(
        self, net: Net, name: str, space: str, address: str, plug: tuple[str, str]
    ) -> None:
        self.name, self.space, self.address, self._plug = name, space, address, plug
        self.folder = net.folder / name
        self.sockets = net.sockets / name
        self.access = self.folder / "access.json"
        self.commands: list[Command] = []
        self.folder.mkdir()
        self.sockets.mkdir()
        (self.folder / "tmp").mkdir()
        self.env = {
            "HOME": str(self.folder),
            "TMPDIR": str(self.folder / "tmp"),
            "XDG_RUNTIME_DIR": str(self.sockets),
            "PYTHONPATH": str(Path(mesh.__file__).parents[1]),
        }

    @property
    def inside(self) -> list[str]:
        """How a command begins that runs here."""
        into = ["ip", "netns", "exec", self.space, "unshare", "--uts", "sh", "-euc"]
        return [*into, f'hostname {self.name}; exec "$@"', "sh"]

    def start(self, *arguments: object) -> Command:
        """Start ``mesh ARGUMENTS`` here."""
        command = [*self.inside, sys.executable, "-m", "mesh", *map(str, arguments)]
        self.commands.append(Command(command, self.folder, os.environ | self.env))
        return self.commands[-1]

    def router(self, *options: object) -> Command:
        """Start ``mesh router`` here, open to others, and wait until it is there."""
        where = ["--listen", "any", "--dir", self.folder / "mesh", "--access", self.access]
        router = self.start("router", *where, *SOON, *options)
        while not router.line().startswith("join it"):
            pass
        return router

    def worker(self, access: Path, *options: object, store: str = "store") -> Command:
        """Start a worker with one slot here, and wait until it has joined."""
        where = ["--access", access, "--dir", self.folder / store]
        worker = self.start("worker", "--slots", 1, *where, *options)
        assert "joined" in worker.line()
        return worker

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Inside, this thread is on the host, and so is what it starts: threads, sockets."""
        before = [os.open(f"/proc/thread-self/ns/{kind}", os.O_RDONLY) for kind in ("net", "uts")]
        there = os.open(f"/var/run/netns/{self.space}", os.O_RDONLY)
        try:
            _check(_libc.setns(there, _CLONE_NEWNET))
            _check(_libc.unshare(_CLONE_NEWUTS))
            socket.sethostname(self.name)
            yield
        finally:
            for each in before:
                _check(_libc.setns(each, 0))
            for each in (*before, there):
                os.close(each)

    def cut(self) -> None:
        """Pull the plug: what is sent from now on gets lost, and no one is told."""
        self._link("down")

    def heal(self) -> None:
        """Put it in again."""
        self._link("up")

    def _link(self, how: str) -> None:
        _run(f"ip -n {self._plug[0]} link set dev {self._plug[1]} {how}")

    def block(self, port: int) -> None:
        """Drop what comes in for `port`."""
        _run(f"""
            ip netns exec {self.space} nft 'table inet wall {{ chain entering {{
                type filter hook input priority 0; iifname eth0 tcp dport {port} drop; }}; }}'
        """)

    def unblock(self) -> None:
        """Take it in again."""
        _run(f"ip netns exec {self.space} nft delete table inet wall")


def _check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
