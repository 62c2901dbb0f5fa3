"""Hosts, as people name them: ``user@host:port``, or lines of a file."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

#: ``user@host:port``; a host with colons is in brackets. Nothing that ssh takes for an option.
_HOST = re.compile(
    r"(?:(?P<user>[^@\s:/-][^@\s:/]*)@)?(?P<host>\[[0-9A-Fa-f:.%]+\]|[^@\s:/\[\]-][^@\s:/\[\]]*)"
    r"(?::(?P<port>\d{1,5}))?"
)


@dataclass(frozen=True)
class Host:
    """A host to be reached by ssh; `slots` of its own, or None for what the launcher says."""

    name: str
    user: str | None = None
    port: int | None = None
    slots: int | None = None

    @classmethod
    def parse(cls, text: str) -> Host:
        """``user@host:port``.

        Raises:
            ValueError: it is not.
        """
        found = _HOST.fullmatch(text)
        if found is None:
            raise ValueError(f"{text!r} is no host: give HOST, USER@HOST or USER@HOST:PORT")
        port = None if found["port"] is None else int(found["port"])
        return cls(found["host"].strip("[]"), found["user"], port)

    def __str__(self) -> str:
        port = "" if self.port is None else f":{self.port}"
        host = f"[{self.name}]" if ":" in self.name and port else self.name
        return f"{self.user}@{host}{port}" if self.user else f"{host}{port}"

    @property
    def destination(self) -> str:
        """What ssh takes; the port is an option of it."""
        return f"{self.user}@{self.name}" if self.user else self.name


def parse_all(hosts: Iterable[str | Host]) -> list[Host]:
    """Each host, once.

    Raises:
        ValueError: one is none, or named twice; or there is none.
    """
    found: list[Host] = []
    for each in hosts:
        host = each if isinstance(each, Host) else Host.parse(each)
        if any(replace(other, slots=None) == replace(host, slots=None) for other in found):
            raise ValueError(f"{host} is named twice: a host runs one worker; give it slots=N")
        found.append(host)
    if not found:
        raise ValueError("no hosts: name some, or a file of them")
    return found


def read(file: Path) -> list[Host]:
    """The hosts of a file: a line for each, such as ``user@n1:22 slots=8``; after ``#`` a comment.

    Raises:
        ValueError: a line is none; its number is said.
        OSError: it cannot be read.
    """
    found = []
    for number, line in enumerate(
        file.read_text(encoding="utf-8", errors="replace").splitlines(), 1
    ):
        words = line.partition("#")[0].split()
        try:
            if words:
                found.append(_with_slots(Host.parse(words[0]), words[1:]))
        except ValueError as error:
            raise ValueError(f"{file}, line {number}: {error}") from None
    return found


def _with_slots(host: Host, words: list[str]) -> Host:
    for word in words:
        name, _, value = word.partition("=")
        if name != "slots" or not value.isdecimal():
            raise ValueError(f"behind a host comes slots=N, not {word!r}")
        host = replace(host, slots=int(value))
    return host
