"""Command: a program or a line for the shell, as something that tasks can call.

It runs in a slot, as a child in the slot's process group: so a time limit, a cancellation and the
limit of memory reach all of it. What it writes goes into two files without a name, never through
memory. If its exit code is 0 both are the task's result; else the task fails with `CommandFailed`,
and what was written becomes the task's log, where it stays with the task. A live one's goes into
the log as it is written, too.
"""

from __future__ import annotations

import os
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import IO, Any, NamedTuple

from ..errors import CommandFailed
from ..processes.running import variables
from .template import Template

#: Of what a command that failed has written, so much of each stream is kept: head and tail. Both
#: together fit into a task's log, and are told apart there by their sizes.
FAILED_BYTES_MAX = 400 * 1024

#: Of its error stream the message has the last lines, and no more than so many characters.
TOLD_LINES = 5
TOLD_CHARS = 1000

#: Of a command, in lists of tasks.
NAME_CHARS_MAX = 80

#: The job's number, in the command's environment.
NUMBER_VARIABLE = "MESH_INDEX"

#: Taken out of a pipe at a time.
READ_BYTES = 64 * 1024

#: As shells say it: there is no such program; there is, and it cannot be run.
NOT_FOUND, NOT_RUNNABLE = 127, 126


class Completed(NamedTuple):
    """A command that ended with exit code 0.

    Attributes:
        stdout: what it wrote to its standard output.
        stderr: and to its standard error.
        took_s: how long it ran, in seconds.
        begun: when it began, in seconds since 1970.
        host: where it ran.

    Example:
        >>> done = m.submit(Command("sort {} | uniq -c"), "words.txt").result()
        >>> done.text, done.took_s
        ('      2 mesh', 0.004)
    """

    stdout: bytes
    stderr: bytes
    took_s: float
    begun: float
    host: str

    @property
    def text(self) -> str:
        """Its standard output as text (UTF-8), without the last end of a line."""
        return self.stdout.decode("utf-8", "surrogateescape").removesuffix("\n")


class Command:
    """A command with places for input values: what `Mesh.submit` and the like take as a function.

    Args:
        command: a text is a line for the shell, in which values are quoted safely; a sequence is
            a program with its arguments, which no shell sees. ``{}`` is the value, ``{.} {/} {//}
            {/.}`` parts of it as a path, ``{1} {2}`` one of several, ``{#}`` the job's number;
            without any of them the values follow at the end.
        live: what it writes is what its task prints, too, while it runs: see `Future.follow`.

    In its environment it has what `mesh.current()` tells: see `Running.environ`.

    Raises:
        ValueError: there is nothing to run, or a value could not be quoted where it stands.

    Example:
        >>> m.submit(Command("sort {} | uniq -c"), "words.txt").result().text
        '      2 mesh'
        >>> m.options(cwd="/data", env={"LC_ALL": "C"}).submit(Command(["gzip", "-k"]), "a")
    """

    def __init__(self, command: str | Sequence[str], *, live: bool = False) -> None:
        self.template = Template(command)
        self.words = command if isinstance(command, str) else tuple(command)
        self.live = live
        # By these a task's function is shown: `mesh tasks` tells the command, not this class.
        self.__module__ = "command"
        self.__qualname__ = _name([command] if isinstance(command, str) else command)

    def __repr__(self) -> str:
        return f"Command({self.words!r})"

    def __reduce__(self) -> Any:
        return _made, (self.words, self.live)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Command) and self.__reduce__() == other.__reduce__()

    def __hash__(self) -> int:
        return hash((self.words, self.live))

    def __call__(self, *values: object, number: int = 0) -> Completed:
        """Run it, in this process's group.

        Raises:
            CommandFailed: it could not be started, or ended with another exit code than 0.
            ValueError: the command names a value that is not there.
        """
        argv = self.template.argv([_text(value) for value in values], number)
        env = os.environ | variables() | ({NUMBER_VARIABLE: str(number)} if number else {})
        begun, start = time.time(), time.perf_counter()
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            sinks = (subprocess.PIPE, subprocess.PIPE) if self.live else (out, err)
            try:
                process = subprocess.Popen(
                    argv, env=env, stdin=subprocess.DEVNULL, stdout=sinks[0], stderr=sinks[1]
                )
            except OSError as error:
                raise _not_started(argv[0], error) from None
            try:
                if self.live:
                    _pass_on({process.stdout: out, process.stderr: err})
                code = process.wait()
            except BaseException:  # it was interrupted as well: it ends by itself, or is killed
                told = [] if self.live else [_tell(file) for file in (out, err)]
                process.wait()
                for file, at in zip((out, err), told):
                    _tell(file, at)
                raise
            took_s = time.perf_counter() - start
            if code:
                raise self._failed(argv, code, begun, took_s, out, err)
            return Completed(_all(out), _all(err), took_s, begun, socket.gethostname())

    def _failed(
        self,
        argv: list[str],
        code: int,
        begun: float,
        took_s: float,
        out: IO[bytes],
        err: IO[bytes],
    ) -> CommandFailed:
        """The error of a command that ended badly; what it wrote is now in the task's log."""
        name = argv[-1] if self.template.is_line else " ".join(argv)
        name = name if len(name) <= TOLD_CHARS else f"{name[:TOLD_CHARS]} …"
        how = f"exit code {code}" if code > 0 else signal.Signals(-code).name
        written, complaints = _clipped(out, 0, _size(out)), _clipped(err, 0, _size(err))
        said = complaints.decode("utf-8", "replace").strip().splitlines()[-TOLD_LINES:]
        told = "\n".join(said)[-TOLD_CHARS:]
        failed = CommandFailed(f"{name}: {how}" + (f": {told}" if told else ""))
        failed.exit_code, failed.signal = (code, None) if code > 0 else (None, -code)
        failed.begun, failed.took_s = begun, took_s
        if self.live:
            failed.stdout_bytes = None
        else:
            failed.stdout_bytes = len(written)
            _say(written)
            _say(complaints)
        return failed


