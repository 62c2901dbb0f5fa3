"""What a user runs beside a test: a script, another worker, by interpreters of their own."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mesh

#: What is run imports the mesh that is tested.
ROOT = str(Path(mesh.__file__).parents[1])

#: A script says its next line within this, or is stuck.
LINE_S = 20.0


class Script:
    """A script that runs. Its lines are read one by one, so that a test knows how far it is."""

    def __init__(
        self, folder: Path, source: str, arguments: tuple[Any, ...], environment: dict[str, str]
    ) -> None:
        file, text = folder / "script.py", textwrap.dedent(source)
        if not file.exists() or file.read_text() != text:  # another may be reading it just now
            file.write_text(text)
        path = os.pathsep.join([ROOT, os.environ.get("PYTHONPATH", "")])
        self.process = subprocess.Popen(
            [sys.executable, str(file), *map(str, arguments)],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": path.strip(os.pathsep)} | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self._printed = b""
        self._error = b""

    @property
    def pid(self) -> int:
        """The script's own process."""
        return self.process.pid

    def line(self) -> str:
        """The next line that it prints."""
        assert self.process.stdout is not None
        while b"\n" not in self._printed:
            ready = select.select([self.process.stdout], [], [], LINE_S)[0]
            more = os.read(self.process.stdout.fileno(), 65536) if ready else b""
            if not more:
                self.kill()
                raise AssertionError(f"no further line; {self.errors()}")
            self._printed += more
        line, _, self._printed = self._printed.partition(b"\n")
        return line.decode()

    def kill(self) -> None:
        """End the script, and it alone, as kill -9 does."""
        self.send(signal.SIGKILL)
        self.process.wait()

    def send(self, number: int) -> None:
        """Send it a signal."""
        if self.process.poll() is None:
            self.process.send_signal(number)

    def finish(self, timeout_s: float = 30.0) -> str:
        """Wait for its end; what else it has printed. It must have ended well."""
        rest, self._error = self.process.communicate(timeout=timeout_s)
        printed = (self._printed + rest).decode()
        self._printed = b""
        assert self.process.returncode == 0, f"exit code {self.process.returncode}; {self.errors()}"
        return printed

    def errors(self) -> str:
        """What it has written to its standard error. It must have ended."""
        assert self.process.stderr is not None
        if not self.process.stderr.closed:
            self._error += self.process.stderr.read()
            self.process.stderr.close()
        return self._error.decode(errors="replace")

    def close(self) -> None:
        """Leave nothing of it."""
        if self.process.poll() is None:
            self.kill()
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()


def start_worker(
    access: Path,
    folder: Path,
    slots: int,
    *options: object,
    stderr: int | None = None,
    into: Sequence[str] = (),
) -> subprocess.Popen[bytes]:
    """Start a further worker on the mesh of `access`, as a host would; by the command `into`, which
    becomes the one behind it. It may not be there yet."""
    command = [*into, sys.executable, "-m", "mesh", "worker", "--access", access, "--dir", folder]
    return subprocess.Popen(
        [*map(str, [*command, "--slots", slots, *options])],
        env=os.environ | {"PYTHONPATH": ROOT},
        cwd=folder.parent,
        stdout=subprocess.DEVNULL,
        stderr=stderr,
    )


@contextmanager
def another_worker(
    access: Path, folder: Path, slots: int, *options: object, into: Sequence[str] = ()
) -> Iterator[subprocess.Popen[bytes]]:
    """A further worker on the mesh of `access`; it is told to go in the end."""
    worker = start_worker(access, folder, slots, *options, into=into)
    try:
        yield worker
    finally:
        if worker.poll() is None:
            worker.send_signal(signal.SIGINT)
        assert worker.wait(20) is not None
