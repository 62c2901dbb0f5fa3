"""The plan of `mesh run`: which jobs are to run, by values and by what earlier runs have left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import click

from .joblog import Joblog
from .jobs import Job
from .jobtree import Jobtree
from .rows import Row, Sources

if TYPE_CHECKING:
    from ..client.command import Command

#: What keeps how jobs ended.
Record = Joblog | Jobtree


class Plan:
    """What is to be run.

    Args:
        command: the command.
        sources: the values.
        records: what earlier runs have left, and this one leaves.
        resume: what is done is not run again.
        retry_failed: nor is what has not failed.

    Attributes:
        left_out: how many jobs are not to be run, of those that were looked at so far.
    """

    def __init__(
        self,
        command: Command,
        sources: Sources,
        records: Sequence[Record],
        *,
        resume: bool,
        retry_failed: bool,
    ) -> None:
        self.command = command
        self.records = records
        self.goes_on = resume or retry_failed
        self.left_out = 0
        self._sources = sources
        self._retry_failed = retry_failed

    def total(self) -> int | None:
        """How many jobs are to be run, as far as is known; None if the values are not counted."""
        count = self._sources.count()
        return None if count is None else count - self.left_out

    def jobs(self, has_failed: Callable[[Job], bool] | None = None) -> Iterator[Job]:
        """The jobs that are to run. `has_failed` knows more than the records of what was before.

        Raises:
            click.ClickException: the values of one are none for this command.
        """
        seen: Counter[tuple[str, Row]] = Counter()
        for number, values in enumerate(self._sources, 1):
            job = self._job(number, values)
            if self.goes_on:
                seen[job.command, values] += 1
                job = job._replace(nth=seen[job.command, values])
                if not self._is_wanted(job, has_failed):
                    self.left_out += 1
                    continue
            yield job

    def _job(self, number: int, values: Row) -> Job:
        try:
            if any("\0" in value for value in values):
                raise ValueError("a NUL in it: give -0, if values end with NUL")
            return Job(number, values, self.command.template.shown(values, number))
        except ValueError as error:
            raise click.ClickException(f"input {number}: {error}") from None

    def _is_wanted(self, job: Job, has_failed: Callable[[Job], bool] | None) -> bool:
        if any([record.ended(job, well=True) for record in self.records]):
            return False
        if not self._retry_failed:
            return True
        failed = any([record.ended(job, well=False) for record in self.records])
        return failed or has_failed is not None and has_failed(job)