def _made(words: str | tuple[str, ...], live: bool) -> Command:
    return Command(words, live=live)


def _not_started(program: str, error: OSError) -> CommandFailed:
    """The error of a command that is not there; said as a shell says it, on its standard error."""
    why = f"{program} cannot be run on {socket.gethostname()}: {error.strerror}"
    _say(f"{why}\n".encode("utf-8", "surrogateescape"))
    failed = CommandFailed(why)
    failed.stdout_bytes = 0
    failed.exit_code = NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_RUNNABLE
    return failed


def _name(words: Sequence[str]) -> str:
    """A command in one line that can be shown anywhere."""
    line = " ".join(" ".join(words).split())
    return line[:NAME_CHARS_MAX].encode("utf-8", "backslashreplace").decode()


def _text(value: object) -> str:
    """A value as a program takes it: paths, too."""
    if isinstance(value, (str, bytes, os.PathLike)):
        return os.fsdecode(value)
    return str(value)


def _pass_on(sinks: dict[Any, IO[bytes]]) -> None:
    """Write what comes out of pipes to their files, and to standard output at once; to their end,
    which is that of the last process that holds them."""
    with selectors.DefaultSelector() as selector:
        for pipe, file in sinks.items():
            selector.register(pipe, selectors.EVENT_READ, file)
        while selector.get_map():
            for ready, _ in selector.select():
                text = os.read(ready.fd, READ_BYTES)
                if text:
                    ready.data.write(text)
                    _say(text)
                else:
                    selector.unregister(ready.fileobj)
                    ready.fileobj.close()  # type: ignore[union-attr]


def _say(text: bytes) -> None:
    """Have the task print something."""
    sys.stdout.flush()
    sys.stdout.buffer.write(text)
    sys.stdout.buffer.flush()


def _tell(file: IO[bytes], at: int = 0) -> int:
    """Have the task print what is in a file from `at` on; up to where that is."""
    end = _size(file)
    _say(_clipped(file, at, end))
    return end


def _size(file: IO[bytes]) -> int:
    return os.fstat(file.fileno()).st_size


def _all(file: IO[bytes]) -> bytes:
    file.seek(0)
    return file.read()


def _clipped(file: IO[bytes], begin: int, end: int) -> bytes:
    """That stretch of a file; of much, head and tail. The file's position stays, which is also that
    of the command: it may still write."""
    descriptor, size = file.fileno(), end - begin
    if size <= FAILED_BYTES_MAX:
        return os.pread(descriptor, max(0, size), begin)
    half = FAILED_BYTES_MAX // 2
    head, tail = os.pread(descriptor, half, begin), os.pread(descriptor, half, end - half)
    return head + f"\n[... {size - 2 * half} bytes left out ...]\n".encode() + tail
