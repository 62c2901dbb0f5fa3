"""Tasks that the tests have run. They travel by value, as a user's own functions do.

Waiting is done at named pipes: opening one waits until the other side is there, so a test knows
that a task has begun, and a task that it may go on, without anybody sleeping.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def pipe_at(path: Path) -> str:
    """A new named pipe."""
    os.mkfifo(path)
    return str(path)


def let_go(pipe: str) -> None:
    """Let the task go on that waits at `pipe`, as soon as it is there."""
    with open(pipe, "w"):
        pass


@contextmanager
def open_gate(pipe: str) -> Iterator[None]:
    """Let all tasks go on that wait at `pipe`, or come to it while this lasts."""
    gate = os.open(pipe, os.O_RDWR)
    try:
        os.write(gate, bytes(64))  # each takes one
        yield
    finally:
        os.close(gate)


def heard_at(pipe: str) -> str:
    """What a task says at `pipe`: waits for it."""
    with open(pipe) as said:
        return said.read()


def hold(gate: str, value: Any = None) -> Any:
    """Wait at `gate`."""
    with open(gate) as opened:
        os.read(opened.fileno(), 1)
    return value


def say_and_hold(begun: str, gate: str, value: Any = None) -> Any:
    """Say the slot's pid at `begun`, then wait at `gate`."""
    with open(begun, "w") as said:
        said.write(str(os.getpid()))
    return hold(gate, value)


def say_and_sleep(begun: str, seconds: float) -> None:
    """Say the slot's pid at `begun`, then sleep."""
    with open(begun, "w") as said:
        said.write(str(os.getpid()))
    time.sleep(seconds)


def nap(seconds: float, value: Any = None) -> Any:
    """Sleep, as a task may."""
    time.sleep(seconds)
    return value


def note(folder: str, name: str, seconds: float = 0.0) -> str:
    """Leave a trace in `folder`, one byte a run, and return the name."""
    with open(f"{folder}/{name}", "ab") as file:
        file.write(b".")
    time.sleep(seconds)
    return name


def runs(folder: Path) -> dict[str, int]:
    """How often each name was noted."""
    return {path.name: path.stat().st_size for path in folder.iterdir()}


def fail(message: str) -> None:
    """Fail as user code does."""
    raise ValueError(message)


def fail_until(folder: str, runs: int) -> int:
    """Fail in all but the last of so many runs; how many there were."""
    with open(f"{folder}/runs", "ab") as file:
        file.write(b".")
        run = file.tell()
    if run < runs:
        raise OSError(f"run {run}")
    return run


def exit_at_once(code: int = 3) -> None:
    """End the slot's process without a word."""
    os._exit(code)


def kill_itself(number: int) -> None:
    """Die of a signal."""
    os.kill(os.getpid(), number)


def pid() -> int:
    """The slot's process id."""
    return os.getpid()


def pid_of_slot(_: Any) -> int:
    """The process that runs this."""
    return os.getpid()


def grow(megabytes: int, how: str) -> int:
    """Take so much memory, here or in a process of one's own, and stay there if it is much."""
    if how == "child":
        code = f"import sample_tasks; sample_tasks.grow({megabytes}, 'itself')"
        subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parent, check=True)
        return megabytes
    taken = bytearray(b"x") * (megabytes << 20)
    if megabytes > 100:
        time.sleep(60)
    return len(taken) >> 20


def clean_up_after(begun: str, trace: str, stubborn: bool) -> None:
    """Start a process, say its id and ours, and stay; leave a trace when we are interrupted."""
    child = subprocess.Popen(["sleep", "600"])
    try:
        with open(begun, "w") as said:  # inside: the interrupt may come as soon as it is heard
            said.write(f"{os.getpid()} {child.pid}")
        time.sleep(600)
    except KeyboardInterrupt:
        Path(trace).write_text("interrupted")
        time.sleep(600 if stubborn else 0)
        raise
