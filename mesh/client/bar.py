"""Bar: how far some work is, shown on standard error while it lasts.

On a terminal and in a notebook tqdm draws it, if it is there (``pip install 'meshrun[progress]'``);
elsewhere, in a job's log, it is a few quiet lines. Who has work says how far it is as often as it
likes, once a second or more often: how often that is shown is decided here. Nothing else than
standard error is written to, and nothing is asked of the mesh.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from importlib.util import find_spec
from typing import Any, Protocol, TextIO

from ..options import show_seconds

#: A line is due when another tenth has ended, or after so long; and none sooner than the third
#: after the one before: a job's log is read later, by people.
LINE_PARTS = 10
LINE_EVERY_S = 60.0
LINE_PAUSE_S = 5.0

#: Who has work says how far it is at least this often: an estimate of the time left must not stand.
SHOW_EVERY_S = 1.0

#: Of a terminal that does not know. On none of 0 rows would anything be drawn.
COLUMNS, ROWS = 80, 24

#: Those that are shown just now.
_shown: list[Bar] = []


class _Painter(Protocol):
    def show(
        self, done: int, failed: int, running: int | None, total: int | None, now: float
    ) -> None: ...

    def aside(self) -> Any: ...

    def close(self) -> None: ...


class Bar:
    """How far `total` tasks are. A context manager; what is shown last stays.

    Args:
        total: how many there are; None if that is not known. A later `show` may know better.
        to: where it is shown; default standard error.

    Example:
        >>> with Bar(1000) as bar:
        ...     bar.show(done=420, failed=3, running=8)
        ...     with bar.aside():
        ...         print("a line that the bar must not tear")
    """

    def __init__(self, total: int | None, *, to: TextIO | None = None) -> None:
        self._total = total
        self._to = sys.stderr if to is None else to
        self._painter = _painter(self._to)
        _shown.append(self)

    def show(
        self, done: int, failed: int = 0, running: int | None = None, total: int | None = None
    ) -> None:
        """How far it is now.

        Args:
            done: tasks that have succeeded.
            failed: tasks that have ended otherwise.
            running: tasks that run just now, if that is known.
            total: how many there are, if that has changed.
        """
        self._total = self._total if total is None else total
        self._painter.show(done, failed, running, self._total, time.monotonic())

    @contextmanager
    def aside(self) -> Iterator[None]:
        """While something else is printed the bar is out of the way."""
        with self._painter.aside():
            yield

    def say(self, line: str) -> None:
        """Say a line beside it."""
        with self.aside():
            print(f"mesh: {line}", file=self._to, flush=True)

    def close(self) -> None:
        """Nothing more will be shown."""
        self._painter.close()
        if self in _shown:
            _shown.remove(self)

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *about: object) -> None:
        self.close()


@contextmanager
def beside() -> Iterator[None]:
    """While something is printed by who knows of no bar: those that are shown are out of the
    way."""
    with ExitStack() as stack:
        for bar in list(_shown):
            stack.enter_context(bar.aside())
        yield


class Lines:
    """Progress as lines, of which `say` takes each."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._begun: tuple[float, int] | None = None  # when, and how many had ended by then
        self._said = (0.0, 0, 0)  # when, how many had ended, and which part that is
        self._unsaid: str | None = None

    def show(
        self, done: int, failed: int, running: int | None, total: int | None, now: float
    ) -> None:
        """How far it is at `now`."""
        ended = done + failed
        part = ended * LINE_PARTS // total if total else 0
        if self._begun is None:
            self._begun = (now, ended)
            self._said = (now, ended, part)
        self._unsaid = self._line(ended, failed, running, total, now)
        at, before, last = self._said
        pause = LINE_PAUSE_S if part > last else LINE_EVERY_S
        if ended > before and now - at >= pause:
            self._said = (now, ended, part)
            self.close()

    def aside(self) -> Any:
        """Lines are in nobody's way."""
        return nullcontext()

    def close(self) -> None:
        """The last line is said, if it is not yet."""
        if self._unsaid is not None:
            self._say(self._unsaid)
            self._unsaid = None

    def _line(
        self, ended: int, failed: int, running: int | None, total: int | None, now: float
    ) -> str:
        line = f"{ended:,} ended"
        if total:
            line = f"{ended:,} of {total:,} ended ({100 * ended // total}%)"
        line += f", {failed:,} failed" if failed else ""
        line += f", {running:,} running" if running else ""
        begun, before = self._begun  # type: ignore[misc]  # it has
        took, count = now - begun, ended - before
        if took <= 0 or not count:
            return line
        left = 0.0 if total is None else (total - ended) * took / count
        time_left = f"{show_seconds(left)} left" if left else f"in {show_seconds(took)}"
        return f"{line}; {_rate(count / took)}, {time_left}"


def _rate(per_second: float) -> str:
    """How many end in a second, or in how many seconds one does."""
    if per_second >= 10:
        return f"{per_second:,.0f}/s"
    return f"{per_second:.1f}/s" if per_second >= 1 else f"{1 / per_second:.1f} s each"


class _Drawn:
    """Progress as tqdm draws it."""

    def __init__(self, tqdm: Any, to: TextIO) -> None:
        self._tqdm = tqdm
        self._to = to
        self._bar: Any = None

    def show(
        self, done: int, failed: int, running: int | None, total: int | None, now: float
    ) -> None:
        """How far it is."""
        ended = done + failed
        if self._bar is None:  # what had ended before does not count for the rate
            self._bar = self._tqdm(
                total=total, initial=ended, file=self._to, unit=" tasks", **_width(self._to)
            )
        self._bar.total = total
        states = [f"{failed:,} failed"] if failed else []
        states += [f"{running:,} running"] if running else []
        self._bar.set_postfix_str(", ".join(states), refresh=False)
        if ended > self._bar.n:
            self._bar.update(ended - self._bar.n)
        else:
            self._bar.refresh()

    def aside(self) -> Any:
        """The bar is taken away for so long, and drawn below."""
        return self._tqdm.external_write_mode(file=self._to)

    def close(self) -> None:
        """The bar stays as it is."""
        if self._bar is not None:
            self._bar.close()


def _quiet(tqdm: Any) -> Any:
    """`tqdm` without a thread of its own, and without a lock that other processes share."""
    ours: Any = type("tqdm", (tqdm,), {"monitor_interval": 0})
    ours.set_lock(threading.RLock())
    return ours


def _width(to: TextIO) -> dict[str, Any]:
    """As wide as the terminal, which may change; some do not know how large they are."""
    try:
        is_known = os.get_terminal_size(to.fileno()).columns > 0
    except OSError:  # a notebook
        is_known = True
    return {"dynamic_ncols": True} if is_known else {"ncols": COLUMNS, "nrows": ROWS}


def _painter(to: TextIO | None) -> _Painter:
    """What shows progress on `to`, if there is such a thing."""
    if to is None:
        return Lines(lambda line: None)  # a program without a console
    if (is_notebook := _is_notebook()) or to.isatty():
        try:
            if is_notebook and find_spec("ipywidgets") is not None:  # without them it would warn
                from tqdm.auto import tqdm
            else:
                from tqdm import tqdm
            return _Drawn(_quiet(tqdm), to)
        except ImportError:
            pass  # lines tell as much
    return Lines(lambda line: print(f"mesh: {line}", file=to, flush=True))


def _is_notebook() -> bool:
    """Whether what is written appears in a notebook."""
    shell = sys.modules.get("IPython")
    running = None if shell is None else shell.get_ipython()
    return running is not None and "IPKernelApp" in running.config
