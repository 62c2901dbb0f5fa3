"""Members of a group that are older tasks, as runs."""

from __future__ import annotations

from mesh.client.older import Older
from mesh.client.roll import members, merged

A, B = "aaaaaaaa", "bbbbbbbb"


def test_tasks_that_follow_each_other_are_one_run():
    older = Older()
    for i in range(1000):
        older.add(i + 5, A, i + 70)
    older.add(2, B, 9)
    older.add(1005, A, 1070, 20)

    assert list(older) == [(2, B, 9, 1), (5, A, 70, 1020)]
    assert older.task(5) == (A, 70) and older.task(1024) == (A, 1089) and older.task(2) == (B, 9)
    assert [older.task(i) for i in (0, 3, 4, 1025)] == [None] * 4


def test_the_members_of_a_group_in_their_order():
    assert members(A, 1, 10, []) == [(A, 1, 10)]
    assert members(A, 1, 10, [(0, B, 5, 2), (4, B, 30, 6)]) == [(B, 5, 2), (A, 3, 2), (B, 30, 6)]
    assert members(A, 1, 0, []) == []


def test_tasks_as_spans():
    assert merged([(A, 1), (A, 2), (B, 3), (A, 4), (A, 3)]) == [
        (A, 1, 2),
        (B, 3, 1),
        (A, 4, 1),
        (A, 3, 1),
    ]
