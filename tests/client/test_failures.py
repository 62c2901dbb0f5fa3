"""Why members of a group failed, put together by error and the user's own line."""

from __future__ import annotations

from mesh.client import failures
from mesh.client.account import OPEN
from mesh.client.failures import LOOKS_MAX, line_of
from mesh.client.group import Group
from mesh.client.source import Source
from mesh.errors import Failure
from mesh.protocol.outcome import body, failure_body, pack_failure
from mesh.task import Kind

MINE = '  File "/home/me/sim.py", line 41, in simulate\n    solve(T)\n'
THEIRS = '  File "/opt/lib/python3.11/site-packages/numpy/linalg.py", line 7, in solve\n    x\n'
TOP = "Traceback (most recent call last):\n"


def raised(kind: str = "builtins.ValueError", traceback: str = TOP + MINE, message: str = "bad"):
    return body(0.0, 0.0, b"", pack_failure(Failure(kind, message, traceback, "n1", 1)))


def group_of(*ends: tuple[int, bytes]) -> Group:
    """A group with these ends, and one more member that is open."""
    group = Group(Source(), "cccccccc", 0, len(ends) + 1)  # it is asked nothing
    kinds, bodies = [end[0] for end in ends], [end[1] for end in ends]
    group.take(range(1, len(ends) + 1), kinds, bodies)
    return group


def test_members_that_failed_alike_are_one_cause_and_the_most_frequent_is_told_first():
    lost = failure_body("WorkerLost", "t took its slot down: it was killed by SIGKILL "
                        "(out of memory?) on n2, process 7", "n2")  # fmt: skip
    group = group_of(
        (Kind.VALUE, b""),
        (Kind.SLOT_LOST, lost),
        *[(Kind.ERROR, raised(message=f"bad T={i}\nsecond line")) for i in range(3)],
        (Kind.CANCELLED, failure_body("CancelledError", "it was cancelled")),
    )

    told = group.failures()

    assert str(told) == (
        "1 done, 1 not ended, 1 cancelled, 4 failed: 3× ValueError sim.py:41 (e.g. cccccccc.3), "
        "1× WorkerLost on n2, was killed by SIGKILL (out of memory?) (e.g. cccccccc.2)"
    )
    assert (told.done, told.failed, told.cancelled, told.total) == (1, 5, 1, 7)
    assert not told.is_estimate
    assert [cause.members for cause in told] == [3, 1, 1] and told[0].message == "bad T=0"
    assert str(told) in repr(group) and str(told) in repr(group.errors())
    assert sorted(group.errors()) == [1, 2, 3, 4, 5]


def test_without_failures_there_is_no_cause():
    assert not group_of((Kind.VALUE, b"")).failures()
    assert repr(group_of((Kind.VALUE, b""))) == "<Group cccccccc.0 of 2: 1 done, 1 not ended>"


def test_of_many_causes_some_are_told_and_the_others_counted():
    group = group_of(*[(Kind.ERROR, raised(f"sim.E{i}")) for i in range(9)])

    assert len(group.failures()) == 9
    assert str(group.failures()).endswith(", and 4 other causes")


def test_the_line_is_the_last_of_the_users_own():
    assert line_of(TOP + MINE + THEIRS) == "sim.py:41"
    assert line_of(TOP + THEIRS) == "linalg.py:7", "better than none"
    assert line_of("") == "" and line_of("no traceback") == ""
    grouped = "  + Exception Group Traceback:\n" + MINE.replace("  File", "  |   File")
    assert line_of(grouped) == "sim.py:41"


def test_of_very_many_a_sample_stands_for_all(monkeypatch):
    monkeypatch.setattr(failures, "LOOKS_MAX", LOOKS_MAX // 1000)
    ends = [(Kind.ERROR, raised()), (Kind.FINAL, raised("sim.Other"))] * 500
    group = group_of(*ends)

    told = group.failures()

    assert told.is_estimate and told.failed == 1000
    assert "1,000 failed: about" in str(told)
    assert sum(cause.members for cause in told) == 1000


def test_what_cannot_be_read_is_a_cause_as_well():
    told = group_of((Kind.ERROR, b"short")).failures()

    assert [cause.error for cause in told] == ["PayloadError"]


def test_what_is_raised_says_of_which_group_it_is():
    group = group_of((Kind.ERROR, raised()))
    assert bytes(group._kinds).count(OPEN) == 1

    try:
        group.results()
    except Exception as error:
        notes = getattr(error, "__notes__", None)
        assert notes is None or notes == [f"cccccccc.1, a member of {group!r}"]
    else:
        raise AssertionError("it has failed")
