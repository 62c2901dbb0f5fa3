"""How far some work is: drawn on a terminal, a few quiet lines elsewhere."""

from __future__ import annotations

import fcntl
import io
import os
import struct
import sys
import termios
import threading
import warnings
from contextlib import redirect_stderr, suppress
from types import SimpleNamespace

import pytest

from mesh.client import bar
from mesh.client.bar import LINE_EVERY_S, LINE_PAUSE_S, Bar, Lines
from mesh.client.echo import to_stdout


def said(*shown: tuple[int, int, float], total: int = 1000, close: bool = False) -> list[str]:
    """The lines of a run: each is done, failed, and when."""
    lines: list[str] = []
    painter = Lines(lines.append)
    for done, failed, now in shown:
        painter.show(done, failed, None, total, now)
    if close:
        painter.close()
    return lines


def test_a_line_is_said_for_each_tenth():
    every_second = [(10 * at, 0, float(at)) for at in range(101)]

    lines = said(*every_second, close=True)

    assert lines[0] == "100 of 1,000 ended (10%); 10/s, 1 min 30 s left"
    assert lines[-1] == "1,000 of 1,000 ended (100%); 10/s, in 1 min 40 s"
    assert len(lines) == 10


def test_what_is_quick_has_few_lines_and_always_the_last():
    assert said((0, 0, 0.0), (500, 0, 0.5), (1000, 0, 1.0), close=True) == [
        "1,000 of 1,000 ended (100%); 1,000/s, in 1 s"
    ]
    assert said((1000, 0, 7.0), close=True) == ["1,000 of 1,000 ended (100%)"]
    in_steps = [(100 * at, 0, at * LINE_PAUSE_S / 2) for at in range(11)]
    assert len(said(*in_steps, close=True)) == 5


def test_what_is_slow_has_a_line_a_minute_and_none_if_nothing_has_ended():
    minutes = [(at, 1, at * LINE_EVERY_S) for at in range(4)]

    assert said(*minutes) == [
        "2 of 1,000 ended (0%), 1 failed; 60.0 s each, 16 h 38 min left",
        "3 of 1,000 ended (0%), 1 failed; 60.0 s each, 16 h 37 min left",
        "4 of 1,000 ended (0%), 1 failed; 60.0 s each, 16 h 36 min left",
    ]
    assert said((0, 0, 0.0), (0, 0, 600.0)) == []


def test_what_had_ended_before_does_not_count_for_the_rate():
    lines = said((900, 0, 0.0), (950, 0, 50.0), (1000, 0, 100.0), close=True)

    assert lines == ["1,000 of 1,000 ended (100%); 1.0/s, in 1 min 40 s"]


def drawn(columns: int = 100, monkeypatch: pytest.MonkeyPatch | None = None) -> str:
    """What a terminal is shown of a short run; with `monkeypatch` a task prints to it as well."""
    ours, theirs = os.openpty()
    rows = 24 if columns else 0  # one that does not know knows neither
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    with open(ours, "rb", buffering=0) as seen:
        with open(theirs, "w") as terminal, redirect_stderr(terminal), Bar(20) as shown:
            shown.show(5, 1, running=3)
            with shown.aside():
                terminal.write("printed meanwhile\n")
            if monkeypatch is not None:
                monkeypatch.setattr(sys, "stdout", terminal)
                to_stdout("k3f9x2m7.1", "printed by a task\n")
                monkeypatch.undo()
            shown.show(18, 2)
        text = b""
        with suppress(OSError):  # it has ended
            while more := seen.read(65_536):
                text += more
    return text.decode()


def test_on_a_terminal_a_bar_is_drawn_and_what_is_printed_meanwhile_is_whole():
    before = threading.active_count()

    text = drawn()

    assert "30%" in text and "6/20" in text and "1 failed, 3 running" in text
    assert "\r" in text and "20/20" in text and "2 failed" in text
    assert "\rprinted meanwhile\r\n" in text
    assert threading.active_count() == before


def test_what_tasks_print_does_not_tear_the_bar(monkeypatch: pytest.MonkeyPatch):
    text = drawn(monkeypatch=monkeypatch)

    assert "\rprinted by a task\r\n" in text and "20/20" in text
    assert bar._shown == []


def test_a_terminal_that_does_not_know_how_wide_it_is_has_a_bar_as_well():
    assert "20/20" in drawn(columns=0)


def test_without_the_library_a_terminal_has_lines(monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)

    assert "mesh: 20 of 20 ended (100%), 2 failed" in drawn()


def test_in_a_notebook_it_is_drawn_although_that_is_no_terminal(monkeypatch):
    config = {"IPKernelApp": {}}
    shell = SimpleNamespace(get_ipython=lambda: SimpleNamespace(config=config))
    monkeypatch.setitem(sys.modules, "IPython", shell)
    page = io.StringIO()

    monkeypatch.setattr(bar, "find_spec", lambda name: None)  # no widgets: it would warn
    with warnings.catch_warnings(), Bar(20, to=page) as shown:
        warnings.simplefilter("error")
        shown.show(20)

    assert "20/20" in page.getvalue()
