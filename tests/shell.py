"""A user's shell: a home and a folder of its own, and `mesh` commands run in it."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from ending import await_end

import mesh

#: A command says its next line, or ends, within this, or it is stuck.
PATIENCE_S = 30.0

#: The module in the shell's folder, which is installed nowhere.
SIM = '''
import os
import time

SCALE = 10

def run(x, seed=0):
    print("running", x)
    return {"x": x, "seed": seed}

def scaled(x):
    return x * SCALE

def echo(*args, **kwargs):
    return [list(args), kwargs]

def text(x):
    return f"text {x}"

def raw(n):
    return bytes(n)

def big(n):
    return "x" * n

def thing():
    return {1, (2, 3)}

def fail(message):
    print("about to fail")
    raise ValueError(message)

def fail_like_us(name):
    import mesh
    raise getattr(mesh, name, None) and getattr(mesh, name)("of the task") or TimeoutError("mine")

def leave(code):
    raise SystemExit(code)

def die(number):
    os.kill(os.getpid(), number)

def note(folder, i):
    with open(f"{folder}/{i}", "ab") as file:
        file.write(b".")
    time.sleep(0.05)
    return i

def clean_up(begun, trace):
    """Say that it runs, and stay; leave a trace when it is interrupted."""
    try:
        with open(begun, "w") as said:
            said.write("running")
        time.sleep(600)
    except KeyboardInterrupt:
        with open(trace, "w") as file:
            file.write("interrupted")
        raise

def hold(begun, gate, value=None):
    """Say at one named pipe that it runs, wait at another."""
    with open(begun, "w") as said:
        said.write("running")
    with open(gate) as opened:
        opened.read()
    return value
'''


class Done(NamedTuple):
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed, if that is one line of JSON."""
        (line,) = self.out.splitlines()
        return json.loads(line)

    @property
    def rows(self) -> list[Any]:
        """What it printed, as JSON Lines."""
        return [json.loads(line) for line in self.out.splitlines()]


