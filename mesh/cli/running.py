"""The running of jobs: begun on a mesh as it takes them, printed and recorded as they end."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from ..errors import CommandFailed, RouterUnreachable, TaskNotFound
from ..task import State
from .amounts import Share
from .feed import Feed
from .jobs import Ending, Job, ending_of
from .lines import many, warn
from .plan import Plan
from .printer import Printer

if TYPE_CHECKING:
    from ..client.future import Future
    from ..client.mesh import Mesh
    from ..client.view import View

#: So many jobs are on their way, and so many for each slot: then no slot waits for the next one.
ON_WAY_MIN = 1024
ON_WAY_PER_SLOT = 4

#: It is asked this often how many slots there are: workers come and go.
SLOTS_EVERY_S = 10.0

#: It is told at least this often how far it is.
TELL_EVERY_S = 1.0

#: A share of failures counts from so many on, as for GNU parallel.
FAILED_MIN = 3

_FAILED = {State.FAILED.word, State.CANCELLED.word, State.EXPIRED.word}


class Running:
    """Runs the jobs of `plan` on `mesh`.

    Args:
        options: of the tasks.
        named: tasks have ids of their own, by which the mesh knows them again.
        at_once: so many at once; None: as many as there are slots.
        max_fails: no more are begun when so many have failed. Then none waits at a worker, either.
        printer: prints what they write.

    Attributes:
        done, failed: how many have ended so far, and how.
    """

    def __init__(
        self,
        plan: Plan,
        mesh: Mesh,
        options: dict[str, object],
        *,
        named: bool,
        at_once: int | None,
        max_fails: Share | None,
        printer: Printer,
    ) -> None:
        self._plan = plan
        self._mesh = mesh
        self._view: View = mesh.options(**options)
        self._named = named
        self._where = repr((plan.command.words, options.get("cwd"), options.get("env")))
        self._on_way, self._slots_at = at_once or 0, None if at_once else 0.0
        self._max_fails = max_fails
        self._printer = printer
        self._failures: dict[str, tuple[int, Job, BaseException | None]] = {}
        self.done = self.failed = 0

    def run(self, show: Callable[..., None]) -> None:
        """Run them all.

        Args:
            show: is told how far it is; see `Bar.show`.

        Raises:
            MeshError: the mesh is gone, or a job's values are none for its command.
            click.ClickException: that a job has ended cannot be written down.
            BrokenPipeError: nobody reads what jobs write any more.
        """
        jobs = self._plan.jobs(self._has_failed if self._named else None)
        feed = Feed(jobs, self._submit, self._at_once)
        is_stopped = False
        show(0, 0, total=self._plan.total())  # the rate is that from here on
        for turn in feed.turns(TELL_EVERY_S):
            if turn is not None:
                ending = ending_of(turn.future)
                is_ours = not is_stopped or not turn.future.cancelled()
                if is_ours:
                    self._take(turn.job, ending)
                self._printer.take(turn.nth, turn.task, turn.job, ending)
                feed.settled(self._printer.printed)
            self._printer.check()
            if not is_stopped and self._is_too_much():
                is_stopped = True
                warn(f"{many(self.failed, 'job')} failed: no more are begun")
                feed.stop()
            show(self.done, self.failed, total=self._plan.total())

    def digest(self) -> list[str]:
        """How it ended, in lines: nothing, if nothing has failed."""
        lines = [f"{self.done:,} done, {self.failed:,} failed"] * bool(self.failed)
        ordered = sorted(self._failures.items(), key=lambda each: -each[1][0])
        for how, (count, job, error) in ordered:
            why = "" if isinstance(error, CommandFailed) and error.exit_code else f": {error}"
            lines.append(f"  {count:,}× {how}, first job {job.number:,}: {job.command}{why}")
        return lines

    def unfinished(self) -> str:
        """How far it was when it was given up."""
        told = f"{self.done:,} done, {self.failed:,} failed"
        total = self._plan.total()
        return told if total is None else f"{told}, {total - self.done - self.failed:,} unfinished"

    def remedy(self) -> str:
        """How to go on."""
        if self._named or self._plan.records:
            return "--resume goes on with what is left"
        return (
            "with --joblog FILE, --results DIR or --name NAME --resume the next run can be resumed"
        )

    def _take(self, job: Job, ending: Ending) -> None:
        for record in self._plan.records:
            try:
                record.write(job, ending)
            except OSError as refusal:
                raise click.ClickException(
                    f"{record} cannot take that job {job.number:,} has ended: {refusal}. "
                    f"{self.unfinished()}; {self.remedy()}"
                ) from None
        if ending.error is None:
            self.done += 1
            return
        self.failed += 1
        count, first, error = self._failures.get(ending.how, (0, job, ending.error))
        if job.number < first.number:
            first, error = job, ending.error
        self._failures[ending.how] = (count + 1, first, error)

    def _is_too_much(self) -> bool:
        limit = self._max_fails
        if limit is None or limit.is_percent and self.failed < FAILED_MIN:
            return False
        return self.failed >= max(1, limit.of(self.done + self.failed))

    # -- in the thread that begins jobs --------------------------------------------------------

    def _submit(self, job: Job) -> Future:
        command, view, number = self._plan.command, self._view, {"number": job.number}
        if self._named:
            view = view.options(id=job.id(self._where))
            number = number if command.template.uses_number else {}
        future = view.submit(command, *job.values, **number)
        self._printer.begin(future.id, job)
        return future

    def _has_failed(self, job: Job) -> bool:
        """Whether the mesh knows that a job has failed."""
        try:
            return self._mesh.future(job.id(self._where)).explain()["state"] in _FAILED
        except TaskNotFound:
            return False

    def _at_once(self) -> int:
        """How many may be on their way."""
        if self._slots_at is not None and time.monotonic() >= self._slots_at:
            self._slots_at = time.monotonic() + SLOTS_EVERY_S
            try:
                slots = self._mesh.wait_for_slots(0)
            except RouterUnreachable:  # it may come back, and then all goes on
                return max(1, self._on_way)
            ample = max(ON_WAY_MIN, ON_WAY_PER_SLOT * slots)
            self._on_way = ample if self._max_fails is None else max(1, slots)
        return self._on_way
