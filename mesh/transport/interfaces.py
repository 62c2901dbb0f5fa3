"""Interfaces: by which addresses others may reach a TCP socket of this host.

Addresses that are found are numeric. A name is looked up by libzmq in its I/O thread, each time it
connects: a slow name server stops every socket of the process. Only who advertises one has that.
"""

from __future__ import annotations

import fcntl
import ipaddress
import re
import socket
import struct
import sys
from pathlib import Path

from ..errors import MeshError

#: "The address of this interface", for IPv4: Linux's number, or that of macOS and the BSDs.
_SIOCGIFADDR = 0x8915 if sys.platform.startswith("linux") else 0xC0206921

#: Where Linux lists IPv6 addresses: address, index, prefix, scope, flags, name.
_IPV6 = Path("/proc/net/if_inet6")
_GLOBAL, _UNUSABLE = "00", 0x20 | 0x40 | 0x08  # deprecated, tentative, a duplicate

_TCP = re.compile(r"tcp://(?P<host>\[[0-9a-fA-F:.%a-z]+\]|[^:/\[\]]+):(?P<port>\d{1,5}|\*)")
PORT_MAX = 65_535

#: The host of an address that is dialled. In other characters libzmq, and we, would see more.
_DIALLED = re.compile(
    r"[0-9A-Za-z](?:[0-9A-Za-z._-]*[0-9A-Za-z])?|[0-9A-Fa-f:.]+(?:%[0-9A-Za-z]+)?"
)
_NO_HOST = frozenset({"*", "0.0.0.0", "::"})


def parse(address: str) -> tuple[str, int] | None:
    """Host, without brackets, and port of ``tcp://HOST:PORT``; None: it is none. Port 0 is any."""
    match = _TCP.fullmatch(address)
    if match is None:
        return None
    port = 0 if match["port"] == "*" else int(match["port"])
    return (match["host"].strip("[]"), port) if port <= PORT_MAX else None


def show(host: str, port: int) -> str:
    """The address that `parse` takes apart."""
    return f"tcp://[{host}]:{port}" if ":" in host else f"tcp://{host}:{port}"


def is_dialled(address: str) -> bool:
    """Whether `address` can be dialled: one host, by number or name, and one port of it."""
    host, port = parse(address) or ("*", 0)
    return port > 0 and host not in _NO_HOST and _DIALLED.fullmatch(host) is not None


def numeric(address: str) -> str:
    """`address` with a number for its host; ``*`` and names of this host are understood.

    Raises:
        MeshError: it is none, or nobody knows the name.
    """
    found = parse(address)
    if found is None:
        raise MeshError(f"{address!r} is no address: give tcp://HOST:PORT, or any")
    host, port = found
    if host == "*":
        return show("*", port)  # of IPv6 as well, where there is that
    try:
        known = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:  # the second: it can be no name at all
        raise MeshError(f"{address}: nobody knows {host!r} ({error}). Give a number") from None
    return show(str(known[0][4][0]), port)


def is_loopback(address: str) -> bool:
    """Whether only this host reaches `address`. One with a name, which somebody has written into an
    access file by hand, is taken for one that others reach."""
    host = (parse(address) or ("*", 0))[0]
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False


def here(address: str) -> str:
    """How this host reaches a socket that is bound to `address`."""
    host, port = parse(address) or ("", 0)
    return show("127.0.0.1" if host in ("0.0.0.0", "::") else host, port)


def published(address: str) -> list[str]:
    """How others may reach a socket that is bound to `address`: itself, or each address of this
    host if it is bound to all of them, the loopback's last."""
    host, port = parse(address) or ("", 0)
    if host not in ("0.0.0.0", "::"):
        return [address]
    found = [*_ipv4(), *(_ipv6() if host == "::" else ())]
    far = [each for each in found if not ipaddress.ip_address(each).is_loopback]
    return [show(each, port) for each in (*far, "127.0.0.1")]


def _ipv4() -> list[str]:
    found = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        for _, name in socket.if_nameindex():
            try:
                told = fcntl.ioctl(asked, _SIOCGIFADDR, struct.pack("256s", name.encode()[:15]))
            except OSError:
                continue  # it has none
            found.append(socket.inet_ntoa(told[20:24]))
    return found


def _ipv6() -> list[str]:
    try:
        rows = [line.split() for line in _IPV6.read_text().splitlines()]
    except OSError:
        return []  # IPv6 is off, or this is no Linux
    return [
        str(ipaddress.IPv6Address(bytes.fromhex(row[0])))
        for row in rows
        if row[3] == _GLOBAL and not int(row[4], 16) & _UNUSABLE
    ]
