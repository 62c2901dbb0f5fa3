"""The tree of results: a folder for each job, named by its values, as GNU parallel lays it out.

    DIR/1/VALUE/2/VALUE/stdout    what the job wrote; in stderr, too
                        seq       its number
                        command   what was run
                        exit      its exit code, or a word for how else it ended; written last

What is there outlives everything. A job counts as ended if `exit` is there, and `command` is what
would be run.
"""

from __future__ import annotations

import os
from hashlib import blake2b
from pathlib import Path

import click

from .jobs import Ending, Job

#: File systems take 255 bytes; a longer value is cut, and told apart by a digest.
NAME_BYTES_MAX = 255

_DIGEST_BYTES = 8

#: What a file's name cannot hold, and what would lead elsewhere.
_ESCAPED = str.maketrans({"\\": "\\\\", "/": "\\_", "\0": "\\0"})
_LEADING = {"": "\\", ".": "\\.", "..": "\\.."}


class Jobtree:
    """The tree in `folder`.

    Raises:
        click.UsageError: it cannot be made.
    """

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise click.UsageError(f"{self}: {error.strerror}") from None

    def __str__(self) -> str:
        return f"--results {self._folder}"

    def ended(self, job: Job, *, well: bool) -> bool:
        """Whether this job is there, and ended `well`, or badly."""
        place = self._place(job)
        try:
            code = (place / "exit").read_text().strip()
            same = (place / "command").read_bytes() == os.fsencode(job.command)
        except OSError:
            return False
        return same and (code == "0") == well

    def write(self, job: Job, ending: Ending) -> None:
        """A job has ended."""
        place = self._place(job)
        place.mkdir(parents=True, exist_ok=True)
        (place / "exit").unlink(missing_ok=True)
        (place / "stdout").write_bytes(ending.stdout)
        (place / "stderr").write_bytes(ending.stderr)
        (place / "seq").write_text(str(job.number))
        (place / "command").write_bytes(os.fsencode(job.command))
        part = place / "exit.part"
        part.write_text(f"{0 if ending.error is None else ending.how.removeprefix('exit code ')}\n")
        part.replace(place / "exit")

    def _place(self, job: Job) -> Path:
        place = self._folder
        for source, value in enumerate(job.values, 1):
            place = place / str(source) / _name(value)
        return place


def _name(value: str) -> str:
    """A value as the name of a folder."""
    raw = os.fsencode(_LEADING.get(value) or value.translate(_ESCAPED))
    if len(raw) > NAME_BYTES_MAX:
        digest = blake2b(raw, digest_size=_DIGEST_BYTES).hexdigest().encode()
        raw = raw[: NAME_BYTES_MAX - len(digest) - 1] + b"-" + digest
    return os.fsdecode(raw)