class Command:
    """A command that runs. Its lines are read one by one, so that a test knows how far it is."""

    def __init__(
        self, command: list[str], folder: Path, env: dict[str, str], stdin: str = ""
    ) -> None:
        with tempfile.TemporaryFile() as given:
            given.write(stdin.encode())
            given.seek(0)
            self.process = subprocess.Popen(
                command,
                cwd=folder,
                env=env,
                stdin=given,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        assert self.process.stdout is not None and self.process.stderr is not None
        self._streams = {"out": self.process.stdout, "err": self.process.stderr}
        self._read = {"out": b"", "err": b""}

    def line(self, stream: str = "out") -> str:
        """The next line that it prints."""
        while b"\n" not in self._read[stream]:
            ready = select.select([self._streams[stream]], [], [], PATIENCE_S)[0]
            more = os.read(self._streams[stream].fileno(), 65536) if ready else b""
            if not more:
                self.process.kill()
                raise AssertionError(f"no further line; {self.finish()}")
            self._read[stream] += more
        line, _, self._read[stream] = self._read[stream].partition(b"\n")
        return line.decode()

    def send(self, number: int) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def finish(self) -> Done:
        """Wait for its end; what it has said that was not read. One that hangs says where."""
        try:
            out, err = self.process.communicate(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGABRT)
            out, err = self.process.communicate()
        return Done(
            self.process.returncode,
            (self._read["out"] + out).decode(),
            (self._read["err"] + err).decode(),
        )

    def close(self) -> None:
        """Leave nothing of it."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for stream in self._streams.values():
            stream.close()


class Shell:
    """Runs `mesh` commands in a folder and a home of its own.

    Args:
        folder: an empty one.
        sockets: one with a short path.
    """

    #: Every process that is started here inherits this mark in its environment.
    VARIABLE = "MESH_TEST_SHELL"

    def __init__(self, folder: Path, sockets: Path) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.work = folder / "work"
        self.home.mkdir()
        self.work.mkdir()
        (self.work / "sim.py").write_text(SIM)
        self.mark = uuid.uuid4().hex
        self.running: list[Command] = []
        root = str(Path(mesh.__file__).parents[1])
        self.env = os.environ | {
            "HOME": str(self.home),
            "XDG_RUNTIME_DIR": str(sockets),
            "PYTHONFAULTHANDLER": "1",
            "PYTHONPATH": root,
            self.VARIABLE: self.mark,
        }
        self.env.pop("MESH_ACCESS", None)

    def start(self, *arguments: object, stdin: str = "", **env: str) -> Command:
        """Start ``mesh ARGUMENTS``."""
        command = [sys.executable, "-m", "mesh", *map(str, arguments)]
        self.running.append(Command(command, self.work, self.env | env, stdin))
        return self.running[-1]

    def mesh(self, *arguments: object, code: int = 0, **env: str) -> Done:
        """Run ``mesh ARGUMENTS`` to its end, which must be with exit code `code`."""
        done = self.start(*arguments, **env).finish()
        assert done.code == code, done
        return done

    def up(self, *arguments: object) -> Command:
        """Start ``mesh up``, by default with two slots in ``folder/m``, and wait until it is up."""
        given = {"--slots": 2, "--dir": self.folder / "m"}
        defaults = [each for pair in given.items() if pair[0] not in arguments for each in pair]
        command = self.start("up", *defaults, *arguments)
        line = command.line()
        while not line.startswith(("stop it", "{")):
            line = command.line()
        return command

    def submit(self, *arguments: object) -> str:
        """The id of what ``mesh submit ARGUMENTS`` submitted."""
        return self.mesh("submit", *arguments).out.strip()

    def held(self) -> Held:
        """A task that runs until it is let go."""
        return Held(self)

    def python(self, source: str, *arguments: object) -> str:
        """Run a script; what it printed."""
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(source), *map(str, arguments)],
            cwd=self.work,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def processes(self) -> dict[int, str]:
        """The living processes that were started here, with their command lines."""
        wanted = f"{self.VARIABLE}={self.mark}".encode()
        found = {}
        for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
            try:
                if wanted in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                    line = Path(f"/proc/{pid}/cmdline").read_bytes()
                    found[pid] = line.replace(b"\0", b" ").decode(errors="replace")
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue  # it ended meanwhile, or is another user's
        return found

    def kill_all(self) -> None:
        """Kill -9 everything at once: nobody is left to notice the others' end."""
        pids = self.processes()
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in pids:
                try:
                    os.kill(pid, number)
                except ProcessLookupError:
                    pass
        assert all(map(await_end, pids))

    def left(self) -> list[str]:
        """The processes that have not ended, although there is nothing left for them to do."""
        return [
            f"process {pid}: {line}" for pid, line in self.processes().items() if not await_end(pid)
        ]

    def close(self) -> None:
        """End what still runs."""
        for command in self.running:
            command.close()
        self.kill_all()


class Held:
    """A task that runs until it is let go."""

    def __init__(self, shell: Shell) -> None:
        name = uuid.uuid4().hex
        self._begun, self._gate = shell.work / f"begun-{name}", shell.work / f"gate-{name}"
        os.mkfifo(self._begun)
        os.mkfifo(self._gate)
        self.call = ["sim:hold", self._begun, self._gate, "held"]

    def await_begin(self) -> None:
        """Wait until it runs."""
        with open(self._begun) as said:
            assert said.read() == "running"

    def let_go(self) -> None:
        """Let it end."""
        with open(self._gate, "w"):
            pass


@contextmanager
def shell_in(folder: Path) -> Iterator[Shell]:
    """A shell in `folder`; what it started must have ended with it."""
    sockets = Path(tempfile.mkdtemp(prefix="mesh-test-", dir="/tmp"))  # ipc paths must be short
    shell = Shell(folder, sockets)
    try:
        yield shell
        left = shell.left()
        assert not left, "left behind:\n" + "\n".join(left)
    finally:
        shell.close()
        shutil.rmtree(sockets)
