"""Checkup: what `mesh doctor` looks at of a mesh: the way from here to its router and workers, and
what these say of themselves. It begins nothing there and changes nothing."""

from __future__ import annotations

import concurrent.futures
import os
import platform
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.dialling import ADDRESSES_MAX
from ..errors import AccessDenied, MeshError, VersionMismatch
from ..processes.carrier import reachable
from ..processes.serve import DataPort, data_address
from ..protocol import version
from ..transport.access import Access, check_protocol
from ..transport.descriptors import is_scarce
from ..transport.interfaces import is_loopback
from ..transport.keys import ADMIN, WORKER
from ..transport.probe import probe
from ..transport.target import Target
from .finding import FAIL, OK, WARN, Finding
from .lines import many
from .machine import check_folder, is_old
from .place import Place

if TYPE_CHECKING:
    from ..client.mesh import Mesh

#: Nothing of a mesh depends on clocks that agree; who reads its logs does.
SKEW_S = 2.0

#: So many workers are dialled: if these can be reached others like them can.
DIALLED_MAX = 32


class Checkup:
    """All checks of the mesh of `place`. One that fails ends what depends on it. `data_port` is
    that which a worker here would have: 0 for any, NO_PORT for none."""

    def __init__(self, place: Place, data_port: int) -> None:
        self._place, self._data_port = place, data_port

    def findings(self) -> Iterator[Finding]:
        """What is found, as it is found."""
        try:
            access = self._place.read()
            yield _access(access)
            check_protocol(access)
        except AccessDenied as error:
            yield Finding("access", FAIL, str(error), "use a file of your own, with mode 0600")
            return
        except MeshError as error:  # there is none, or it is of another version
            yield Finding("access", FAIL, str(error))
            return
        is_there = False
        for finding in _addresses(access):
            is_there |= finding.verdict == OK
            yield finding
        if not is_there:
            return
        try:
            with self._place.join() as mesh:
                before = time.time()
                told = mesh.status()
                clock_s = (before + time.time()) / 2
                back = list(_way_back(mesh, access, self._data_port))
        except VersionMismatch as error:
            yield Finding("python", FAIL, str(error), "see --python and --setup of mesh launch")
            return
        except (MeshError, concurrent.futures.TimeoutError) as error:
            if type(error) is AccessDenied and access.keys and access.keys.role == WORKER:
                text = "it lets this key in; what it knows it tells clients and admins"
                yield Finding("router", OK, text)  # it would have named the wrong Python first
                yield Finding("python", OK, f"{platform.python_version()} here, which it takes")
                return
            yield Finding("router", FAIL, str(error), "see router.log in the mesh's folder")
            return
        yield from _told(access, told, clock_s)
        yield from back


def _access(access: Access) -> Finding:
    keys = "no keys: of a mesh on one host"
    if access.keys is not None:
        keys = f"the keys of {'an admin' if access.keys.role == ADMIN else 'a ' + access.keys.role}"
    return Finding("access", OK, f"{access.path or 'standard input'}, mesh {access.mesh}, {keys}")


def _addresses(access: Access) -> Iterator[Finding]:
    """Whether the router lets us in, at each of its addresses. One that does is enough."""
    dialled = {each.partition("#")[0]: each for each in access.dialled()}
    came = probe(dialled.values(), access.own)
    is_there = any(isinstance(each, float) for each in came.values())
    for address in access.addresses:
        if address not in dialled:
            why = (
                "a socket on another host"
                if address.startswith("ipc")
                else "for which it has no keys"
            )
            yield Finding("address", OK if is_there else WARN, f"{address} is {why}")
            continue
        told = came[dialled[address]]
        if isinstance(told, float):
            yield Finding("address", OK, f"{address} answers after {told * 1000:.0f} ms")
            continue
        if access.host not in ("", socket.gethostname()) and is_loopback(address):
            text = f"{address} is the loopback of {access.host}"
            yield Finding("address", OK if is_there else WARN, text)
            continue
        text = told if told.startswith(address) else f"{address}: {told}"
        yield Finding("address", WARN if is_there else FAIL, text, _way(told))
    if not access.addresses:
        text = "it names none: its router has not been started"
        yield Finding("address", FAIL, text, "start it with `mesh router --access FILE`")
    elif not is_there and not dialled:
        yield Finding(
            "address", FAIL, "none can be dialled from here", "start it with --listen any"
        )


def _way(told: str) -> str:
    """What to do about an address that did not let us in."""
    if "nobody knows" in told:
        return "write it into the access file, or see to the names that this host knows"
    if "key" in told:
        return "have a new file made with `mesh access show --role ROLE`"
    if told == "no answer":
        return "see that no firewall drops what is sent to this port"
    return "see that the mesh runs, and that the file is of its last start"


