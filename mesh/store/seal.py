"""The seal of a store: whether its data file is still as its last owner left it.

Beside the data file lies NAME-seal. While the store is being changed it says in which boot of the
machine and at which durability; once at rest, how long the data file is and when it was last
changed. So a store needs no look before it is used

- if it was at rest, and nobody has touched the data file since;
- if it was left open in this very boot: then its owner was killed, and what LMDB had written is
  in the page cache, whole and in order.

After another boot, without a seal, or if it is shorter than it says (`extent`), it is to be looked
at first (`inspection`). If it was being
changed at level `process` when the machine went down, it is not to be used at all: pages of several
commits may be mixed in ways that no look can tell (they were, in 1 of 20 simulated power cuts).

A seal is on the disk before the store is changed. It says nothing of disks that fail by themselves.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from .durability import Durability
from .extent import is_short

_BOOT = Path("/proc/sys/kernel/random/boot_id")

#: A seal is written in place, over the one before: it takes no room on a full disk, and is within
#: one sector, of which a power cut leaves all or nothing.
_BYTES = 256


def boot() -> str:
    """Which boot of the machine this is; "" where nobody says: then none is like another."""
    try:
        return _BOOT.read_text().strip()
    except OSError:
        return ""


class Seal:
    """The seal of the store whose data file is `data`."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self._file = data.with_name(f"{data.name}-seal")
        self.is_open = False

    def doubt(self) -> str | None:
        """Why the store is to be looked at before it is used, if it is."""
        if not self.data.is_file():
            return None  # a new one, or none at all
        why = self._broken()
        return "it ends before its last page" if why is None and is_short(self.data) else why

    def _broken(self) -> str | None:
        """Why the seal does not answer for the data file, if so."""
        is_empty = not self.data.stat().st_size
        said = self._read()
        if not said:
            return None if is_empty else "it has no seal"
        if "boot" not in said:
            return None if said == self._now() else "it was changed since it was closed"
        if said["boot"] != boot() or not said["boot"]:
            return "it was open when the machine went down"
        return "it was written to" if is_empty else None

    def is_torn(self) -> bool:
        """Whether it was being changed at level `process` when the machine went down."""
        is_broken = self.data.is_file() and self._broken() is not None
        return is_broken and self._read().get("durability") == "process"

    def open(self, durability: Durability) -> None:
        """The store is about to be changed. On the disk when this returns.

        Raises:
            OSError: it cannot be written.
        """
        self._write({"boot": boot(), "durability": durability})
        self.is_open = True

    def close(self) -> None:
        """All of the data file is on the disk, and nobody changes it from now on.

        Raises:
            OSError: it cannot be written.
        """
        self._write(self._now())
        self.is_open = False

    def _now(self) -> dict[str, Any]:
        status = self.data.stat()
        return {"size": status.st_size, "mtime_ns": status.st_mtime_ns}

    def _read(self) -> dict[str, Any]:
        try:
            said = json.loads(self._file.read_text())
        except (OSError, ValueError):
            return {}
        return said if isinstance(said, dict) else {}

    def _write(self, said: dict[str, Any]) -> None:
        write_synced(self._file, json.dumps(said).ljust(_BYTES))


def write_synced(file: Path, text: str) -> None:
    """Have a small `file` say `text`, and its name in the folder, on the disk."""
    is_new = not file.exists()
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.pwrite(descriptor, text.encode(), 0)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    if is_new:
        sync_folder(file.parent)


def sync_folder(folder: Path) -> None:
    """Have the names in `folder` on the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
