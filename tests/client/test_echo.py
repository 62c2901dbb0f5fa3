"""The echo: whole lines, each once, as much as may be shown, before anybody goes on."""

from __future__ import annotations

import errno
import io
import sys
import threading
from collections.abc import Iterator

import pytest

from mesh.client.echo import (
    BURST_BYTES,
    SHOWN_BYTES_PER_S,
    TASK_BYTES_MAX,
    Allowance,
    Echo,
    Lines,
    to_stdout,
)
from mesh.protocol import messages as m
from mesh.protocol import outcome

S = "cccccccc"
OURS = f"{S}.7"


class Shown:
    """An echo, and what it has shown."""

    def __init__(self) -> None:
        self.texts: list[tuple[str, str]] = []
        self.warnings: list[str] = []
        self.fetched: list[outcome.Ref] = []
        self.may_show = threading.Event()
        self.may_show.set()
        self.echo = Echo(S, self._show, self._fetch, self.warnings.append)

    def _show(self, task: str, text: str) -> None:
        assert self.may_show.wait(30)
        self.texts.append((task, text))

    def _fetch(self, ref: outcome.Ref) -> bytes:
        self.fetched.append(ref)
        return b"a long log\n"

    def prints(self, at: int, text: bytes, begun: float = 1.0) -> None:
        self.echo.heard(m.Printed(S, 7, 1, begun, at, text))

    def ends(self, log: bytes, begun: float = 1.0, flags: int = 0) -> None:
        self.echo.ended([7], [outcome.body(begun, 0.1, log, b"\x80value", flags)])

    @property
    def all(self) -> str:
        self.echo.shown()
        return "".join(text for _, text in self.texts)


@pytest.fixture
def shown() -> Iterator[Shown]:
    made = Shown()
    yield made
    made.may_show.set()
    made.echo.close()


def test_lines_are_shown_whole_and_the_last_one_at_the_end(shown: Shown):
    shown.prints(0, b"one\ntw")
    assert shown.all == "one\n"
    shown.prints(6, b"o\nthr")
    assert shown.all == "one\ntwo\n"
    shown.ends(b"one\ntwo\nthree")
    assert shown.all == "one\ntwo\nthree\n"
    assert {task for task, _ in shown.texts} == {OURS}


def test_what_printed_nothing_starts_nothing(shown: Shown):
    shown.echo.ended([7, 8], [outcome.body(1.0, 0.1, b"", b"\x80value")] * 2)
    shown.echo.shown()

    assert not any(each.name == "mesh-echo" for each in threading.enumerate())


def test_a_log_that_its_worker_keeps_is_fetched_once_it_is_needed(shown: Shown):
    ref = outcome.Ref(bytes(16), 1, outcome.LOG, 11, 0, b"wwwwwwww")
    shown.ends(ref.packed, flags=outcome.LOG_STORED)

    assert shown.all == "a long log\n"
    assert shown.fetched == [ref]


def test_of_a_task_that_was_killed_what_was_heard_is_shown(shown: Shown):
    shown.prints(0, b"last words")
    shown.echo.ended([7], [outcome.failure_body("WorkerLost", "it was killed")])

    assert shown.all == "last words\n"


@pytest.mark.parametrize(
    ("printed", "seen"),
    [
        (b"10%\r20%\r30%\n", b"30%\n"),
        (b"dos\r\nline\r\n", b"dos\r\nline\r\n"),
        (b"a\rb", b"b\n"),
        (b"", b""),
    ],
)
def test_what_a_terminal_would_overwrite_is_not_shown(printed: bytes, seen: bytes):
    assert Lines().add(printed, last=True) == seen


def test_more_of_one_task_than_anybody_reads_is_cut_off_and_said_once(shown: Shown):
    line = b"x" * 1023 + b"\n"
    shown.prints(0, line * 200)
    shown.prints(200 * 1024, line * 200)
    shown.prints(400 * 1024, line * 200)
    shown.ends(b"", flags=0)

    assert shown.all.count("\n") == TASK_BYTES_MAX // 1024 + 1
    assert shown.all.endswith(f"[... {OURS} has printed more: Future.logs() has it ...]\n")
    assert shown.all.count("has printed more") == 1


def test_a_flood_of_many_tasks_is_cut_off_and_said_once(
    shown: Shown, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("mesh.client.echo.BURST_BYTES", 3000)
    monkeypatch.setattr("mesh.client.echo.SHOWN_BYTES_PER_S", 0)
    for counter in range(10):
        shown.echo.ended([counter], [outcome.body(1.0, 0.1, b"x" * 999 + b"\n", b"\x80value")])

    assert len(shown.all) <= 3000
    assert len(shown.warnings) == 1 and "echo=False" in shown.warnings[0]


def test_an_allowance_comes_back_with_time():
    allowance = Allowance(100.0)

    assert allowance.takes(BURST_BYTES, 100.0)
    assert not allowance.takes(1, 100.0)
    assert allowance.takes(SHOWN_BYTES_PER_S, 101.0)
    assert not allowance.takes(SHOWN_BYTES_PER_S, 101.5)


def test_who_waits_goes_on_when_all_is_shown_that_was_there(shown: Shown):
    shown.may_show.clear()
    shown.ends(b"log\n")
    waited = threading.Thread(target=shown.echo.shown)
    waited.start()
    assert shown.texts == []
    shown.may_show.set()
    waited.join(30)

    assert not waited.is_alive() and shown.texts == [(OURS, "log\n")]


@pytest.mark.parametrize(
    ("error", "lines", "has_traceback"),
    [
        (BrokenPipeError(), 0, False),
        (OSError(errno.ENOSPC, "No space left on device"), 1, False),
        (ValueError("the user's own"), 1, True),
    ],
)
def test_one_that_cannot_show_ends_and_holds_nobody_up(
    caplog: pytest.LogCaptureFixture, error: Exception, lines: int, has_traceback: bool
):
    def fail(task: str, text: str) -> None:
        raise error

    echo = Echo(S, fail, lambda ref: b"", print)
    for counter in range(3):
        echo.ended([counter], [outcome.body(1.0, 0.1, b"log\n", b"\x80value")])
        echo.shown()
    echo.close()

    assert len(caplog.records) == lines
    assert all(bool(record.exc_info) == has_traceback for record in caplog.records)


def test_what_an_encoding_has_no_word_for_is_shown(monkeypatch: pytest.MonkeyPatch):
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))
    to_stdout(OURS, "37 °C\n")

    assert written.getvalue() == b"37 \\xb0C\n"
