"""A transcript: each byte that a task prints once, whatever came of it while it ran."""

from __future__ import annotations

import pytest

from mesh.client.transcript import Transcript
from mesh.protocol.printout import LOG_BYTES_MAX, note, thinned

HALF = LOG_BYTES_MAX // 2


def test_pieces_and_the_rest_of_the_log_are_all_of_it_once():
    told = Transcript()

    assert told.hear(1.0, 0, b"one\n") == b"one\n"
    assert told.hear(1.0, 0, b"one\ntwo\n") == b"two\n", "somebody else began to listen"
    assert told.hear(1.0, 2, b"e\n") == b""
    assert told.hear(1.0, 8, b"") == b""
    assert told.end(1.0, b"one\ntwo\nthree\n") == b"three\n"


def test_what_is_lacking_is_said():
    told = Transcript()
    told.hear(1.0, 0, b"one\n")

    assert told.hear(1.0, 104, b"late\n") == note(100) + b"late\n"
    assert told.at == 109


def test_another_run_begins_anew():
    told = Transcript()
    told.hear(1.0, 0, b"first run\n")

    assert told.hear(2.0, 0, b"second\n") == b"second\n"
    assert told.hear(1.0, 10, b"of the first\n") == b"", "it was given up"
    assert told.end(3.0, b"third\n") == b"third\n"


@pytest.mark.parametrize("heard", [0, 10, HALF, HALF + 50, HALF + 99, HALF + 100, HALF + 130])
def test_the_rest_of_a_long_log_is_what_was_kept_of_it(heard: int):
    printed = b"h" * HALF + b"m" * 100 + b"t" * HALF
    told = Transcript()
    told.hear(1.0, 0, printed[:heard])

    rest = told.end(1.0, thinned(printed[:HALF], 100, printed[-HALF:]))

    if heard <= HALF:
        assert rest == b"h" * (HALF - heard) + b"\n" * (heard <= HALF) + note(100) + b"t" * HALF
    elif heard < HALF + 100:
        assert rest == note(HALF + 100 - heard) + b"t" * HALF
    else:
        assert rest == b"t" * (2 * HALF + 100 - heard)


def test_of_what_was_killed_the_end_is_kept():
    told = Transcript()
    told.hear(1.0, 0, b"x" * 50)

    assert told.end(1.0, thinned(b"", 40, b"x" * 10 + b"y" * 20)) == b"y" * 20
    assert Transcript().end(1.0, thinned(b"", 40, b"y")) == note(40) + b"y"
