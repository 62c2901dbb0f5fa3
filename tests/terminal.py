"""A terminal of one's own: a command runs in it, keys are pressed, and it can be torn away.

Linux: by a pseudoterminal and setsid(1).
"""

from __future__ import annotations

import os
import pty
import select
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

#: A command shows what is waited for, or ends, within this, or it is stuck.
PATIENCE_S = 20.0

CTRL_C, CTRL_D = b"\x03", b"\x04"


class Terminal:
    """Runs `command` in a new terminal, which is its controlling one: Ctrl-C goes to whoever is in
    its foreground, and all in its session hear when it is closed."""

    def __init__(self, command: Sequence[object], folder: Path, env: Mapping[str, str]) -> None:
        self._screen, inside = pty.openpty()
        self.process = subprocess.Popen(
            ["setsid", "--ctty", *map(str, command)],
            cwd=folder,
            env={**env, "TERM": "dumb"},
            stdin=inside,
            stdout=inside,
            stderr=inside,
        )
        os.close(inside)
        self._shown = b""

    @property
    def pid(self) -> int:
        """The command's own process: the leader of the terminal's session."""
        return self.process.pid

    def press(self, keys: bytes) -> None:
        """As if somebody typed."""
        os.write(self._screen, keys)

    def enter(self, line: str) -> None:
        """Type a line, and Enter."""
        self.press(line.encode() + b"\n")

    def until(self, text: str) -> str:
        """Wait until `text` is shown; what was shown up to its end, from where the last one was."""
        wanted = text.encode()
        while wanted not in self._shown:
            if not self._read():
                raise AssertionError(f"{text!r} was not shown, but: {self._shown.decode()}")
        before, _, self._shown = self._shown.partition(wanted)
        return _plain(before + wanted)

    def finish(self) -> tuple[int, str]:
        """Wait for the end of the command: its exit code, and what it has shown since."""
        while self._read():
            pass
        shown, self._shown = self._shown, b""
        return self.process.wait(PATIENCE_S), _plain(shown)

    def close(self) -> None:
        """Tear the terminal away, as who closes its window does."""
        if self._screen >= 0:
            os.close(self._screen)
            self._screen = -1

    def end(self) -> None:
        """Leave nothing of it."""
        self.close()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def _read(self) -> bool:
        """Take in what is shown next; False when nobody is left to show anything."""
        if not select.select([self._screen], [], [], PATIENCE_S)[0]:
            raise AssertionError(f"nothing happens any more; last shown: {self._shown.decode()}")
        try:
            more = os.read(self._screen, 65536)
        except OSError:  # EIO: nobody has the terminal open
            return False
        self._shown += more
        return bool(more)


def _plain(shown: bytes) -> str:
    return shown.decode(errors="replace").replace("\r\n", "\n")
