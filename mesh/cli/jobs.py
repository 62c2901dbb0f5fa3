"""Jobs of `mesh run`: a command with the values of one row, and how it ended."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple

from ..errors import CommandFailed, RouterUnreachable
from .exits import is_of_the_task

if TYPE_CHECKING:
    from ..client.future import Future

#: Of what a job is known by on a mesh.
KEY_BYTES = 12


class Job(NamedTuple):
    """One job.

    Attributes:
        number: from 1 on, in the order of the rows.
        values: its row.
        command: as a line that a shell would take.
        nth: among the jobs of the same command and values, from 1 on.
    """

    number: int
    values: tuple[str, ...]
    command: str
    nth: int = 1

    def id(self, where: str) -> str:
        """What tells it apart on a mesh: the command, its values, and `where` it runs, by which all
        else is meant that is the same for all jobs; not its number."""
        parts = [where, self.command, *self.values]
        digest = blake2b(digest_size=KEY_BYTES)
        for part in parts:
            raw = part.encode("utf-8", "surrogatepass")
            digest.update(len(raw).to_bytes(8, "little") + raw)
        return f"run-{digest.hexdigest()}" + (f"-{self.nth}" if self.nth > 1 else "")


class Ending(NamedTuple):
    """How a job ended.

    Attributes:
        stdout, stderr: what it wrote.
        exit_code: None if it has none: a signal ended it, or it never ran to its end.
        signal: the number of that signal.
        host: where it ran, if that is known.
        begun: in seconds since 1970, and `took_s` seconds long; 0 if that is not known.
        error: why it failed.
    """

    stdout: bytes
    stderr: bytes
    exit_code: int | None
    signal: int | None
    host: str
    begun: float
    took_s: float
    error: BaseException | None

    @property
    def how(self) -> str:
        """How it ended badly, in a few words that many jobs may share."""
        if self.signal is not None:
            return f"signal {self.signal}"
        return (
            type(self.error).__name__ if self.exit_code is None else f"exit code {self.exit_code}"
        )


def ending_of(future: Future) -> Ending:
    """How the job of a task ended, which it has. One whose result is gone has failed.

    Raises:
        RouterUnreachable: the mesh is gone.
    """
    done = error = None
    try:
        done = future.result()
    except RouterUnreachable:
        raise
    except Exception as raised:
        error = raised
    if done is not None:
        return Ending(done.stdout, done.stderr, 0, None, done.host, done.begun, done.took_s, None)
    failure = getattr(error, "failure", None)
    host = "" if failure is None else failure.host
    if isinstance(error, CommandFailed):
        log, _, _ = _last_words(future)
        size = len(log) if error.stdout_bytes is None else error.stdout_bytes
        return Ending(
            log[:size],
            log[size:],
            error.exit_code,
            error.signal,
            host,
            error.begun,
            error.took_s,
            error,
        )
    if error is None or not is_of_the_task(error):
        return Ending(b"", b"", None, None, "", 0.0, 0.0, error)
    log, begun, took_s = _last_words(future)
    return Ending(log, b"", None, None, host, begun, took_s, error)


def _last_words(future: Future) -> tuple[bytes, float, float]:
    """What a task has printed, as bytes: a command writes what it likes; when it began, and how
    many seconds it ran, if it did."""
    from ..protocol import outcome

    ended = future.outcome()
    found = outcome.parse(ended.body)
    log = found.log
    if found.flags & outcome.LOG_STORED:
        log = bytes(ended.fetch(outcome.parse_ref(log), None))
    return log, found.begun, found.took_s
