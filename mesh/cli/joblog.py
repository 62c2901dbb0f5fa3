"""The job log: a line for each job that has ended, in the columns of GNU parallel.

    Seq  Host  Starttime  JobRuntime  Send  Receive  Exitval  Signal  Command

A job without an exit code has Exitval -1. A line is written whole, when its job ends, so that what
a killed `mesh run` has left tells the next one how far it was: by the commands, not by numbers.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import click

from .jobs import Ending, Job

COLUMNS = (
    "Seq", "Host", "Starttime", "JobRuntime", "Send", "Receive", "Exitval", "Signal", "Command",
)  # fmt: skip


class Joblog:
    """The log in `file`.

    Args:
        file: its path.
        goes_on: what is there stays, and tells which jobs have `ended`.

    Raises:
        click.UsageError: the file cannot be written, or goes on and is no job log.
    """

    def __init__(self, file: str, *, goes_on: bool) -> None:
        self._option = f"--joblog {file}"
        self._ended: dict[bool, Counter[str]] = {True: Counter(), False: Counter()}
        try:
            if goes_on and Path(file).exists():
                self._read(file)
            how = os.O_WRONLY | os.O_CREAT | os.O_APPEND | (0 if goes_on else os.O_TRUNC)
            self._file = os.open(file, how | os.O_CLOEXEC, 0o666)
            if not os.fstat(self._file).st_size:
                self._write(COLUMNS)
        except OSError as error:
            raise click.UsageError(f"{self}: {error.strerror}") from None

    def __str__(self) -> str:
        return self._option

    def ended(self, job: Job, *, well: bool) -> bool:
        """Whether such a job is there that ended `well`, or badly; the next call is about the next
        such job."""
        known, command = self._ended[well], _flat(job.command)
        if not known[command]:
            return False
        known[command] -= 1
        return True

    def write(self, job: Job, ending: Ending) -> None:
        """A job has ended."""
        code = -1 if ending.exit_code is None else ending.exit_code
        self._write(
            (
                str(job.number),
                ending.host or "-",
                f"{ending.begun:.3f}",
                f"{ending.took_s:10.3f}",
                "0",
                str(len(ending.stdout)),
                str(code),
                str(ending.signal or 0),
                _flat(job.command),
            )
        )

    def close(self) -> None:
        """Nothing more is written."""
        os.close(self._file)

    def _write(self, cells: tuple[str, ...]) -> None:
        os.write(self._file, os.fsencode("\t".join(cells)) + b"\n")

    def _read(self, file: str) -> None:
        """Count what is there; a last line that a kill cut short is ended, and does not count."""
        raw = Path(file).read_bytes()
        lines = [os.fsdecode(line).split("\t", len(COLUMNS) - 1) for line in raw.split(b"\n")]
        if raw and tuple(lines[0]) != COLUMNS:
            raise click.UsageError(f"{self} is no job log: name another file")
        last: dict[tuple[str, str], bool] = {}  # a job that was run again has several lines
        for cells in lines[1:-1]:
            if len(cells) == len(COLUMNS):
                last[cells[0], cells[-1]] = cells[6:8] == ["0", "0"]
        for (_, command), well in last.items():
            self._ended[well][command] += 1
        if lines[-1] != [""]:
            with open(file, "ab") as cut:
                cut.write(b"\n")


def _flat(command: str) -> str:
    """A command as it stands in one line."""
    return command.replace("\n", "\0")