def _told(access: Access, told: dict[str, Any], clock_s: float) -> Iterator[Finding]:
    """What follows from the mesh's own account of itself."""
    workers = [each for each in told["workers"] if each["connected"]]
    slots = sum(len(each["slots"]) for each in workers)
    text = f"process {told['router']['pid']}; {many(len(workers), 'worker')}, {many(slots, 'slot')}"
    if slots:
        yield Finding("router", OK, text)
    else:
        yield Finding("router", WARN, text, "start some with `mesh worker` or `mesh launch`")
    yield from _pythons(told["router"]["versions"])
    for who, runs in _processes(told, "versions"):
        if runs.get("mesh", version.MESH) != version.MESH:
            text = f"{who} runs Mesh {runs['mesh']}, and this is {version.MESH}"
            yield Finding("versions", WARN, text, "they understand each other, but install one")
        if is_old(runs):
            text = f"{who} has pyzmq {runs['pyzmq']}, which encrypts slowly"
            yield Finding("versions", WARN, text, "pip install -U pyzmq there")
    yield from _clocks(told, clock_s)
    yield from _descriptors(told)
    yield from _data_ports(access, workers)
    if access.folder and access.host in ("", socket.gethostname()) and os.path.isdir(access.folder):
        yield from check_folder("its folder", Path(access.folder))


def _processes(told: dict[str, Any], what: str) -> Iterator[tuple[str, Any]]:
    """What router and workers have said of `what`."""
    yield "the router", told["router"][what]
    for worker in told["workers"]:
        if worker[what]:
            yield f"worker {worker['id']} on {worker['host']}", worker[what]


def _pythons(runs: dict[str, str]) -> Iterator[Finding]:
    theirs = version.minor(runs["python"])
    if theirs == version.PYTHON:
        yield Finding("python", OK, f"{theirs} there, and here")
    else:
        text = f"{theirs} there, {version.PYTHON} here: what is submitted from here is refused"
        yield Finding(
            "python", FAIL, text, f"use Python {theirs} here, or start the mesh with yours"
        )


def _clocks(told: dict[str, Any], clock_s: float) -> Iterator[Finding]:
    ahead = {"the router": told["router"]["clock_s"] - clock_s}
    ahead |= {
        f"worker {each['id']} on {each['host']}": ahead["the router"] + each["skew_s"]
        for each in told["workers"]
        if each["connected"]
    }
    wrong = {who: skew for who, skew in ahead.items() if abs(skew) > SKEW_S}
    for who, skew in wrong.items():
        text = (
            f"that of {who} is {abs(skew):.1f} s {'ahead of' if skew > 0 else 'behind'} this host's"
        )
        advice = "the mesh works all the same, its logs mislead: run an NTP client there"
        yield Finding("clocks", WARN, text, advice)
    if not wrong:
        most = max(map(abs, ahead.values()))
        yield Finding("clocks", OK, f"{len(ahead)} are at most {most:.1f} s from this host's")


def _descriptors(told: dict[str, Any]) -> Iterator[Finding]:
    said = [(who, count) for who, count in _processes(told, "descriptors") if len(count) == 2]
    scarce = [each for each in said if is_scarce(*each[1])]
    for who, (count, limit) in scarce:
        text = f"{who} has {count} of {limit} open files"
        yield Finding("open files", WARN, text, "start it after ulimit -Hn with a larger number")
    if not scarce:
        count, limit = told["router"]["descriptors"]
        yield Finding("open files", OK, f"the router has {count} of {limit}, workers enough")


def _data_ports(access: Access, workers: list[dict[str, Any]]) -> Iterator[Finding]:
    """Whether results can be fetched from workers directly; else they come through the router."""
    here = socket.gethostname()
    ways: dict[str, list[str]] = {}
    for each in workers[:DIALLED_MAX]:
        near = each["host"] == here
        ways[f"{each['id']} on {each['host']}"] = reachable(
            str(each["data"] or ""), is_here=near, own=access.own
        )
    came = probe([each for way in ways.values() for each in way], access.own)
    shut = 0
    for who, way in ways.items():
        if any(isinstance(came[each], float) for each in way):
            continue
        shut += 1
        why = ", ".join(f"{each.partition('#')[0]}: {came[each]}" for each in way) or "it has none"
        text = f"that of worker {who} cannot be reached ({why})"
        advice = "its results come through the router, slower: open that port, or see --data-port"
        yield Finding("data ports", WARN, text, advice)
    if ways and not shut:
        tried = "" if len(workers) == len(ways) else f", {len(ways)} of them tried"
        yield Finding("data ports", OK, f"{many(len(workers), 'worker')} can be reached{tried}")


def _way_back(mesh: Mesh, access: Access, data_port: int) -> Iterator[Finding]:
    """Whether the workers of a mesh on several hosts could fetch from one on this host."""
    listen = None if access.keys is None else data_address(access, DataPort(data_port))
    if listen is None:
        return
    try:
        with Target(access.mesh, listen) as target:
            ours = target.addresses[:ADDRESSES_MAX]
            told = mesh.dial(ours, target.visitor)
    except MeshError as error:
        advice = "nobody knows whether others could fetch from a worker here; see --data-port"
        yield Finding("way back", WARN, str(error), advice)
        return
    where = ", ".join(each.partition("#")[0] for each in ours)
    shut = 0
    for who, (host, came) in told.items():
        if came and any(isinstance(each, float) for each in came.values()):
            continue
        shut += 1
        tried = {each.partition("#")[0]: why for each, why in (came or {}).items()}
        why = ", ".join(f"{each}: {why}" for each, why in tried.items()) or "it has not said why"
        text = f"worker {who} on {host} does not reach this host ({why})"
        advice = "it gets results from a worker here through the router, slower: open a port to it"
        yield Finding("way back", WARN, text, f"{advice}, and try that with --data-port")
    if told and not shut:
        yield Finding("way back", OK, f"{many(len(told), 'host')} can reach {where}")
