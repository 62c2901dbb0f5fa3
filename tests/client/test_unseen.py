"""Failures that nobody has looked at are told of; those that somebody has, are not."""

from __future__ import annotations

from mesh.client.unseen import KEPT_MAX, Unseen
from mesh.protocol.outcome import body, failure_body
from mesh.task import Kind

S = "cccccccc"
ERROR, FINE, GONE = int(Kind.ERROR), int(Kind.VALUE), int(Kind.CANCELLED)


def failed(*kinds: str) -> Unseen:
    """As many tasks have failed, with these errors."""
    unseen = Unseen(S)
    bodies = [failure_body(f"builtins.{kind}", "why") for kind in kinds]
    unseen.ended(list(range(len(kinds))), bytes([ERROR]) * len(kinds), bodies)
    return unseen


def test_they_are_counted_by_kind_with_an_example():
    told = failed("ValueError", "KeyError", "ValueError").words()

    assert told is not None and told.startswith("3 tasks failed, and nobody asked for the result")
    assert told.endswith("2× ValueError (e.g. cccccccc.0), 1× KeyError (e.g. cccccccc.1)")
    assert (failed("KeyError").words() or "").startswith("a task failed")


def test_what_went_well_or_was_cancelled_nobody_need_look_at():
    unseen = Unseen(S)
    unseen.ended([1, 2], bytes([FINE, GONE]), [body(1.0, 1.0, b"", b""), failure_body("C", "")])

    assert unseen.words() is None


def test_those_that_were_looked_at_are_not_told_of():
    unseen = failed(*["ValueError"] * 5)
    unseen.look("dddddddd", 0, 5)
    unseen.look(S, 1)
    unseen.look(S, 3, 2)
    assert "2× ValueError (e.g. cccccccc.0)" in (unseen.words() or "")
    unseen.look(S, 0, 10**9)
    assert unseen.words() is None


def test_many_are_counted_and_some_remembered():
    unseen = failed(*["ValueError"] * (KEPT_MAX + 7))

    assert (unseen.words() or "").startswith(f"{KEPT_MAX + 7:,} tasks failed")
    unseen.look(S, 0, KEPT_MAX + 7)
    assert unseen.words() is None


def test_of_many_kinds_the_frequent_ones_are_told():
    told = failed(*[f"E{i}" for i in range(9)], "E7", "E7").words()

    assert told is not None and ": 3× E7 (e.g. " in told and told.endswith(", and 4 other causes")


def test_what_cannot_be_read_is_told_of_as_well():
    unseen = Unseen(S)
    unseen.ended([4], bytes([ERROR]), [b"short"])

    assert "1× PayloadError (e.g. cccccccc.4)" in (unseen.words() or "")
