"""Launched: what a launcher has started, known until it is over or cancelled.

Each is a file in ``~/.mesh/launches``, named by a number: whoever has the same home sees it, from
any host. No number is given twice, for people remember them: of what is over the file with the
highest stays, and says nothing any more, until there is a higher one. The access file that jobs
read, cut down to what a worker needs, lies beside them as long as there are some.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from ..errors import AccessDenied, LaunchFailed
from ..transport import private
from ..transport.access import Access, home

#: What is to leave by itself is looked at this often.
LOOK_S = 0.5


#: What they are called, should one not be readable.
KIND_OF_FILE = "file of what was launched"


class Look(NamedTuple):
    """How something that was launched is: a word, whether it has ended (None: that cannot be
    known), and why."""

    state: str
    is_over: bool | None
    why: str = ""


class Handed(NamedTuple):
    """What is handed over to a launch: of which mesh it is, where jobs find the access file, and
    where their output goes."""

    mesh: str
    access: Path
    log: Path


def folder() -> Path:
    """Where it is known what was started."""
    return home() / "launches"


def handed(mesh: str, number: int | None = None) -> Handed:
    """What launch `number` of `mesh` is given; by default the next."""
    number = _last() + 1 if number is None else number
    return Handed(mesh, folder() / f"access-{mesh}.json", folder() / f"{number}.log")


def hand_over(access: Access, *, far: bool = True) -> Access:
    """An access for workers; `far`: on other hosts.

    Raises:
        LaunchFailed: it does not lead there.
        AccessDenied: it is a client's.
    """
    if access.keys is None and not far:
        return access
    if access.keys is None or not any(each.startswith("tcp://") for each in access.addresses):
        raise LaunchFailed(
            f"mesh {access.mesh} cannot be reached from other hosts: start it with "
            f"`mesh up --listen any`, or Mesh(listen='any')"
        )
    return access.cut("worker")


def warn(line: str) -> None:
    """Tell the user of what could not be launched."""
    print(f"mesh: {line}", file=sys.stderr, flush=True)


@dataclass
class Launched:
    """Something that was launched.

    Attributes:
        mesh: for which mesh.
        launcher: by what: ``ssh``, ``slurm`` and so on.
        where: on which host, or on how many nodes.
        job: its process or job id, for people.
        host: where the launcher ran.
        kept: whether it stays when its mesh ends.
        log: where its output is.
        begun_at: unix time.
        number: its name; 0 before it has one.
    """

    kind: ClassVar[str] = ""

    mesh: str
    launcher: str
    where: str
    job: str
    host: str
    kept: bool
    log: str
    begun_at: float = field(default_factory=time.time)
    number: int = 0

    def __str__(self) -> str:
        return f"{self.launcher} {self.job} on {self.where}"

    def look(self) -> Look:
        """How it is."""
        raise NotImplementedError

    def said(self) -> str:
        """The end of what it has written, if that can be read here."""
        return ""

    def cancel(self) -> None:
        """Tell it to end.

        Raises:
            LaunchFailed: it cannot be told.
        """
        raise NotImplementedError

    def as_json(self) -> dict[str, Any]:
        """For a file."""
        return {"kind": self.kind} | asdict(self)

    def write(self) -> None:
        """Remember it."""
        self.number = self.number or reserve(self.mesh)
        private.write(folder() / f"{self.number}.json", self.as_json(), KIND_OF_FILE)

    def forget(self) -> None:
        """It is over: remove what lies about for it."""
        forget(self.mesh, self.number)

    def end(self, patience_s: float) -> None:
        """Give it `patience_s` to leave by itself, cancel it then, and forget it.

        Raises:
            LaunchFailed: it cannot be cancelled; it is remembered.
        """
        until = time.monotonic() + patience_s
        while (now := self.look()).is_over is False and time.monotonic() < until:
            if now.state != "running":  # what waits in a queue does not leave
                break
            time.sleep(LOOK_S)
        if not now.is_over:
            self.cancel()
        self.forget()


def reserve(mesh: str) -> int:
    """A number that nobody else has, for something of `mesh`."""
    folder().mkdir(mode=0o700, parents=True, exist_ok=True)
    for number in itertools.count(_last() + 1):
        with suppress(FileExistsError):
            file = folder() / f"{number}.json"
            descriptor = os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
            with open(descriptor, "w") as opened:
                json.dump({"mesh": mesh}, opened)
            _remove_spent(number)
            return number
    raise AssertionError("numbers have no end")


def forget(mesh: str, number: int) -> None:
    """What has this number is no more; with the last of its mesh goes what its workers read."""
    (folder() / f"{number}.log").unlink(missing_ok=True)
    file = folder() / f"{number}.json"
    if number == _last():
        private.write(file, {}, KIND_OF_FILE)
    else:
        file.unlink(missing_ok=True)
    if all(row.get("mesh") != mesh for row in rows()):
        handed(mesh, 0).access.unlink(missing_ok=True)


def _remove_spent(number: int) -> None:
    """Remove the files that say nothing, now that there is one with this `number`."""
    for each, file in _files().items():
        with suppress(FileNotFoundError, AccessDenied):  # somebody else has, or writes it
            if each < number and private.read(file, KIND_OF_FILE) == {}:
                file.unlink()


def _files() -> dict[int, Path]:
    """All that say what was launched, by number."""
    return {int(file.stem): file for file in folder().glob("*.json") if file.stem.isdecimal()}


def _last() -> int:
    return max(_files(), default=0)


def rows() -> list[dict[str, Any]]:
    """What they say, in their order."""
    found = []
    for _, file in sorted(_files().items()):
        with suppress(FileNotFoundError, AccessDenied):  # it is being written, or gone
            found.append(private.read(file, KIND_OF_FILE))
    return found
